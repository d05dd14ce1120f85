//! Training of the image codebook: the encoder of a discrete VAE whose words are relaxed by the
//! Gumbel softmax (DALL-E, section 2.1 and appendix A).

mod decoder;

use std::{ops::Range, path::Path, sync::Arc};

use flava_base::stream;
use flava_model::{
    FlavaConfig, ImageCodebook,
    checkpoint::{Checkpoint, load_exactly, read_tensors, write_tensors},
    config::CodebookConfig,
    processor::{ImageTransform, Pixels, image_batch},
    runtime::{Fill, Vars},
};
use flava_training::{Batches, Learner, ParameterSet, Step, StepMetrics, TrainingState};
use image::{RgbImage, imageops};
use serde_json::json;
use tch::{Device, Kind, Tensor, nn::VarStore};

pub use decoder::Decoder;

use crate::{
    Error, Result,
    augment::Crop,
    draws::{Drawn, Draws, ahead, picture},
    recipe::CodebookStage,
};

/// How the names of the encoder's tensors begin.
pub(crate) const CODEBOOK: &str = "image_codebook.";
const DECODER: &str = "decoder.safetensors";
/// Patches' pixels and channels: what the divergence of a word counts against the likelihood of a
/// pixel (DALL-E, appendix A.2).
const NUMBERS_OF_A_PATCH: f64 = (PATCH * PATCH) as f64 * 3.0;
/// Side of a patch in the codebook's pixels.
pub(crate) const PATCH: usize = 8;
/// Pictures that reconstruction is measured on.
const MEASURED: usize = 256;
/// Of these, those in the picture of reconstructions.
const SHOWN: usize = 16;

/// Encoder and decoder in training.
pub struct CodebookTraining {
    config: CodebookConfig,
    encoder: ImageCodebook,
    decoder: Decoder,
    store: VarStore,
    stage: CodebookStage,
    data: Arc<Data>,
    threads: usize,
    flops_of_patch: f64,
    step: usize,
}

/// Where its pictures come from.
struct Data {
    draws: Draws,
    transform: ImageTransform,
    crop: Option<Crop>,
    seed: u64,
}

/// How well pictures come back from their words.
#[derive(Clone, Copy, Debug, serde::Serialize, serde::Deserialize)]
pub struct Reconstruction {
    /// Mean squared difference of pixels from 0 to 1.
    pub squared_error: f64,
    /// The same for the mean colour of each picture, to compare with.
    pub squared_error_of_mean: f64,
    /// Share of the words that occur.
    pub usage: f64,
    /// Number of evenly used words that would be as hard to guess.
    pub perplexity: f64,
}

impl Data {
    /// A row's pixels: of a part of it that the draw decides, or of all of it.
    fn pixels(&self, row: usize, draw: Option<u64>) -> std::result::Result<Pixels, String> {
        let example = self.draws.dataset.get(row).map_err(|e| e.to_string())?;
        let whole = picture(example.image.as_deref())?;
        let part = match (&self.crop, draw) {
            (Some(crop), Some(draw)) => crop.apply(
                &whole,
                &mut stream(self.seed, &format!("codebook, draw {draw}")),
            ),
            _ => whole,
        };
        Ok(self.transform.apply(&part))
    }
}

impl CodebookTraining {
    /// A new encoder and decoder of `config`'s sizes over the pictures of `draws`.
    pub fn new(
        config: &FlavaConfig,
        stage: &CodebookStage,
        draws: Draws,
        transform: ImageTransform,
        (seed, device, threads): (u64, Device, usize),
    ) -> Self {
        let config = config.image_codebook_config.clone();
        tch::manual_seed(seed as i64);
        let (mut store, encoder, decoder) =
            networks(&config, stage, Fill::New(config.initializer_range));
        let mut variables: Vec<(String, Tensor)> = store.variables().into_iter().collect();
        variables.sort_by(|a, b| a.0.cmp(&b.0)); // the order decides the numbers
        for (_, mut weight) in variables
            .into_iter()
            .filter(|(_, variable)| variable.dim() == 4)
        {
            // As DALL-E's code: each output of unit variance where the inputs are.
            let inputs: i64 = weight.size()[1..].iter().product();
            tch::no_grad(|| drop(weight.normal_(0.0, 1.0 / (inputs as f64).sqrt())));
        }
        store.set_device(device);
        let flops_of_patch = flops_of_patch(&store);
        let data = Data {
            draws,
            transform,
            crop: stage.crop,
            seed,
        };
        Self {
            config,
            encoder,
            decoder,
            store,
            stage: stage.clone(),
            data: Arc::new(data),
            threads,
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

    /// How well the first pictures of the corpus come back, and a picture of some of them:
    /// originals over reconstructions.
    pub fn measure(&self) -> Result<(Reconstruction, RgbImage)> {
        let _guard = tch::no_grad_guard();
        let rows = MEASURED.min(self.data.draws.dataset.len());
        let mut counts = vec![0; self.config.vocab_size as usize];
        let (mut error, mut error_of_mean, mut seen, mut shown) = (0.0, 0.0, 0, Vec::new());
        for start in (0..rows).step_by(SHOWN) {
            let pixels: Vec<Pixels> = (start..(start + SHOWN).min(rows))
                .filter_map(|row| self.data.pixels(row, None).ok())
                .collect();
            if pixels.is_empty() {
                continue;
            }
            let target = image_batch(&pixels, self.store.device(), Kind::Float)?.pixel_values;
            let words = self.encoder.indices(&target)?;
            count_words(&words, &mut counts)?;
            let hot = words
                .f_one_hot(self.config.vocab_size)?
                .f_permute([0, 3, 1, 2])?
                .f_to_kind(Kind::Float)?;
            let (mean, _) = self.decoder.forward(&hot)?;
            let (original, back) = (unmapped(&target)?, unmapped(&mean.f_sigmoid()?)?);
            let average = original.f_mean_dim([2i64, 3].as_slice(), true, Kind::Float)?;
            let squared = |other: &Tensor| -> Result<f64> {
                Ok(original
                    .f_sub(other)?
                    .f_square()?
                    .f_mean(Kind::Double)?
                    .double_value(&[]))
            };
            error += squared(&back)? * pixels.len() as f64;
            error_of_mean += squared(&average)? * pixels.len() as f64;
            seen += pixels.len();
            if shown.is_empty() {
                shown = vec![original, back];
            }
        }
        let (usage, perplexity) = usage(&counts);
        let count = seen.max(1) as f64;
        let found = Reconstruction {
            squared_error: error / count,
            squared_error_of_mean: error_of_mean / count,
            usage,
            perplexity,
        };
        Ok((found, sheet(&shown)?))
    }

    /// Writes `reconstructions.png` and `reconstruction.json` into a folder.
    pub fn report(&self, folder: &Path) -> Result<Reconstruction> {
        let (found, picture) = self.measure()?;
        let path = folder.join("reconstructions.png");
        picture
            .save(&path)
            .map_err(|e| Error::Input(format!("{}: {e}", path.display())))?;
        let path = folder.join("reconstruction.json");
        flava_base::write_atomic(&path, format!("{:#}\n", json!(found)).as_bytes())?;
        Ok(found)
    }
}

/// Of words that occur so often each: the share that occurs at all, and the number of evenly used
/// words that would be as hard to guess.
fn usage(counts: &[u64]) -> (f64, f64) {
    let total = counts.iter().sum::<u64>().max(1) as f64;
    let used =
        counts.iter().filter(|&&count| count > 0).count() as f64 / counts.len().max(1) as f64;
    let entropy: f64 = counts
        .iter()
        .filter(|&&count| count > 0)
        .map(|&count| -(count as f64 / total) * (count as f64 / total).ln())
        .sum();
    (used, entropy.exp())
}

/// Counts of words in a tensor of them.
fn count_words(words: &Tensor, counts: &mut [u64]) -> Result<()> {
    for word in Vec::<i64>::try_from(words.f_to_device(Device::Cpu)?.f_flatten(0, -1)?)? {
        counts[word as usize] += 1;
    }
    Ok(())
}

/// Encoder and decoder of a stage's sizes, and their variables.
pub(crate) fn networks(
    config: &CodebookConfig,
    stage: &CodebookStage,
    fill: Fill,
) -> (VarStore, ImageCodebook, Decoder) {
    let store = VarStore::new(Device::Cpu);
    let root = Vars::root(&store, fill);
    let encoder = ImageCodebook::new(&(&root / "image_codebook"), config);
    let hidden = if stage.decoder_hidden > 0 {
        stage.decoder_hidden
    } else {
        config.hidden_size
    };
    let decoder = Decoder::new(&(&root / "decoder"), config, hidden);
    (store, encoder, decoder)
}

/// Floating-point operations of a training step for a patch of a picture, by the networks in
/// `store`: products only, the backward pass at twice the forward one.
pub(crate) fn flops_of_patch(store: &VarStore) -> f64 {
    let positions = |name: &str| {
        let encodes = name.starts_with(CODEBOOK);
        // How often the grid of patches is doubled where a convolution's outputs lie.
        let doubled = match (1..=4).find(|group| name.contains(&format!("group_{group}."))) {
            Some(group) if encodes => 4 - group,
            Some(group) => group - 1,
            None if name.contains("blocks.input.") == encodes => 3,
            None => 0,
        };
        f64::from(4_i32.pow(doubled))
    };
    let weights = store
        .variables()
        .into_iter()
        .filter(|(_, variable)| variable.dim() == 4);
    3.0 * weights
        .map(|(name, weight)| 2.0 * weight.numel() as f64 * positions(&name))
        .sum::<f64>()
}

/// From the codebook's pixels, 0.1 to 0.9, back to 0 to 1.
fn unmapped(pixels: &Tensor) -> Result<Tensor> {
    Ok(pixels
        .f_sub_scalar(0.1)?
        .f_div_scalar(0.8)?
        .f_clamp(0.0, 1.0)?)
}

/// Rows of pictures \[count, 3, height, width\], one under the other.
fn sheet(rows: &[Tensor]) -> Result<RgbImage> {
    let Some(first) = rows.first() else {
        return Ok(RgbImage::new(1, 1));
    };
    let (count, _, height, width) = first.size4()?;
    let mut sheet = RgbImage::new(
        (count * (width + 2)) as u32,
        (rows.len() as i64 * (height + 2)) as u32,
    );
    for (y, row) in rows.iter().enumerate() {
        let bytes = row
            .f_permute([0, 2, 3, 1])?
            .f_mul_scalar(255.0)?
            .f_round()?
            .f_to_kind(Kind::Uint8)?
            .f_to_device(Device::Cpu)?
            .f_contiguous()?;
        for x in 0..count {
            let flat: Vec<u8> = bytes.f_get(x)?.f_flatten(0, -1)?.try_into()?;
            if let Some(picture) = RgbImage::from_raw(width as u32, height as u32, flat) {
                imageops::replace(
                    &mut sheet,
                    &picture,
                    x * (width + 2),
                    y as i64 * (height + 2),
                );
            }
        }
    }
    Ok(sheet)
}

/// Less the logarithm of the logit-Laplace density of pixels, a mean over all numbers (DALL-E,
/// appendix A.3).
fn logit_laplace(pixels: &Tensor, mean: &Tensor, log_width: &Tensor) -> Result<Tensor> {
    let logit = pixels.f_logit(None::<f64>)?;
    let distance = logit.f_sub(mean)?.f_abs()?.f_div(&log_width.f_exp()?)?;
    let norm = pixels
        .f_mul(&pixels.f_rsub_scalar(1)?)?
        .f_mul_scalar(2.0)?
        .f_log()?;
    Ok(distance
        .f_add(log_width)?
        .f_add(&norm)?
        .f_mean(Kind::Float)?)
}

impl Learner for CodebookTraining {
    type Batch = Drawn<Pixels>;
    type Error = Error;

    fn batches(&self, steps: Range<usize>) -> Batches<Drawn<Pixels>, Error> {
        let data = Arc::clone(&self.data);
        Box::new(ahead(
            steps,
            data.draws.batch_size,
            self.threads,
            move |step, piece| {
                data.draws
                    .piece(step as u64, piece, |row, draw| data.pixels(row, Some(draw)))
            },
        ))
    }

    fn backward(&mut self, batch: &Drawn<Pixels>, step: &Step) -> Result<StepMetrics> {
        self.step = step.number;
        tch::manual_seed(step.seed);
        let pixels = image_batch(&batch.rows, self.store.device(), Kind::Float)?.pixel_values;
        let logits = self.encoder.forward(&pixels)?; // [batch, words, height, width]
        let noise = logits
            .f_empty_like()?
            .f_exponential_(1.0)?
            .f_log()?
            .f_neg()?;
        let words = logits
            .f_add(&noise)?
            .f_div_scalar(self.temperature())?
            .f_softmax(1, Kind::Float)?;
        let (mean, log_width) = self.decoder.forward(&words)?;
        let likelihood = logit_laplace(&pixels, &mean, &log_width)?;
        let log_q = logits.f_log_softmax(1, Kind::Float)?;
        let divergence = log_q
            .f_exp()?
            .f_mul(&log_q)?
            .f_sum_dim_intlist(1, false, Kind::Float)?
            .f_mean(Kind::Float)?;
        let divergence = divergence.f_add_scalar((self.config.vocab_size as f64).ln())?;
        let weighted = divergence.f_mul_scalar(self.kl_weight() / NUMBERS_OF_A_PATCH)?;
        // How far the words of a batch are from being used alike.
        let used = log_q
            .f_exp()?
            .f_mean_dim([0i64, 2, 3].as_slice(), false, Kind::Float)?;
        let uneven = used
            .f_mul(&used.f_clamp_min(1e-12)?.f_log()?)?
            .f_sum(Kind::Float)?
            .f_add_scalar((self.config.vocab_size as f64).ln())?;
        let uneven = uneven.f_mul_scalar(self.stage.usage_weight)?;
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

    fn ids(&self, batch: &Drawn<Pixels>) -> Vec<String> {
        batch.ids.clone()
    }

    fn extra_metrics(&self) -> Vec<(&'static str, f64)> {
        vec![
            ("temperature", self.temperature()),
            ("kl_weight", self.kl_weight()),
        ]
    }

    fn flops(&self, batch: &Drawn<Pixels>) -> f64 {
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

/// Writes the folder that transformers' `FlavaImageCodebook` loads, of the variables under
/// `image_codebook`.
pub(crate) fn write_codebook(
    folder: &Path,
    config: &CodebookConfig,
    variables: impl IntoIterator<Item = (String, Tensor)>,
) -> Result<()> {
    let mut json = json!(config);
    json["architectures"] = json!(["FlavaImageCodebook"]);
    json["torch_dtype"] = "float32".into();
    let path = folder.join("config.json");
    flava_base::write_atomic(&path, format!("{json:#}\n").as_bytes())?;
    let named = variables
        .into_iter()
        .filter_map(|(name, tensor)| Some((name.strip_prefix(CODEBOOK)?.to_owned(), tensor)));
    Ok(write_tensors(
        &folder.join("model.safetensors"),
        named.collect(),
    )?)
}

/// The tensors of a codebook of its own, or of that of a whole model, by their names in the latter.
pub(crate) fn read_codebook(folder: &Path) -> Result<Vec<(String, Tensor)>> {
    let checkpoint = Checkpoint::open(folder)?;
    let of_codebook = |name: &String| {
        if name.starts_with(CODEBOOK) {
            Some(name.clone())
        } else {
            name.starts_with("blocks.")
                .then(|| format!("{CODEBOOK}{name}"))
        }
    };
    let named = checkpoint
        .tensors()
        .iter()
        .filter_map(|(name, tensor)| Some((of_codebook(name)?, tensor)));
    let all = named
        .map(|(name, tensor)| Ok((name, tensor.to_tensor()?.f_to_kind(Kind::Float)?)))
        .collect::<Result<Vec<_>>>()?;
    if all.is_empty() {
        return Err(flava_model::Error::file(
            folder,
            "holds no image codebook (blocks.* or image_codebook.blocks.*)",
        )
        .into());
    }
    Ok(all)
}
