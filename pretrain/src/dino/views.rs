//! Views of images, large and small.

use std::ops::Range;

use flava_base::stream;
use flava_model::processor::{ImageTransform, Pixels};
use flava_training::BatchRows;

use crate::{
    augment::View,
    recipe::DinoStage,
    sampling::{CorpusSampler, Piece, SampledBatch, image},
};

/// Large views of an image.
pub(super) const GLOBAL: usize = 2;

/// Where views come from.
pub(super) struct ViewSource {
    pub(super) samples: CorpusSampler,
    pub(super) transform: ImageTransform,
    /// Side of a large view in pixels.
    pub(super) side: usize,
    pub(super) stage: DinoStage,
    pub(super) seed: u64,
}

impl ViewSource {
    /// The views of the images in a piece of a step's batch.
    pub(super) fn piece(&self, step: u64, piece: Piece) -> SampledBatch<Vec<Pixels>> {
        self.samples
            .piece(step, piece, |row, sample| self.views(row, sample))
    }

    /// The views of a row: large ones first.
    fn views(&self, row: usize, sample: u64) -> std::result::Result<Vec<Pixels>, String> {
        let example = self.samples.dataset.get(row).map_err(|e| e.to_string())?;
        let whole = image(example.image.as_deref())?;
        let mut rng = stream(self.seed, &format!("views, draw {sample}"));
        let view = |number: usize| {
            let view = self.kind_of_view(number).apply(&whole, &mut rng);
            self.transform.apply(&view)
        };
        Ok((0..GLOBAL + self.stage.local_crops).map(view).collect())
    }

    /// How the view of a number is drawn.
    fn kind_of_view(&self, number: usize) -> View<'_> {
        let stage = &self.stage;
        let global = View {
            crop: &stage.global_crop,
            side: self.side,
            colours: &stage.colours,
            blur: 1.0,
            sigma: stage.blur,
            solarize: 0.0,
        };
        match number {
            0 => global,
            1 => View {
                blur: 0.1,
                solarize: 0.2,
                ..global
            },
            _ => View {
                crop: &stage.local_crop,
                side: stage.local_size,
                blur: 0.5,
                sigma: stage.local_blur,
                ..global
            },
        }
    }
}

/// Views of a batch of images.
pub struct Views {
    /// Large ones: all rows' first views, then all second ones.
    pub(super) global: Vec<Pixels>,
    /// Small ones, in the same order.
    pub(super) local: Vec<Pixels>,
    /// Which rows of the whole batch they are of.
    pub(super) own: BatchRows,
}

impl Views {
    /// Of the views of each row, large ones first.
    pub(super) fn new(mut sampled: SampledBatch<Vec<Pixels>>, local_crops: usize) -> Self {
        let mut views = Self {
            global: Vec::new(),
            local: Vec::new(),
            own: sampled.own,
        };
        for number in 0..GLOBAL + local_crops {
            let into = if number < GLOBAL {
                &mut views.global
            } else {
                &mut views.local
            };
            into.extend(
                sampled
                    .rows
                    .iter_mut()
                    .map(|pixels| std::mem::take(&mut pixels[number])),
            );
        }
        views
    }

    /// Those of the large or of the small views that are some rows'.
    pub(super) fn of_rows<'v>(&self, views: &'v [Pixels], rows: &Range<usize>) -> Vec<&'v Pixels> {
        views
            .chunks_exact(self.own.ids.len())
            .flat_map(|view| &view[rows.clone()])
            .collect()
    }
}
