//! Joint training, and its special cases: MLM or MIM alone. Each step's batch comes from one
//! corpus; pairs larger than memory go through the model in parts whose gradients add up to those
//! of the whole.

mod inputs;
mod loss_positions;
mod losses;
mod masking;
mod mixture;
mod model;
mod pairs;
mod rows;
mod visual_words;

use std::{ops::Range, path::Path, sync::Arc};

use flava_model::{
    FlavaConfig, ImageInputs,
    checkpoint::{Architecture, Checkpoint, write_directory},
    processor::{ImageProcessorConfig, TextProcessor},
    runtime::{Autocast, Precision},
};
use flava_training::{Batches, Learner, ParameterSet, Step, StepMetrics, TrainingState};
use tch::{Device, Kind, Tensor, nn::VarStore};

pub use inputs::{BatchTotals, PretrainingInputs};
pub use losses::{Losses, OnEmpty, PretrainingOutput};
pub use masking::{BlockMasks, MaskedText, WordMasks};
pub use mixture::Mixture;
pub use model::FlavaForPreTraining;
pub use rows::{Batch, PatchLabels, Preparation, Reader};
pub use visual_words::VisualWords;

use crate::{Error, Result, draws::ahead, recipe::RowKind};
use losses::matching;
pub(crate) use model::reads_masked_pairs;

/// Everything that joint training works on.
pub struct JointTraining {
    /// The model.
    pub model: FlavaForPreTraining,
    /// Its variables.
    pub store: VarStore,
    /// How its pictures are prepared.
    pub processor: ImageProcessorConfig,
    /// Its tokenizer.
    pub text: Arc<TextProcessor>,
    /// The corpora.
    pub readers: Arc<Vec<Reader>>,
    /// Which of them each step reads.
    pub mixture: Arc<Mixture>,
    /// How rows are made.
    pub preparation: Arc<Preparation>,
    /// Threads that make them.
    pub threads: usize,
    /// Share of a batch among which contrastive partners are looked for.
    pub contrastive_share: f64,
    /// Kind of products.
    pub precision: Precision,
}

/// Embeddings of pictures and texts, \[rows, projection\] each.
struct Embeddings {
    image: Tensor,
    text: Tensor,
}

impl JointTraining {
    fn config(&self) -> &FlavaConfig {
        &self.model.config
    }

    fn device(&self) -> Device {
        self.store.device()
    }

    /// Whether the contrastive loss is computed apart from the others, over embeddings of all
    /// parts.
    fn contrasts_apart(&self, batch: &Batch, parts: usize) -> bool {
        batch.kind() == RowKind::Pairs
            && self.config().global_contrastive_weight > 0.0
            && (parts > 1 || self.contrastive_share < 1.0)
    }

    /// Adds the gradients of a batch.
    fn gradients(&self, batch: &Batch, step: &Step) -> Result<StepMetrics> {
        let parts: Vec<Range<usize>> = step.parts(batch.len()).collect();
        let mut metrics = StepMetrics::new(batch.len());
        metrics.tokens = batch.tokens();
        metrics.broken = batch.broken.clone();
        let apart = self.contrasts_apart(batch, parts.len());
        let gradients = if apart {
            Some(self.contrastive_gradients(batch, &parts, step, &mut metrics)?)
        } else {
            None
        };
        let totals = (parts.len() > 1).then(|| batch.totals(self.config().ce_ignore_index));
        for (number, part) in parts.iter().enumerate() {
            tch::manual_seed(step.seed.wrapping_add(number as i64));
            if let Some(gradients) = &gradients {
                // The embeddings again, with the same dropout, to carry their gradients into the
                // weights.
                let embeddings = self.embed(batch, part.clone())?;
                let rows = (part.start as i64, part.len() as i64);
                let image = embeddings
                    .image
                    .f_mul(&gradients.image.f_narrow(0, rows.0, rows.1)?)?
                    .f_sum(Kind::Float)?;
                let text = embeddings
                    .text
                    .f_mul(&gradients.text.f_narrow(0, rows.0, rows.1)?)?
                    .f_sum(Kind::Float)?;
                image.f_add(&text)?.f_backward()?;
                if !reads_masked_pairs(self.config()) {
                    continue;
                }
            }
            let unmasked = !apart
                && self.config().global_contrastive_weight > 0.0
                && batch.kind() == RowKind::Pairs;
            let mut inputs = batch.inputs(
                part.clone(),
                unmasked,
                (self.text.pad_id(), self.config().ce_ignore_index),
                self.device(),
            )?;
            inputs.totals = totals;
            if inputs.mim_labels.is_none()
                && let Some(pixels) = inputs.codebook_pixel_values.take()
            {
                inputs.mim_labels = Some(self.model.codebook()?.indices(&pixels)?); // in f32, outside autocast
            }
            let output = {
                let _autocast = Autocast::new(self.device(), self.precision)?;
                self.model.forward(&inputs)?
            };
            if let Some(total) = output.losses.total() {
                total.f_mul_scalar(step.loss_scale)?.f_backward()?;
            }
            add(&mut metrics, output)?;
        }
        Ok(metrics)
    }

    fn embed(&self, batch: &Batch, part: Range<usize>) -> Result<Embeddings> {
        let _autocast = Autocast::new(self.device(), self.precision)?;
        let flava = &self.model.flava;
        let image = flava.encode_image_cls(&ImageInputs::new(
            batch.pixels(part.clone(), self.device())?,
        ))?;
        let text =
            flava.encode_text_cls(&batch.texts(part, self.text.pad_id(), self.device())?)?;
        Ok(Embeddings {
            image: flava.project_image(&image)?,
            text: flava.project_text(&text)?,
        })
    }

    /// The contrastive loss over all parts, and its gradients by the embeddings (gradient caching,
    /// Gao et al. 2021): all embeddings are in memory at once, but the activations of one part
    /// only.
    fn contrastive_gradients(
        &self,
        batch: &Batch,
        parts: &[Range<usize>],
        step: &Step,
        metrics: &mut StepMetrics,
    ) -> Result<Embeddings> {
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
        let (image, text) = (leaf(&images)?, leaf(&texts)?);
        let labels = batch.itm_labels(0..batch.len(), self.device())?;
        let rows =
            ((batch.len() as f64 * self.contrastive_share).round() as usize).clamp(1, batch.len());
        let matches = matching(&labels, None)?;
        let all = matches.f_sum(Kind::Int64)?.int64_value(&[]);
        let mut total: Option<Tensor> = None;
        for start in (0..batch.len()).step_by(rows) {
            let (start, count) = (start as i64, rows.min(batch.len() - start) as i64);
            let matches = matches.f_narrow(0, start, count)?;
            let queries = matches.f_sum(Kind::Int64)?.int64_value(&[]);
            if queries == 0 {
                continue;
            }
            let some = |tensor: &Tensor| tensor.f_narrow(0, start, count);
            let scale = self.model.flava.clamped_logit_scale()?;
            let (_, loss, accuracies) =
                self.model
                    .contrast(&some(&image)?, &some(&text)?, Some(&matches), &scale)?;
            let loss = loss.f_mul_scalar(queries as f64 / all as f64)?;
            for accuracy in accuracies {
                metrics.add_accuracy(accuracy);
            }
            total = Some(match total {
                None => loss,
                Some(total) => total.f_add(&loss)?,
            });
        }
        let total = total.ok_or_else(|| Error::Input("a contrastive batch without rows".into()))?;
        metrics.add_loss("global_contrastive", &total)?;
        total.f_mul_scalar(step.loss_scale)?.f_backward()?;
        Ok(Embeddings {
            image: image.grad(),
            text: text.grad(),
        })
    }
}

/// Adds what a part of a batch gave.
fn add(metrics: &mut StepMetrics, output: PretrainingOutput) -> Result<()> {
    for (name, loss) in output.losses.named() {
        if let Some(loss) = loss {
            metrics.add_loss(name, loss)?;
        }
    }
    for accuracy in output.accuracies {
        metrics.add_accuracy(accuracy);
    }
    Ok(())
}

impl Learner for JointTraining {
    type Batch = Batch;
    type Error = Error;

    fn batches(&self, steps: Range<usize>) -> Batches<Batch, Error> {
        let (readers, mixture, preparation) = (
            Arc::clone(&self.readers),
            Arc::clone(&self.mixture),
            Arc::clone(&self.preparation),
        );
        let largest = readers
            .iter()
            .map(|reader| reader.draws.batch_size)
            .max()
            .unwrap_or(0);
        let pieces = ahead(steps.clone(), largest, self.threads, move |step, piece| {
            let (corpus, nth) = mixture.step(step);
            readers[corpus].piece(nth, piece, &preparation)
        });
        let (readers, mixture) = (Arc::clone(&self.readers), Arc::clone(&self.mixture));
        Box::new(
            steps
                .zip(pieces)
                .map(move |(step, drawn)| Ok(readers[mixture.step(step).0].batch_of(drawn?))),
        )
    }

    fn backward(&mut self, batch: &Batch, step: &Step) -> Result<StepMetrics> {
        self.gradients(batch, step)
    }

    fn after_update(&mut self, _step: &Step) -> Result<()> {
        self.model.flava.clamp_logit_scale();
        Ok(())
    }

    fn parameters(&self) -> Vec<ParameterSet> {
        vec![ParameterSet::of(&self.store)]
    }

    fn ids(&self, batch: &Batch) -> Vec<String> {
        batch.ids.clone()
    }

    fn extra_metrics(&self) -> Vec<(&'static str, f64)> {
        let scale = self
            .model
            .flava
            .clamped_logit_scale()
            .map_or(f64::NAN, |scale| scale.double_value(&[]));
        vec![("logit_scale", scale)]
    }

    fn flops(&self, batch: &Batch) -> f64 {
        crate::flops::batch(self.config(), batch.kind(), (batch.len(), batch.longest()))
    }

    fn save(&self, folder: &Path, _state: &TrainingState) -> Result<()> {
        Ok(write_directory(
            folder,
            Architecture::FlavaForPreTraining,
            self.config(),
            self.store.variables(),
            &self.processor,
            &self.text,
        )?)
    }

    fn load(&mut self, folder: &Path) -> Result<()> {
        let report = Checkpoint::open(folder)?.load_into(&self.store)?;
        if report.missing.is_empty() && report.mismatched.is_empty() {
            return Ok(());
        }
        Err(Error::Input(report.to_string()))
    }
}
