//! The contrastive loss over more pairs than go through the encoders at once (gradient caching, Gao
//! et al. 2021): all embeddings are in memory, but the activations of one part only.

use std::ops::Range;

use flava_model::{ImageInputs, runtime::Autocast};
use flava_training::{Step, StepMetrics};
use tch::{Kind, Tensor};

use super::{batches::Batch, losses::matching, training::JointTraining};
use crate::{Error, Result};

/// Something for each image and text, \[rows, projection\] each: embeddings, or gradients by
/// them.
pub(super) struct Embeddings {
    image: Tensor,
    text: Tensor,
}

impl Embeddings {
    /// Those of some rows.
    fn rows(&self, start: i64, count: i64) -> Result<Self> {
        Ok(Self {
            image: self.image.f_narrow(0, start, count)?,
            text: self.text.f_narrow(0, start, count)?,
        })
    }
}

impl JointTraining {
    fn embed(&self, batch: &Batch, part: Range<usize>) -> Result<Embeddings> {
        let _autocast = Autocast::new(self.device(), self.precision)?;
        let flava = &self.model.flava;
        let pixels = batch.pixels(part.clone(), self.device())?;
        let image = flava.encode_image_cls(&ImageInputs::new(pixels))?;
        let text =
            flava.encode_text_cls(&batch.texts(part, self.text.pad_id(), self.device())?)?;
        Ok(Embeddings {
            image: flava.project_image(&image)?,
            text: flava.project_text(&text)?,
        })
    }

    /// The embeddings of all parts, as leaves that take gradients.
    fn embed_all(&self, batch: &Batch, parts: &[Range<usize>], step: &Step) -> Result<Embeddings> {
        let (mut images, mut texts) = (Vec::new(), Vec::new());
        {
            let _guard = tch::no_grad_guard();
            for (number, part) in parts.iter().enumerate() {
                tch::manual_seed(step.seed.wrapping_add(number as i64));
                let embeddings = self.embed(batch, part.clone())?;
                images.push(embeddings.image);
                texts.push(embeddings.text);
            }
        }
        let leaf = |parts: &[Tensor]| -> Result<Tensor> {
            Ok(Tensor::f_cat(parts, 0)?
                .f_detach()?
                .f_set_requires_grad(true)?)
        };
        Ok(Embeddings {
            image: leaf(&images)?,
            text: leaf(&texts)?,
        })
    }

    /// Adds the contrastive loss over all parts to the metrics; its gradients by the embeddings.
    pub(super) fn contrastive_gradients(
        &self,
        batch: &Batch,
        parts: &[Range<usize>],
        step: &Step,
        metrics: &mut StepMetrics,
    ) -> Result<Embeddings> {
        let leaves = self.embed_all(batch, parts, step)?;
        let total = self.contrastive_loss(batch, &leaves, metrics)?;
        metrics.add_loss("global_contrastive", &total)?;
        total.f_mul_scalar(step.loss_scale)?.f_backward()?;
        Ok(Embeddings {
            image: leaves.image.grad(),
            text: leaves.text.grad(),
        })
    }

    /// The loss over the groups of pairs among which partners are looked for: a mean over all
    /// queries.
    fn contrastive_loss(
        &self,
        batch: &Batch,
        embeddings: &Embeddings,
        metrics: &mut StepMetrics,
    ) -> Result<Tensor> {
        let labels = batch.itm_labels(0..batch.len(), self.device())?;
        let group = (batch.len() as f64 * self.contrastive_share).round() as usize;
        let group = group.clamp(1, batch.len());
        let matches = matching(&labels, None)?;
        let all = matches.f_sum(Kind::Int64)?.int64_value(&[]);
        let mut total: Option<Tensor> = None;
        for start in (0..batch.len()).step_by(group) {
            let (start, count) = (start as i64, group.min(batch.len() - start) as i64);
            let matches = matches.f_narrow(0, start, count)?;
            let queries = matches.f_sum(Kind::Int64)?.int64_value(&[]);
            if queries == 0 {
                continue;
            }
            let loss = self.group_loss(&embeddings.rows(start, count)?, &matches, metrics)?;
            let loss = loss.f_mul_scalar(queries as f64 / all as f64)?;
            total = Some(match total {
                None => loss,
                Some(total) => total.f_add(&loss)?,
            });
        }
        total.ok_or_else(|| Error::Input("a contrastive batch without rows".into()))
    }

    /// The loss among the pairs of a group.
    fn group_loss(
        &self,
        group: &Embeddings,
        matches: &Tensor,
        metrics: &mut StepMetrics,
    ) -> Result<Tensor> {
        let Embeddings { image, text } = group;
        let scale = self.model.flava.clamped_logit_scale()?;
        let (_, loss, accuracies) = self.model.contrast(image, text, Some(matches), &scale)?;
        for accuracy in accuracies {
            metrics.add_accuracy(accuracy);
        }
        Ok(loss)
    }

    /// Carries the gradients of a part's embeddings into the weights: the embeddings again, with
    /// the same dropout.
    pub(super) fn carry(
        &self,
        gradients: &Embeddings,
        batch: &Batch,
        part: &Range<usize>,
    ) -> Result<()> {
        let embeddings = self.embed(batch, part.clone())?;
        let gradients = gradients.rows(part.start as i64, part.len() as i64)?;
        let (image, text) = (&embeddings.image, &embeddings.text);
        let image = image.f_mul(&gradients.image)?.f_sum(Kind::Float)?;
        let text = text.f_mul(&gradients.text)?.f_sum(Kind::Float)?;
        Ok(image.f_add(&text)?.f_backward()?)
    }
}
