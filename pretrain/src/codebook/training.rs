//! The steps of the codebook's training.

use std::{ops::Range, path::Path, sync::Arc};

use flava_base::stream;
use flava_model::{
    FlavaConfig, ImageCodebook,
    checkpoint::{load_exactly, read_tensors, write_tensors},
    config::CodebookConfig,
    processor::{ImageTransform, Pixels, image_batch},
    runtime::Fill,
};
use flava_training::{Batches, Learner, ParameterSet, Step, StepMetrics, TrainingState};
use tch::{Device, Kind, Tensor, nn::VarStore};

use super::{
    decoder::Decoder,
    files::{read_codebook, write_codebook},
    losses::{divergence, logit_laplace, uneven_usage},
    networks::{PATCH, flops_of_patch, networks},
};
use crate::{
    Error, Result,
    augment::Crop,
    recipe::CodebookStage,
    sampling::{CorpusSampler, Piece, SampledBatch, image, prefetch},
};

const DECODER: &str = "decoder.safetensors";
/// Patches' pixels and channels: what the divergence of a word counts against the likelihood of a
/// pixel (DALL-E, appendix A.2).
const NUMBERS_OF_A_PATCH: f64 = (PATCH * PATCH) as f64 * 3.0;

/// What the training of a codebook works on.
pub struct CodebookSetup {
    /// Images.
    pub samples: CorpusSampler,
    /// How they are prepared.
    pub transform: ImageTransform,
    /// Of new weights and of parts of images.
    pub seed: u64,
    /// Where it runs.
    pub device: Device,
    /// Threads that prepare images.
    pub threads: usize,
}

/// Encoder and decoder in training.
pub struct CodebookTraining {
    pub(super) config: CodebookConfig,
    pub(super) encoder: ImageCodebook,
    pub(super) decoder: Decoder,
    pub(super) store: VarStore,
    stage: CodebookStage,
    pub(super) source: Arc<ImageSource>,
    threads: usize,
    flops_of_patch: f64,
    step: usize,
}

/// Where its images come from.
pub(super) struct ImageSource {
    pub(super) samples: CorpusSampler,
    transform: ImageTransform,
    crop: Option<Crop>,
    seed: u64,
}

impl ImageSource {
    /// The images in a piece of a step's batch.
    fn piece(&self, step: u64, piece: Piece) -> SampledBatch<Pixels> {
        self.samples
            .piece(step, piece, |row, sample| self.pixels(row, Some(sample)))
    }

    /// A row's pixels: of a part of it that the draw decides, or of all of it.
    pub(super) fn pixels(
        &self,
        row: usize,
        sample: Option<u64>,
    ) -> std::result::Result<Pixels, String> {
        let example = self.samples.dataset.get(row).map_err(|e| e.to_string())?;
        let whole = image(example.image.as_deref())?;
        let part = match (&self.crop, sample) {
            (Some(crop), Some(sample)) => {
                let mut rng = stream(self.seed, &format!("codebook, draw {sample}"));
                crop.apply(&whole, &mut rng)
            }
            _ => whole,
        };
        Ok(self.transform.apply(&part))
    }
}

/// Fills convolutions as DALL-E's code does: each output of unit variance where the inputs are.
fn fill_convolutions(store: &VarStore) {
    let mut variables: Vec<(String, Tensor)> = store.variables().into_iter().collect();
    variables.sort_by(|a, b| a.0.cmp(&b.0)); // the order decides the numbers
    variables.retain(|(_, variable)| variable.dim() == 4);
    for (_, mut weight) in variables {
        let inputs: i64 = weight.size()[1..].iter().product();
        tch::no_grad(|| drop(weight.normal_(0.0, 1.0 / (inputs as f64).sqrt())));
    }
}

impl CodebookTraining {
    /// A new encoder and decoder of `config`'s sizes.
    pub fn new(config: &FlavaConfig, stage: &CodebookStage, setup: CodebookSetup) -> Self {
        let config = config.image_codebook_config.clone();
        tch::manual_seed(setup.seed as i64);
        let (mut store, encoder, decoder) =
            networks(&config, stage, Fill::New(config.initializer_range));
        fill_convolutions(&store);
        store.set_device(setup.device);
        let flops_of_patch = flops_of_patch(&store);
        let source = ImageSource {
            samples: setup.samples,
            transform: setup.transform,
            crop: stage.crop,
            seed: setup.seed,
        };
        Self {
            config,
            encoder,
            decoder,
            store,
            stage: stage.clone(),
            source: Arc::new(source),
            threads: setup.threads,
            flops_of_patch,
            step: 0,
        }
    }

    fn temperature(&self) -> f64 {
        let [first, last] = self.stage.temperature;
        let share = (self.step as f64 / self.stage.temperature_steps.max(1) as f64).min(1.0);
        last + (first - last) * 0.5 * (1.0 + (std::f64::consts::PI * share).cos())
    }

    fn kl_weight(&self) -> f64 {
        let share = (self.step as f64 / self.stage.kl_steps.max(1) as f64).min(1.0);
        self.stage.kl_weight * 0.5 * (1.0 - (std::f64::consts::PI * share).cos())
    }

    /// Words relaxed by the Gumbel softmax, of logits \[batch, words, height, width\].
    fn relaxed_words(&self, logits: &Tensor) -> Result<Tensor> {
        let noise = logits
            .f_empty_like()?
            .f_exponential_(1.0)?
            .f_log()?
            .f_neg()?;
        Ok(logits
            .f_add(&noise)?
            .f_div_scalar(self.temperature())?
            .f_softmax(1, Kind::Float)?)
    }
}

impl Learner for CodebookTraining {
    type Batch = SampledBatch<Pixels>;
    type Error = Error;

    fn batches(&self, steps: Range<usize>) -> Batches<SampledBatch<Pixels>, Error> {
        let source = Arc::clone(&self.source);
        let largest = source.samples.batch_size;
        let make = move |step: usize, piece| source.piece(step as u64, piece);
        Box::new(prefetch(steps, largest, self.threads, make))
    }

    fn backward(&mut self, batch: &SampledBatch<Pixels>, step: &Step) -> Result<StepMetrics> {
        self.step = step.number;
        tch::manual_seed(step.seed);
        let pixels = image_batch(&batch.rows, self.store.device(), Kind::Float)?.pixel_values;
        let logits = self.encoder.forward(&pixels)?; // [batch, words, height, width]
        let words = self.relaxed_words(&logits)?;
        let (mean, log_width) = self.decoder.forward(&words)?;
        let likelihood = logit_laplace(&pixels, &mean, &log_width)?;
        let log_q = logits.f_log_softmax(1, Kind::Float)?;
        let weighted = divergence(&log_q)?.f_mul_scalar(self.kl_weight() / NUMBERS_OF_A_PATCH)?;
        let uneven = uneven_usage(&log_q)?.f_mul_scalar(self.stage.usage_weight)?;
        likelihood
            .f_add(&weighted)?
            .f_add(&uneven)?
            .f_mul_scalar(step.loss_scale)?
            .f_backward()?;
        let mut metrics = StepMetrics::new(batch.rows.len());
        metrics.broken = batch.broken.clone();
        metrics.add_loss("reconstruction", &likelihood)?;
        metrics.add_loss("divergence", &weighted)?;
        metrics.add_loss("uneven_usage", &uneven)?;
        Ok(metrics)
    }

    /// How evenly words are used is a number of the whole batch.
    fn takes_parts(&self) -> bool {
        false
    }

    fn parameters(&self) -> Vec<ParameterSet> {
        vec![ParameterSet::of(&self.store)]
    }

    fn ids(&self, batch: &SampledBatch<Pixels>) -> Vec<String> {
        batch.ids.clone()
    }

    fn extra_metrics(&self) -> Vec<(&'static str, f64)> {
        vec![
            ("temperature", self.temperature()),
            ("kl_weight", self.kl_weight()),
        ]
    }

    fn flops(&self, batch: &SampledBatch<Pixels>) -> f64 {
        let (height, width) = batch.rows[0].1;
        (batch.rows.len() * height * width) as f64 / (PATCH * PATCH) as f64 * self.flops_of_patch
    }

    fn save(&self, folder: &Path, _state: &TrainingState) -> Result<()> {
        write_codebook(folder, &self.config, self.store.variables())?;
        let decoder = self
            .store
            .variables()
            .into_iter()
            .filter(|(name, _)| name.starts_with("decoder."))
            .collect();
        Ok(write_tensors(&folder.join(DECODER), decoder)?)
    }

    fn load(&mut self, folder: &Path) -> Result<()> {
        let tensors = read_codebook(folder)?
            .into_iter()
            .chain(read_tensors(&folder.join(DECODER))?);
        Ok(load_exactly(self.store.variables(), tensors, folder)?)
    }
}
