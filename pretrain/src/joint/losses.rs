//! The six losses of FLAVA section 3.2, and what a batch gives besides.

use flava_heads::{ContrastiveLogits, MaskedPredictionHead};
use flava_model::EncoderOutput;
use flava_training::Accuracy;
use tch::{Kind, Reduction, Tensor};

use super::{inputs::BatchTotals, loss_positions::LossPositions};
use crate::Result;

/// What a loss is when no position of the batch is labelled for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnEmpty {
    /// Left out, with no gradient: right for training, where a batch without a masked word happens.
    #[default]
    Skip,
    /// NaN, as in transformers.
    Nan,
}

/// The weighted losses that a batch gave.
#[derive(Debug, Default)]
#[allow(missing_docs, reason = "each is the objective of its name")]
pub struct Losses {
    pub mim: Option<Tensor>,
    pub mlm: Option<Tensor>,
    pub itm: Option<Tensor>,
    pub global_contrastive: Option<Tensor>,
    pub mmm_image: Option<Tensor>,
    pub mmm_text: Option<Tensor>,
}

impl Losses {
    /// Each with its name, in transformers' order of summing.
    pub fn named(&self) -> [(&'static str, Option<&Tensor>); 6] {
        [
            ("mim", self.mim.as_ref()),
            ("mlm", self.mlm.as_ref()),
            ("itm", self.itm.as_ref()),
            ("global_contrastive", self.global_contrastive.as_ref()),
            ("mmm_image", self.mmm_image.as_ref()),
            ("mmm_text", self.mmm_text.as_ref()),
        ]
    }

    /// Their sum; None if there is none.
    pub fn total(&self) -> Option<Tensor> {
        self.named()
            .into_iter()
            .filter_map(|(_, loss)| loss)
            .fold(None, |sum, loss| match sum {
                None => Some(loss.shallow_clone()),
                Some(sum) => Some(sum + loss),
            })
    }
}

/// Everything a batch gave. States are of the rows that losses read, unless `all_states` asks for
/// all. The logits of hidden patches and words are \[rows, classes\] of those that have a label,
/// and \[batch, positions, classes\] of a batch without labels.
#[derive(Debug, Default)]
pub struct PretrainingOutput {
    /// The weighted losses.
    pub losses: Losses,
    /// States of the images as they are, of the CLS alone unless all are asked for; computed for
    /// the contrastive loss only.
    pub image: Option<EncoderOutput>,
    /// The same of the texts.
    pub text: Option<EncoderOutput>,
    /// States of the images with patches hidden; without texts, of the hidden patches.
    pub masked_image: Option<EncoderOutput>,
    /// States of the texts with words hidden; without images, of the hidden words.
    pub masked_text: Option<EncoderOutput>,
    /// Joint states of both: the CLS of all pairs, then the hidden patches and words of those that
    /// match.
    pub masked_multimodal: Option<EncoderOutput>,
    /// Which pairs MMM and the contrastive loss read, \[batch\] bool: the matching ones. None means
    /// all.
    pub matching: Option<Tensor>,
    /// Of visual tokens.
    pub mim_logits: Option<Tensor>,
    /// Of words.
    pub mlm_logits: Option<Tensor>,
    /// \[batch, 2\].
    pub itm_logits: Option<Tensor>,
    /// Of visual tokens.
    pub mmm_image_logits: Option<Tensor>,
    /// Of words.
    pub mmm_text_logits: Option<Tensor>,
    /// \[matching, batch\] each.
    pub contrastive: Option<ContrastiveLogits>,
    /// How often the heads are right: `mim`, `mlm`, `itm`, `mmm_image`, `mmm_text`,
    /// `image_to_text`, `text_to_image`.
    pub accuracies: Vec<Accuracy>,
}

/// A loss of hidden patches or words.
pub(super) struct MaskedPrediction<'a> {
    pub(super) name: &'static str,
    pub(super) head: &'a MaskedPredictionHead,
    pub(super) weight: f64,
    /// Rows that the loss is a mean over, where these are but some of them.
    pub(super) total: Option<usize>,
    /// The label that is not scored.
    pub(super) ignore: i64,
    pub(super) on_empty: OnEmpty,
}

/// What a masked-prediction head gives.
#[derive(Default)]
pub(super) struct MaskedScores {
    pub(super) logits: Option<Tensor>,
    pub(super) loss: Option<Tensor>,
}

impl MaskedPrediction<'_> {
    /// Logits and weighted loss on states \[rows, size\] at `positions`; how often the head is
    /// right goes to `accuracies`.
    pub(super) fn of(
        &self,
        states: &Tensor,
        positions: &LossPositions,
        accuracies: &mut Vec<Accuracy>,
    ) -> Result<MaskedScores> {
        let logits = self.head.forward(states)?;
        let Some(labels) = &positions.labels else {
            let shape = [positions.sequences, -1, logits.size()[1]];
            return Ok(MaskedScores {
                logits: Some(logits.f_view(shape)?),
                loss: None,
            });
        };
        let mut scores = MaskedScores::default();
        if labels.size()[0] > 0 || self.on_empty == OnEmpty::Nan {
            let loss = cross_entropy(&logits, labels, self.ignore, self.total)?;
            scores.loss = Some(loss.f_mul_scalar(self.weight)?);
            accuracies.push(Accuracy::of(self.name, &logits, labels)?);
        }
        scores.logits = Some(logits);
        Ok(scores)
    }
}

/// Which pairs match, \[batch\] bool. Without a single match all are kept, mismatched as they are
/// (transformers).
pub(crate) fn matching(itm_labels: &Tensor, totals: Option<BatchTotals>) -> Result<Tensor> {
    let positive = itm_labels.f_ne(0)?;
    let any = match totals {
        Some(totals) => totals.any_match,
        None => positive.f_any()?.int64_value(&[]) == 1,
    };
    Ok(if any {
        positive
    } else {
        positive.f_ones_like()?
    })
}

/// A mean over the rows, or their sum divided by `total`.
pub(super) fn cross_entropy(
    logits: &Tensor,
    labels: &Tensor,
    ignore: i64,
    total: Option<usize>,
) -> Result<Tensor> {
    let logits = logits.f_to_kind(Kind::Float)?;
    let reduction = if total.is_some() {
        Reduction::Sum
    } else {
        Reduction::Mean
    };
    let loss = logits.f_cross_entropy_loss(labels, None::<Tensor>, reduction, ignore, 0.0)?;
    Ok(match total {
        Some(total) => loss.f_div_scalar(total.max(1) as f64)?,
        None => loss,
    })
}
