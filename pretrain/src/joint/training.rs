//! The steps of joint training: batches through the model, in parts where they are larger than
//! memory, whose gradients add up to those of the whole.

use std::{ops::Range, path::Path, rc::Rc, sync::Arc};

use flava_model::{
    FlavaConfig,
    checkpoint::{Architecture, Checkpoint, write_directory},
    layers::WeightLender,
    processor::{ImageProcessorConfig, TextProcessor},
    runtime::{Autocast, Precision},
};
use flava_training::{
    BatchRows, Batches, Learner, ParameterSet, Part, Step, StepMetrics, TrainingState,
};
use tch::{Device, Kind, Tensor, nn::VarStore};

use super::{
    batches::{Batch, InputOptions},
    inputs::{BatchTotals, PretrainingInputs},
    losses::PretrainingOutput,
    model::FlavaForPreTraining,
    reader::PretrainingDataset,
    rows::ExampleTransform,
};
use crate::{
    Error, Result,
    flops::{self, HiddenShares},
    recipe::RowKind,
    sampling::{Mixture, prefetch},
};

/// Everything that joint training works on.
pub struct JointTraining {
    /// The model.
    pub model: FlavaForPreTraining,
    /// Its variables.
    pub store: VarStore,
    /// How its images are prepared.
    pub processor: ImageProcessorConfig,
    /// Its tokenizer.
    pub text: Arc<TextProcessor>,
    /// The corpora.
    pub readers: Arc<Vec<PretrainingDataset>>,
    /// Which of them each step reads.
    pub mixture: Arc<Mixture>,
    /// How rows are made.
    pub preparation: Arc<ExampleTransform>,
    /// Threads that make them.
    pub threads: usize,
    /// Share of a batch among which contrastive partners are looked for.
    pub contrastive_share: f64,
    /// Kind of products.
    pub precision: Precision,
}

impl JointTraining {
    pub(super) fn config(&self) -> &FlavaConfig {
        &self.model.config
    }

    pub(super) fn device(&self) -> Device {
        self.store.device()
    }

    /// Whether a batch's pairs have a contrastive loss.
    fn contrasts(&self, batch: &Batch) -> bool {
        batch.kind() == RowKind::Pairs && self.model.weights.global_contrastive > 0.0
    }

    /// Whether the contrastive loss is computed apart from the others, over embeddings of all
    /// parts of all processes.
    fn contrasts_apart(&self, batch: &Batch, parts: usize, step: &Step) -> bool {
        let several = parts > 1 || step.group.has_others();
        self.contrasts(batch) && (several || self.contrastive_share < 1.0)
    }

    /// Adds the gradients of this process's rows of a batch.
    fn gradients(&self, batch: &Batch, step: &Step) -> Result<StepMetrics> {
        let parts = step.parts(&batch.own);
        let mut metrics = StepMetrics::default();
        metrics.tokens = batch.tokens();
        let apart = self.contrasts_apart(batch, parts.len(), step);
        let contrastive = if apart {
            Some(self.contrastive_gradients(batch, &parts, step, &mut metrics)?)
        } else {
            None
        };
        let is_whole = parts.len() == 1 && !step.group.has_others();
        let totals = (!is_whole).then(|| BatchTotals::of(&step.whole));
        for part in &parts {
            if part.rows.is_empty() {
                if step.lockstep {
                    self.come_along(batch.kind(), apart, part, step)?;
                }
                continue;
            }
            step.begin(part);
            if let Some(gradients) = &contrastive {
                let is_all = !self.model.weights.read_masked_pairs();
                if is_all {
                    step.begin_backward(part);
                }
                self.carry(gradients, batch, part)?;
                if is_all {
                    continue;
                }
            }
            let mut inputs = self.inputs(batch, part.rows.clone(), !apart)?;
            inputs.totals = totals;
            let output = self.forward(inputs)?;
            let mut total = output.losses.total();
            if step.lockstep && self.has_losses(batch.kind(), step) {
                total = Some(through_all(total, &output)?);
            }
            if let Some(total) = total {
                step.begin_backward(part);
                total.f_mul_scalar(step.loss_scale)?.f_backward()?;
            }
            add(&mut metrics, output)?;
        }
        if let Some(totals) = totals {
            self.add_missing(&mut metrics, batch.kind(), totals)?;
        }
        Ok(metrics)
    }

    /// Notes the losses that the batch has and this process's rows do not.
    fn add_missing(
        &self,
        metrics: &mut StepMetrics,
        kind: RowKind,
        totals: BatchTotals,
    ) -> Result<()> {
        for name in self.losses_of(kind, totals) {
            metrics.add_no_loss(name)?;
        }
        Ok(())
    }

    /// The losses, the contrastive one apart, that a whole batch has.
    fn losses_of(
        &self,
        kind: RowKind,
        totals: BatchTotals,
    ) -> impl Iterator<Item = &'static str> + use<> {
        let weights = &self.model.weights;
        let (patches, words) = (totals.patches > 0, totals.words > 0);
        let none = ("", 0.0, false);
        let has = match kind {
            RowKind::Images => [("mim", weights.mim, patches), none, none],
            RowKind::Texts => [("mlm", weights.mlm, words), none, none],
            RowKind::Pairs => [
                ("itm", weights.itm, totals.pairs > 0),
                ("mmm_image", weights.mmm_image, patches),
                ("mmm_text", weights.mmm_text, words),
            ],
        };
        let has = has
            .into_iter()
            .filter(|(_, weight, has)| *weight > 0.0 && *has);
        has.map(|(name, ..)| name)
    }

    fn has_losses(&self, kind: RowKind, step: &Step) -> bool {
        let mut losses = self.losses_of(kind, BatchTotals::of(&step.whole));
        losses.next().is_some()
    }

    /// Comes to the blocks that the other processes come to, with a row that says nothing.
    fn come_along(&self, kind: RowKind, apart: bool, part: &Part, step: &Step) -> Result<()> {
        let batch = Batch::blank(kind, self.config(), &self.preparation)?;
        if apart {
            let is_all = !self.model.weights.read_masked_pairs();
            if is_all {
                step.begin_backward(part);
            }
            self.carry_nothing(&batch)?;
            if is_all {
                return Ok(());
            }
        }
        let mut inputs = self.inputs(&batch, 0..1, !apart)?;
        inputs.totals = Some(BatchTotals::of(&step.whole));
        let output = self.forward(inputs)?;
        if self.has_losses(kind, step) {
            step.begin_backward(part);
            through_all(None, &output)?.f_backward()?;
        }
        Ok(())
    }

    /// What the model reads of some rows; `contrast` says whether this is for the contrastive loss
    /// too.
    fn inputs(
        &self,
        batch: &Batch,
        part: Range<usize>,
        contrast: bool,
    ) -> Result<PretrainingInputs> {
        let options = InputOptions {
            unmasked: contrast && self.contrasts(batch),
            pad: self.text.pad_id(),
            ignore: self.config().ce_ignore_index,
            device: self.device(),
        };
        batch.inputs(part, &options)
    }

    /// The losses of a part, whose patches are named first where they have no names.
    fn forward(&self, mut inputs: PretrainingInputs) -> Result<PretrainingOutput> {
        if inputs.mim_labels.is_none()
            && let Some(pixels) = inputs.codebook_pixel_values.take()
        {
            inputs.mim_labels = Some(self.model.codebook()?.indices(&pixels)?); // in f32, outside autocast
        }
        let _autocast = Autocast::new(self.device(), self.precision)?;
        self.model.forward(&inputs)
    }
}

/// A loss whose backward pass comes to all blocks, whatever of it there is.
fn through_all(total: Option<Tensor>, output: &PretrainingOutput) -> Result<Tensor> {
    let states = [
        &output.masked_image,
        &output.masked_text,
        &output.masked_multimodal,
    ];
    let mut total = total;
    for states in states.into_iter().flatten() {
        let states = &states.last_hidden_state;
        let nothing = states.f_sum(Kind::Float)?.f_mul_scalar(0.0)?;
        total = Some(match total {
            Some(total) => total.f_add(&nothing)?,
            None => nothing,
        });
    }
    total.ok_or_else(|| Error::Input("a batch that no encoder reads".into()))
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
        let sizes = readers.iter().map(|reader| reader.samples.own_size());
        let largest = sizes.max().unwrap_or(0);
        let pieces = prefetch(steps.clone(), largest, self.threads, move |step, piece| {
            let (corpus, nth) = mixture.step(step);
            readers[corpus].piece(nth, piece, &preparation)
        });
        let (readers, mixture) = (Arc::clone(&self.readers), Arc::clone(&self.mixture));
        Box::new(
            steps
                .zip(pieces)
                .map(move |(step, sampled)| Ok(readers[mixture.step(step).0].batch_of(sampled))),
        )
    }

    fn backward(&mut self, batch: &Batch, step: &Step) -> Result<StepMetrics> {
        self.gradients(batch, step)
    }

    fn takes_lender(&self) -> bool {
        true
    }

    fn set_lender(&mut self, lender: &Rc<dyn WeightLender>) {
        self.model.flava.set_lender(lender);
    }

    fn after_update(&mut self, _step: &Step) -> Result<()> {
        self.model.flava.clamp_logit_scale();
        Ok(())
    }

    fn parameters(&self) -> Vec<ParameterSet> {
        vec![ParameterSet::of(&self.store)]
    }

    fn rows<'b>(&self, batch: &'b Batch) -> &'b BatchRows {
        &batch.own
    }

    fn counts(&self, batch: &Batch) -> Vec<f64> {
        batch.counts(self.config().ce_ignore_index)
    }

    fn kind(&self, batch: &Batch) -> &'static str {
        match batch.kind() {
            RowKind::Images => "images",
            RowKind::Texts => "texts",
            RowKind::Pairs => "pairs",
        }
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
        let words = match batch.kind() {
            RowKind::Pairs => self.preparation.words[1].0,
            RowKind::Images | RowKind::Texts => self.preparation.words[0].0,
        };
        let (config, patches) = (self.config(), self.preparation.masks.total());
        let hidden = HiddenShares::new(config, patches, words.rate);
        let (rows, tokens) = (batch.len(), batch.tokens() as f64);
        let tokens = tokens / (rows as f64).max(1.0);
        flops::batch(config, batch.kind(), rows, tokens, &hidden)
    }

    fn save(&self, folder: &Path, _state: &TrainingState) -> Result<()> {
        let variables = self.store.variables().into_iter();
        Ok(write_directory(
            folder,
            Architecture::FlavaForPreTraining,
            self.config(),
            variables.filter(|(name, _)| !self.model.flava.is_lent(name)),
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
