//! The contrastive loss over more pairs than go through the encoders at once (gradient caching, Gao
//! et al. 2021), in one process or several: all embeddings are in memory, but the activations of
//! one part only. Each process has its own rows' share of the loss, over the embeddings of all, and
//! sends each what its embeddings' gradients are there.

use std::ops::Range;

use flava_heads::contrastive_logits_of;
use flava_model::{ImageInputs, runtime::Autocast};
use flava_training::{Accuracy, Part, Step, StepMetrics};
use tch::{Device, Kind, Tensor};

use super::{batches::Batch, training::JointTraining};
use crate::Result;

/// Something for each image and text, \[rows, projection\] each: embeddings, or gradients by
/// them.
pub(super) struct Embeddings {
    image: Tensor,
    text: Tensor,
}

impl Embeddings {
    /// Something made of both.
    fn map(&self, act: impl Fn(&Tensor) -> Result<Tensor>) -> Result<Self> {
        Ok(Self {
            image: act(&self.image)?,
            text: act(&self.text)?,
        })
    }

    /// Those of some rows.
    fn rows(&self, rows: &Range<usize>) -> Result<Self> {
        let (start, count) = (rows.start as i64, rows.len() as i64);
        self.map(|tensor| Ok(tensor.f_narrow(0, start, count)?))
    }
}

/// The embeddings of all processes.
struct Gathered {
    /// Those of one process after the other, each filled up to the most that one has; they take
    /// gradients.
    leaves: Embeddings,
    /// The rows of those that are none's filling.
    all: Embeddings,
    /// Whether the images and texts of all rows belong together; where none do, all do.
    matches: Vec<bool>,
    /// This process's rows among all.
    own: Range<usize>,
}

impl Gathered {
    /// Of the embeddings of each process's rows, whose texts belong to their images or not.
    fn of(own: &Embeddings, matches: &[bool], step: &Step) -> Result<Self> {
        let (rows, group) = (&step.whole.rows, &step.group);
        let most = rows.iter().copied().max().unwrap_or(0);
        let flags: Vec<u8> = matches.iter().map(|matches| u8::from(*matches)).collect();
        let flags = group.gather_bytes(&flags)?.concat();
        let any = flags.contains(&1);
        let places = rows.iter().enumerate();
        let places: Vec<i64> = places
            .flat_map(|(rank, rows)| (0..*rows).map(move |row| (rank * most + row) as i64))
            .collect();
        let leaves = own.map(|own| {
            let (missing, world) = (most as i64 - own.size()[0], group.world() as i64);
            let filled = own.f_constant_pad_nd([0, 0, 0, missing])?;
            let size = [world * most as i64, own.size()[1]];
            let all = Tensor::f_empty(size, (own.kind(), own.device()))?;
            group.all_gather(&all, &filled)?.wait()?;
            Ok(all.f_set_requires_grad(true)?)
        })?;
        let is_filled = places.len() < rows.len() * most;
        let places = Tensor::f_from_slice(&places)?.f_to_device(own.image.device())?;
        let all = leaves.map(|leaf| {
            Ok(if is_filled {
                leaf.f_index_select(0, &places)?
            } else {
                leaf.shallow_clone()
            })
        })?;
        let before: usize = rows[..group.rank()].iter().sum();
        Ok(Self {
            leaves,
            all,
            matches: flags.iter().map(|flag| *flag == 1 || !any).collect(),
            own: before..before + rows[group.rank()],
        })
    }

    /// The gradients by this process's embeddings, of the loss of all processes.
    fn gradients(&self, step: &Step) -> Result<Embeddings> {
        let (group, rows) = (&step.group, self.own.len() as i64);
        self.leaves.map(|leaf| {
            let gradient = leaf.grad();
            let gradient = if gradient.defined() {
                gradient
            } else {
                leaf.f_zeros_like()? // none of these rows is a query
            };
            let (all, columns) = gradient.size2()?;
            let size = [all / group.world() as i64, columns];
            let own = Tensor::f_empty(size, (gradient.kind(), gradient.device()))?;
            group.reduce_scatter(&own, &gradient)?.wait()?;
            Ok(own.f_narrow(0, 0, rows)?)
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

    /// The embeddings of all of this process's rows, f32, without a graph.
    fn embed_all(&self, batch: &Batch, parts: &[Part], step: &Step) -> Result<Embeddings> {
        let _guard = tch::no_grad_guard();
        let none = Tensor::f_zeros(
            [0, self.config().projection_dim],
            (Kind::Float, self.device()),
        )?;
        let (mut images, mut texts) = (vec![none.shallow_clone()], vec![none]);
        for part in parts.iter().filter(|part| !part.rows.is_empty()) {
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
