//! One batch as the pretraining model reads it.

use flava_model::{ImageInputs, TextInputs};
use flava_training::WholeBatch;
use tch::Tensor;

/// One batch. Labels equal to the config's `ce_ignore_index` are not scored.
#[derive(Debug, Default)]
pub struct PretrainingInputs {
    /// Normalised pixels, \[batch, 3, height, width\].
    pub pixel_values: Option<Tensor>,
    /// 1 where a patch is hidden: \[batch, patches\] or \[batch, rows, columns\]. Without it the
    /// labels alone decide.
    pub bool_masked_pos: Option<Tensor>,
    /// The codebook's pixels, for labels: \[batch, 3, height, width\].
    pub codebook_pixel_values: Option<Tensor>,
    /// Visual tokens, if they are known already: \[batch, patches\] or \[batch, rows, columns\].
    pub mim_labels: Option<Tensor>,
    /// The texts as they are, for the contrastive loss.
    pub text: Option<TextInputs>,
    /// The texts with words hidden; without them `text` stands for both.
    pub masked_text: Option<TextInputs>,
    /// The hidden words, \[batch, seq\].
    pub mlm_labels: Option<Tensor>,
    /// 1 where image and text belong together: \[batch\], int64.
    pub itm_labels: Option<Tensor>,
    /// Totals of the batch that the rows are a part of, where they are not all of it.
    pub totals: Option<BatchTotals>,
    /// Whether the states of all positions are wanted. Otherwise last blocks compute only those
    /// that a loss reads.
    pub all_states: bool,
}

impl PretrainingInputs {
    /// A batch whose tensors have the names that transformers' model takes them by; texts are of
    /// one kind, at positions 0, 1, ..
    pub fn named(get: impl Fn(&str) -> Option<Tensor>) -> Self {
        let text = |name: &str| {
            get(name).map(|ids| TextInputs {
                attention_mask: get("attention_mask"),
                ..TextInputs::new(ids)
            })
        };
        Self {
            pixel_values: get("pixel_values"),
            bool_masked_pos: get("bool_masked_pos"),
            codebook_pixel_values: get("codebook_pixel_values"),
            mim_labels: get("mim_labels"),
            text: text("input_ids"),
            masked_text: text("input_ids_masked"),
            mlm_labels: get("mlm_labels"),
            itm_labels: get("itm_labels"),
            ..Self::default()
        }
    }
}

/// The batch that a micro-batch is a part of. Each loss is then the sum over the part's rows
/// divided by the number of all, so that gradients of the parts add up to those of the whole.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchTotals {
    /// Labelled patches, of matching pairs.
    pub patches: usize,
    /// Labelled words, of matching pairs.
    pub words: usize,
    /// Pairs.
    pub pairs: usize,
    /// Whether any pair matches.
    pub any_match: bool,
}

impl BatchTotals {
    /// Of a batch in all processes, of which so much is counted ([`Batch::counts`]). Where no pair
    /// matches all are kept.
    ///
    /// [`Batch::counts`]: super::batches::Batch::counts
    pub(super) fn of(whole: &WholeBatch) -> Self {
        let count = |place: usize| whole.counts.get(place).map_or(0, |count| *count as usize);
        let any_match = count(0) > 0;
        let first = if any_match { 3 } else { 1 };
        Self {
            patches: count(first),
            words: count(first + 1),
            pairs: whole.len(),
            any_match,
        }
    }
}

impl PretrainingInputs {
    /// Images with their patches hidden.
    pub(super) fn masked_images(&self, pixels: &Tensor) -> ImageInputs {
        ImageInputs {
            pixel_values: pixels.shallow_clone(),
            bool_masked_pos: self.bool_masked_pos.as_ref().map(Tensor::shallow_clone),
            interpolate_pos_encoding: false,
        }
    }
}
