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
use flava_training::{BatchRows, Batches, Learner, ParameterSet, Step, StepMetrics, TrainingState};
use tch::{Device, Kind, Tensor, nn::VarStore};

use super::{
    decoder::Decoder,
    files::{read_codebook, write_codebook},
    losses::{divergence, logit_laplace, uneven_usage, usage},
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

/// What some of a batch's images give.
struct PartLosses {
    reconstruction: Tensor,
    divergence: Tensor,
    /// How often each word is used, \[words\]: a mean over all patches.
    used: Tensor,
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

    /// The losses of this process's images, which are a share of the whole batch's.
    fn losses(&self, batch: &SampledBatch<Pixels>, step: &Step, share: f64) -> Result<PartLosses> {
        let pixels = image_batch(&batch.rows, self.store.device(), Kind::Float)?.pixel_values;
        let logits = self.encoder.forward(&pixels)?; // [batch, words, height, width]
        let words = self.relaxed_words(&logits, &batch.own.places, step)?;
        let (mean, log_width) = self.decoder.forward(&words)?;
        let log_q = logits.f_log_softmax(1, Kind::Float)?;
        let weight = share * self.kl_weight() / NUMBERS_OF_A_PATCH;
        Ok(PartLosses {
            reconstruction: logit_laplace(&pixels, &mean, &log_width)?.f_mul_scalar(share)?,
            divergence: divergence(&log_q)?.f_mul_scalar(weight)?,
            used: usage(&log_q)?,
        })
    }

    /// Words relaxed by the Gumbel softmax, of logits \[batch, words, height, width\]. The noise of
    /// an image depends on its place in the whole batch alone.
    fn relaxed_words(&self, logits: &Tensor, places: &[usize], step: &Step) -> Result<Tensor> {
        let mut noise = Vec::with_capacity(places.len());
        for (row, place) in places.iter().enumerate() {
            tch::manual_seed(step.seed.wrapping_add(*place as i64));
            let one = logits.f_narrow(0, row as i64, 1)?.f_detach()?;
            noise.push(one.f_empty_like()?.f_exponential_(1.0)?);
        }
        let noise = Tensor::f_cat(&noise, 0)?.f_log()?.f_neg()?;
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
        let largest = source.samples.own_size();
        let make = move |step: usize, piece| source.piece(step as u64, piece);
        Box::new(prefetch(steps, largest, self.threads, make).map(Ok))
    }

    fn backward(&mut self, batch: &SampledBatch<Pixels>, step: &Step) -> Result<StepMetrics> {
        self.step = step.number;
        let mut metrics = StepMetrics::default();
        let parts = step.parts(&batch.own);
        let (part, device) = (&parts[0], self.store.device());
        let share = step.share(part);
        let own = if part.rows.is_empty() {
            None
        } else {
            Some(self.losses(batch, step, share))
        };
        let own = step.agreed(own.transpose())?;
        let used = match &own {
            Some(own) => own.used.f_mul_scalar(share)?,
            None => Tensor::f_zeros([self.config.vocab_size], (Kind::Float, device))?,
        };
        let uneven = uneven_usage(&used, &step.group)?;
        let weight = self.stage.usage_weight;
        if let Some(own) = own {
            metrics.add_loss("reconstruction", &own.reconstruction)?;
            metrics.add_loss("divergence", &own.divergence)?;
            let total = own.reconstruction.f_add(&own.divergence)?;
            let by_usage = used.f_mul(&uneven.gradient)?.f_sum(Kind::Float)?;
            step.begin_backward(part);
            total
                .f_add(&by_usage.f_mul_scalar(weight)?)?
                .f_mul_scalar(step.loss_scale)?
                .f_backward()?;
        } else {
            metrics.add_no_loss("reconstruction")?;
            metrics.add_no_loss("divergence")?;
        }
        // A number of the whole batch: the processes have equal parts of it.
        let part_of_it = weight / step.group.world() as f64;
        metrics.add_loss("uneven_usage", &uneven.value.f_mul_scalar(part_of_it)?)?;
        Ok(metrics)
    }

    /// How evenly words are used is a number of the whole batch.
    fn takes_parts(&self) -> bool {
        false
    }

    fn parameters(&self) -> Vec<ParameterSet> {
        vec![ParameterSet::of(&self.store)]
    }

    fn rows<'b>(&self, batch: &'b SampledBatch<Pixels>) -> &'b BatchRows {
        &batch.own
    }

    fn extra_metrics(&self) -> Vec<(&'static str, f64)> {
        vec![
            ("temperature", self.temperature()),
            ("kl_weight", self.kl_weight()),
        ]
    }

    fn flops(&self, batch: &SampledBatch<Pixels>) -> f64 {
        let (height, width) = batch.rows.first().map_or((0, 0), |(_, size)| *size);
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
