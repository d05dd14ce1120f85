//! Batches of rows on their way to the model.

use std::ops::Range;

use flava_base::stream;
use flava_model::{
    FlavaConfig, TextInputs,
    processor::{image_batch, text_batch},
};
use flava_training::BatchRows;
use tch::{Device, Kind, Tensor, kind::Element};

use super::{
    inputs::PretrainingInputs,
    rows::{ExampleTransform, Row},
};
use crate::{Error, Result, recipe::RowKind, sampling::SampledBatch};

/// This process's rows of a batch, on their way to the model.
#[derive(Debug)]
pub struct Batch {
    kind: RowKind,
    /// Which rows of the whole batch they are.
    pub own: BatchRows,
    rows: Vec<Row>,
}

/// How rows become tensors.
#[derive(Clone, Copy, Debug)]
pub struct InputOptions {
    /// Whether texts as they are come with it.
    pub unmasked: bool,
    /// The token that fills up texts.
    pub pad: i64,
    /// The label of what is not hidden.
    pub ignore: i64,
    /// Where the tensors are.
    pub device: Device,
}

impl Batch {
    pub(super) fn new(kind: RowKind, sampled: SampledBatch<Row>) -> Self {
        Self {
            kind,
            own: sampled.own,
            rows: sampled.rows,
        }
    }

    /// A row that says nothing: no loss reads anything of it.
    pub(super) fn blank(
        kind: RowKind,
        config: &FlavaConfig,
        preparation: &ExampleTransform,
    ) -> Result<Self> {
        let mut row = Row {
            matches: false,
            ..Row::default()
        };
        if kind != RowKind::Texts {
            let image = &config.image_config;
            let (side, patches) = (image.image_size as usize, image.grid().pow(2) as usize);
            row.pixels = Some((vec![0.0; 3 * side * side], (side, side)));
            row.labels = vec![0; patches];
            row.mask = vec![false; patches];
        }
        if kind != RowKind::Images {
            let mut rng = stream(0, "a row that says nothing");
            let is_caption = kind == RowKind::Pairs;
            let text = preparation.hidden_text("-", is_caption, &mut rng);
            let mut text = text.map_err(Error::Input)?;
            text.masked.labels.fill(preparation.ignore);
            row.text = Some(text);
        }
        Ok(Self {
            kind,
            own: BatchRows::default(),
            rows: vec![row],
        })
    }

    /// Its rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// What its rows are.
    pub fn kind(&self) -> RowKind {
        self.kind
    }

    /// Tokens of each text.
    fn lengths(&self) -> impl Iterator<Item = usize> {
        let texts = self.rows.iter().filter_map(|row| row.text.as_ref());
        texts.map(|text| text.encoding.input_ids.len())
    }

    /// Tokens, padding left out.
    pub fn tokens(&self) -> usize {
        self.lengths().sum()
    }

    /// What of its rows is counted over all processes ([`BatchTotals::of`]).
    pub(super) fn counts(&self, ignore: i64) -> Vec<f64> {
        let of_all = self.rows.iter().map(|row| row.labelled(ignore));
        let matching = self.rows.iter().filter(|row| row.matches);
        let of_matching = matching.clone().map(|row| row.labelled(ignore));
        let sum = |all: [usize; 2], row: [usize; 2]| [all[0] + row[0], all[1] + row[1]];
        let [patches, words] = of_all.fold([0, 0], sum);
        let [matching_patches, matching_words] = of_matching.fold([0, 0], sum);
        [
            matching.count(),
            patches,
            words,
            matching_patches,
            matching_words,
        ]
        .map(|count| count as f64)
        .to_vec()
    }

    /// Whether the image and the text of each row belong together.
    pub(super) fn matches(&self) -> Vec<bool> {
        self.rows.iter().map(|row| row.matches).collect()
    }

    /// Whether images and texts belong together, for some rows: \[rows\], int64.
    pub fn itm_labels(&self, part: Range<usize>, device: Device) -> Result<Tensor> {
        let labels: Vec<i64> = self.rows[part]
            .iter()
            .map(|row| row.matches.into())
            .collect();
        Ok(Tensor::f_from_slice(&labels)?.f_to_device(device)?)
    }

    /// Some rows' images, as they are: \[rows, 3, height, width\].
    pub fn pixels(&self, part: Range<usize>, device: Device) -> Result<Tensor> {
        let pixels = self.rows[part].iter().filter_map(|row| row.pixels.as_ref());
        Ok(image_batch(pixels, device, Kind::Float)?.pixel_values)
    }

    /// Some rows' texts, as they are.
    pub fn texts(&self, part: Range<usize>, pad: i64, device: Device) -> Result<TextInputs> {
        let encodings = self.rows[part]
            .iter()
            .filter_map(|row| row.text.as_ref())
            .map(|text| &text.encoding);
        Ok(text_batch(encodings, pad, device)?)
    }

    /// Everything that the losses read of some rows.
    pub fn inputs(&self, part: Range<usize>, options: &InputOptions) -> Result<PretrainingInputs> {
        let mut inputs = PretrainingInputs::default();
        if self.kind != RowKind::Texts {
            self.add_images(&mut inputs, part.clone(), options.device)?;
        }
        if self.kind != RowKind::Images {
            self.add_texts(&mut inputs, part.clone(), options)?;
        }
        if self.kind == RowKind::Pairs {
            inputs.itm_labels = Some(self.itm_labels(part, options.device)?);
        }
        Ok(inputs)
    }

    /// Images, which of their patches are hidden, and what names the patches.
    fn add_images(
        &self,
        inputs: &mut PretrainingInputs,
        part: Range<usize>,
        device: Device,
    ) -> Result<()> {
        let rows = &self.rows[part.clone()];
        inputs.pixel_values = Some(self.pixels(part, device)?);
        let masks = rows.iter().map(|row| row.mask.as_slice());
        inputs.bool_masked_pos = Some(stacked(masks, device)?);
        if rows.iter().all(|row| row.codebook.is_some()) {
            let pixels = rows.iter().filter_map(|row| row.codebook.as_ref());
            let pixels = image_batch(pixels, device, Kind::Float)?.pixel_values;
            inputs.codebook_pixel_values = Some(pixels);
        } else if rows.iter().any(|row| !row.labels.is_empty()) {
            let labels = rows.iter().map(|row| row.labels.as_slice());
            inputs.mim_labels = Some(stacked(labels, device)?);
        }
        Ok(())
    }

    /// Texts with words hidden, and the hidden words.
    fn add_texts(
        &self,
        inputs: &mut PretrainingInputs,
        part: Range<usize>,
        options: &InputOptions,
    ) -> Result<()> {
        let InputOptions { pad, ignore, .. } = *options;
        let texts = self.texts(part.clone(), pad, options.device)?;
        let (_, length) = texts.input_ids.size2()?;
        let (mut input_ids, mut labels) = (Vec::new(), Vec::new());
        for text in self.rows[part].iter().filter_map(|row| row.text.as_ref()) {
            input_ids.push(filled(&text.masked.input_ids, length as usize, pad));
            labels.push(filled(&text.masked.labels, length as usize, ignore));
        }
        inputs.masked_text = Some(TextInputs {
            input_ids: stacked(input_ids.iter().map(Vec::as_slice), options.device)?,
            attention_mask: texts.attention_mask.as_ref().map(Tensor::shallow_clone),
            token_type_ids: texts.token_type_ids.as_ref().map(Tensor::shallow_clone),
            position_ids: None,
        });
        let labels = labels.iter().map(Vec::as_slice);
        inputs.mlm_labels = Some(stacked(labels, options.device)?);
        inputs.text = options.unmasked.then_some(texts);
        Ok(())
    }
}

/// Numbers, filled up to a length.
fn filled(numbers: &[i64], length: usize, filler: i64) -> Vec<i64> {
    let mut filled = numbers.to_vec();
    filled.resize(length, filler);
    filled
}

/// A tensor \[rows, columns\] of rows of one length.
fn stacked<'a, T: Element + Copy + 'a>(
    rows: impl ExactSizeIterator<Item = &'a [T]>,
    device: Device,
) -> Result<Tensor> {
    let count = rows.len() as i64;
    let flat: Vec<T> = rows.flatten().copied().collect();
    Ok(Tensor::f_from_slice(&flat)?
        .f_view([count, -1])?
        .f_to_device(device)?)
}
