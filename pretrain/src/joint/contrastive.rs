//! The contrastive loss over more pairs than go through the encoders at once (gradient caching, Gao
//! et al. 2021), in one process or several: all embeddings are in memory, but the activations of
//! one part only. Each process has its own rows' share of the loss, over the embeddings of all, and
//! sends each what its embeddings' gradients are there.

use std::ops::Range;

use flava_heads::contrastive_logits_of;
use flava_model::{ImageInputs, runtime::Autocast};
use flava_training::{Accuracy, Part, Step, StepMetrics};
use tch::{Device, Kind, Tensor};

use super::{
    batches::Batch,
    embeddings::{Embeddings, Gathered},
    training::JointTraining,
};
use crate::Result;

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

    /// The embeddings of all of this process's rows, f32, without a graph.
    fn embed_all(&self, batch: &Batch, parts: &[Part], step: &Step) -> Result<Embeddings> {
        let _guard = tch::no_grad_guard();
        let none = Tensor::f_zeros(
            [0, self.config().projection_dim],
            (Kind::Float, self.device()),
        )?;
        let (mut images, mut texts) = (vec![none.shallow_clone()], vec![none]);
        for part in parts {
            if part.rows.is_empty() {
                if step.lockstep {
                    let blank = Batch::blank(batch.kind(), self.config(), &self.preparation)?;
                    self.embed(&blank, 0..1)?;
                }
                continue;
            }
            step.begin(part);
            let embeddings = self.embed(batch, part.rows.clone())?;
            images.push(embeddings.image.f_to_kind(Kind::Float)?);
            texts.push(embeddings.text.f_to_kind(Kind::Float)?);
        }
        Ok(Embeddings {
            image: Tensor::f_cat(&images, 0)?,
            text: Tensor::f_cat(&texts, 0)?,
        })
    }

    /// Adds the contrastive loss of this process's rows to the metrics; the gradients of all
    /// processes' by the embeddings of these rows.
    pub(super) fn contrastive_gradients(
        &self,
        batch: &Batch,
        parts: &[Part],
        step: &Step,
        metrics: &mut StepMetrics,
    ) -> Result<Embeddings> {
        let own = step.agreed(self.embed_all(batch, parts, step))?;
        let gathered = Gathered::of(&own, &batch.matches(), step)?;
        step.agreed(self.contrast_own(&gathered, step, metrics))?;
        gathered.gradients(step)
    }

    /// The loss of this process's rows among the groups of pairs in which partners are looked for:
    /// their part of a mean over the queries of all processes.
    fn contrast_own(
        &self,
        gathered: &Gathered,
        step: &Step,
        metrics: &mut StepMetrics,
    ) -> Result<()> {
        let rows = gathered.matches.len();
        let group = (rows as f64 * self.contrastive_share).round() as usize;
        let group = group.clamp(1, rows);
        let mut total: Option<Tensor> = None;
        for start in (0..rows).step_by(group) {
            let Some(loss) =
                self.group_loss(gathered, start..(start + group).min(rows), metrics)?
            else {
                continue;
            };
            total = Some(match total {
                None => loss,
                Some(total) => total.f_add(&loss)?,
            });
        }
        let Some(total) = total else {
            return Ok(metrics.add_no_loss("global_contrastive")?);
        };
        metrics.add_loss("global_contrastive", &total)?;
        Ok(total.f_mul_scalar(step.loss_scale)?.f_backward()?)
    }

    /// The loss of this process's rows in a group of pairs; None where none of them is a query.
    fn group_loss(
        &self,
        gathered: &Gathered,
        group: Range<usize>,
        metrics: &mut StepMetrics,
    ) -> Result<Option<Tensor>> {
        let Gathered { matches, own, .. } = gathered;
        let mine = group.start.max(own.start)..group.end.min(own.end);
        let queries = mine.filter(|row| matches[*row]);
        let queries: Vec<i64> = queries.map(|row| (row - group.start) as i64).collect();
        if queries.is_empty() {
            return Ok(None);
        }
        let of_all = matches.iter().filter(|matches| **matches).count();
        let share = queries.len() as f64 / of_all as f64;
        let queries = on(self.device(), &queries)?;
        let Embeddings { image, text } = gathered.all.rows(&group)?;
        let scale = self.model.flava.clamped_logit_scale()?;
        let logits = contrastive_logits_of(&queries, &image, &text, &scale)?;
        for (name, logits) in [
            ("image_to_text", &logits.per_image),
            ("text_to_image", &logits.per_text),
        ] {
            metrics.add_accuracy(Accuracy::of(name, logits, &queries)?);
        }
        let weight = self.model.weights.global_contrastive;
        let loss = logits.loss(&queries)?.f_mul_scalar(weight)?;
        Ok(Some(loss.f_mul_scalar(share)?))
    }

    /// Carries no gradients through the encoders, which the other processes carry theirs through.
    pub(super) fn carry_nothing(&self, blank: &Batch) -> Result<()> {
        let embeddings = self.embed(blank, 0..1)?;
        let image = embeddings.image.f_sum(Kind::Float)?;
        let text = embeddings.text.f_sum(Kind::Float)?;
        Ok(image.f_add(&text)?.f_mul_scalar(0.0)?.f_backward()?)
    }

    /// Carries the gradients of a part's embeddings into the weights: the embeddings again, with
    /// the same dropout.
    pub(super) fn carry(&self, gradients: &Embeddings, batch: &Batch, part: &Part) -> Result<()> {
        let embeddings = self.embed(batch, part.rows.clone())?;
        let gradients = gradients.rows(&part.rows)?;
        let (image, text) = (&embeddings.image, &embeddings.text);
        let image = image.f_mul(&gradients.image)?.f_sum(Kind::Float)?;
        let text = text.f_mul(&gradients.text)?.f_sum(Kind::Float)?;
        Ok(image.f_add(&text)?.f_backward()?)
    }
}

fn on(device: Device, numbers: &[i64]) -> Result<Tensor> {
    Ok(Tensor::f_from_slice(numbers)?.f_to_device(device)?)
}
