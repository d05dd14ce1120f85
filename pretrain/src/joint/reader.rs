//! From rows of a corpus to batches: images decoded, and now and then a caption that belongs
//! elsewhere. Everything random depends on the seed, the corpus and the draw alone.

use std::sync::Arc;

use flava_base::stream;
use flava_model::processor::DecodedImage;
use rand::{Rng, seq::IndexedRandom};

use super::{
    batches::Batch,
    rows::{ExampleTransform, Row},
    visual_tokens::VisualTokens,
};
use crate::{
    Result,
    recipe::RowKind,
    sampling::{CorpusSampler, Piece, SampledBatch, image},
};

/// Captions that are drawn before a text of the same words is taken for another's.
const TRIES: usize = 10;

/// A corpus in a mixture.
pub struct PretrainingDataset {
    /// Its rows.
    pub samples: CorpusSampler,
    /// What they are read as.
    pub kind: RowKind,
    /// Where the visual tokens of its images come from.
    pub labels: PatchLabels,
}

/// Where the visual tokens of a corpus's images come from.
#[derive(Clone, Debug)]
pub enum PatchLabels {
    /// No loss reads any.
    Unread,
    /// The codebook, of each batch.
    Codebook,
    /// They are known ahead.
    Known(Arc<VisualTokens>),
}

impl PretrainingDataset {
    /// This process's rows of the batch that is the `nth` of this corpus.
    pub fn batch(&self, nth: u64, preparation: &ExampleTransform) -> Batch {
        let row = |index, sample| self.row(index, sample, preparation);
        self.batch_of(self.samples.batch(nth, row))
    }

    /// A piece of it.
    pub(crate) fn piece(
        &self,
        nth: u64,
        piece: Piece,
        preparation: &ExampleTransform,
    ) -> SampledBatch<Row> {
        self.samples.piece(nth, piece, |index, sample| {
            self.row(index, sample, preparation)
        })
    }

    /// A batch of rows that were drawn.
    pub(crate) fn batch_of(&self, sampled: SampledBatch<Row>) -> Batch {
        Batch::new(self.kind, sampled)
    }

    fn row(
        &self,
        index: usize,
        sample: u64,
        preparation: &ExampleTransform,
    ) -> std::result::Result<Row, String> {
        let dataset = &self.samples.dataset;
        let purpose = format!("row of {}, draw {sample}", self.samples.name);
        let mut rng = stream(preparation.seed, &purpose);
        let mut row = Row::default();
        let texts = if self.kind == RowKind::Texts {
            dataset.texts_of(index).map_err(|e| e.to_string())?
        } else {
            let example = dataset.get(index).map_err(|e| e.to_string())?;
            let image = image(example.image.as_deref())?;
            self.add_image(&mut row, image, index, preparation, &mut rng)?;
            row.mask = preparation.masks.sample(&mut rng);
            example.texts
        };
        if self.kind != RowKind::Images {
            self.add_text(&mut row, &texts, preparation, &mut rng)?;
        }
        Ok(row)
    }

    fn add_image(
        &self,
        row: &mut Row,
        image: DecodedImage,
        index: usize,
        preparation: &ExampleTransform,
        rng: &mut impl Rng,
    ) -> std::result::Result<(), String> {
        let image = match &preparation.crop {
            Some(crop) => crop.apply(&image, rng),
            None => image,
        };
        row.pixels = Some(preparation.transform.apply(&image));
        match &self.labels {
            PatchLabels::Unread => {}
            PatchLabels::Codebook => row.codebook = Some(preparation.codebook.apply(&image)),
            PatchLabels::Known(words) => {
                row.labels = words
                    .of(index)
                    .ok_or("was broken when visual tokens were computed")?;
            }
        }
        Ok(())
    }

    /// One of a row's texts, or now and then another row's.
    fn add_text(
        &self,
        row: &mut Row,
        texts: &[String],
        preparation: &ExampleTransform,
        rng: &mut impl Rng,
    ) -> std::result::Result<(), String> {
        let is_pairs = self.kind == RowKind::Pairs;
        let own = texts
            .choose(rng)
            .filter(|text| !text.trim().is_empty())
            .ok_or("has no text")?;
        let other = if is_pairs && rng.random::<f64>() < preparation.negatives {
            self.other_text(texts, rng).map_err(|e| e.to_string())?
        } else {
            None
        };
        row.matches = other.is_none();
        let text = other.as_ref().unwrap_or(own);
        row.text = Some(preparation.hidden_text(text, is_pairs, rng)?);
        Ok(())
    }

    /// A text of another row that says something else; none where there seems to be none.
    fn other_text(&self, texts: &[String], rng: &mut impl Rng) -> Result<Option<String>> {
        for _ in 0..TRIES {
            let dataset = &self.samples.dataset;
            let others = dataset.texts_of(rng.random_range(0..dataset.len()))?;
            if let Some(other) = others
                .choose(rng)
                .filter(|other| !texts.contains(other) && !other.trim().is_empty())
            {
                return Ok(Some(other.clone()));
            }
        }
        Ok(None)
    }
}
