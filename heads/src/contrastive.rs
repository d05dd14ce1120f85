//! The global contrastive objective (FLAVA section 3.2; CLIP's): each image finds its text among
//! all, and back.

use tch::{Kind, Reduction, Tensor};

use crate::Result;

/// Similarities of a batch's images and texts, scaled by the temperature.
#[derive(Debug)]
pub struct ContrastiveLogits {
    /// \[images, texts\].
    pub per_image: Tensor,
    /// \[texts, images\].
    pub per_text: Tensor,
}

/// Logits of embeddings of unit length, \[batch, projection\], each image's against each text's.
///
/// `logit_scale` is the log of the inverse temperature.
pub fn contrastive_logits(
    image: &Tensor,
    text: &Tensor,
    logit_scale: &Tensor,
) -> Result<ContrastiveLogits> {
    logits([image, text], [image, text], logit_scale)
}

/// The logits of some pairs alone (`queries` \[rows\], their places), each image's against all
/// texts and back.
pub fn contrastive_logits_of(
    queries: &Tensor,
    image: &Tensor,
    text: &Tensor,
    logit_scale: &Tensor,
) -> Result<ContrastiveLogits> {
    let images = image.f_index_select(0, queries)?;
    let texts = text.f_index_select(0, queries)?;
    logits([&images, &texts], [image, text], logit_scale)
}

fn logits(
    queries: [&Tensor; 2],
    all: [&Tensor; 2],
    logit_scale: &Tensor,
) -> Result<ContrastiveLogits> {
    let factor = logit_scale.f_exp()?;
    let against = |queries: &Tensor, all: &Tensor| -> Result<Tensor> {
        Ok(queries.f_matmul(&all.f_transpose(0, 1)?)?.f_mul(&factor)?)
    };
    Ok(ContrastiveLogits {
        per_image: against(queries[0], all[1])?,
        per_text: against(queries[1], all[0])?,
    })
}

impl ContrastiveLogits {
    /// Keeps the rows of matching pairs (\[batch\], bool); mismatched ones stay as negatives in the
    /// columns.
    pub fn keep_rows(&self, rows: &Tensor) -> Result<Self> {
        let rows = rows.f_nonzero()?.f_squeeze_dim(-1)?;
        Ok(Self {
            per_image: self.per_image.f_index_select(0, &rows)?,
            per_text: self.per_text.f_index_select(0, &rows)?,
        })
    }

    /// The mean of both directions' cross entropy; `labels` \[rows\] are the columns of the right
    /// partners.
    pub fn loss(&self, labels: &Tensor) -> Result<Tensor> {
        let one = |logits: &Tensor| {
            logits.f_to_kind(Kind::Float)?.f_cross_entropy_loss(
                labels,
                None::<Tensor>,
                Reduction::Mean,
                -100,
                0.0,
            )
        };
        Ok(one(&self.per_image)?
            .f_add(&one(&self.per_text)?)?
            .f_div_scalar(2.0)?)
    }
}
