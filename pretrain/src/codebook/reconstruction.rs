//! How well images come back from their words.

use std::path::Path;

use flava_model::processor::{Pixels, image_batch};
use image::{RgbImage, imageops};
use serde_json::json;
use tch::{Device, Kind, Tensor};

use super::training::CodebookTraining;
use crate::{Error, Result};

/// Images that reconstruction is measured on.
const MEASURED: usize = 256;
/// Of these, those in the image of reconstructions.
const SHOWN: usize = 16;

/// How well images come back from their words.
#[derive(Clone, Copy, Debug, serde::Serialize, serde::Deserialize)]
pub struct Reconstruction {
    /// Mean squared difference of pixels from 0 to 1.
    pub squared_error: f64,
    /// The same for the mean colour of each image, to compare with.
    pub squared_error_of_mean: f64,
    /// Share of the words that occur.
    pub usage: f64,
    /// Number of evenly used words that would be as hard to guess.
    pub perplexity: f64,
}

/// Images \[count, 3, height, width\], as they are and as they come back, from 0 to 1.
struct Compared {
    original: Tensor,
    back: Tensor,
}

impl Compared {
    /// The mean squared difference of the originals from something.
    fn squared(&self, other: &Tensor) -> Result<f64> {
        Ok(self
            .original
            .f_sub(other)?
            .f_square()?
            .f_mean(Kind::Double)?
            .double_value(&[]))
    }
}

/// What was measured so far.
struct Tally {
    /// How often each word occurs.
    counts: Vec<u64>,
    /// Sums over images.
    error: f64,
    error_of_mean: f64,
    images: usize,
}

impl Tally {
    fn new(words: usize) -> Self {
        Self {
            counts: vec![0; words],
            error: 0.0,
            error_of_mean: 0.0,
            images: 0,
        }
    }

    fn add(&mut self, compared: &Compared, images: usize) -> Result<()> {
        let sides = [2i64, 3];
        let average = compared
            .original
            .f_mean_dim(sides.as_slice(), true, Kind::Float)?;
        self.error += compared.squared(&compared.back)? * images as f64;
        self.error_of_mean += compared.squared(&average)? * images as f64;
        self.images += images;
        Ok(())
    }

    fn reconstruction(&self) -> Reconstruction {
        let (usage, perplexity) = usage(&self.counts);
        let count = self.images.max(1) as f64;
        Reconstruction {
            squared_error: self.error / count,
            squared_error_of_mean: self.error_of_mean / count,
            usage,
            perplexity,
        }
    }
}

impl CodebookTraining {
    /// How well the first images of the corpus come back, and an image of some of them:
    /// originals over reconstructions.
    pub fn measure(&self) -> Result<(Reconstruction, RgbImage)> {
        let _guard = tch::no_grad_guard();
        let rows = MEASURED.min(self.source.samples.dataset.len());
        let mut tally = Tally::new(self.config.vocab_size as usize);
        let mut shown = Vec::new();
        for start in (0..rows).step_by(SHOWN) {
            let pixels: Vec<Pixels> = (start..(start + SHOWN).min(rows))
                .filter_map(|row| self.source.pixels(row, None).ok())
                .collect();
            if pixels.is_empty() {
                continue;
            }
            let compared = self.compared(&pixels, &mut tally.counts)?;
            tally.add(&compared, pixels.len())?;
            if shown.is_empty() {
                shown = vec![compared.original, compared.back];
            }
        }
        Ok((tally.reconstruction(), sheet(&shown)?))
    }

    /// Images through encoder and decoder; their words are counted.
    fn compared(&self, pixels: &[Pixels], counts: &mut [u64]) -> Result<Compared> {
        let target = image_batch(pixels, self.store.device(), Kind::Float)?.pixel_values;
        let words = self.encoder.indices(&target)?;
        count_words(&words, counts)?;
        let hot = words
            .f_one_hot(self.config.vocab_size)?
            .f_permute([0, 3, 1, 2])?
            .f_to_kind(Kind::Float)?;
        let (mean, _) = self.decoder.forward(&hot)?;
        Ok(Compared {
            original: unmapped(&target)?,
            back: unmapped(&mean.f_sigmoid()?)?,
        })
    }

    /// Writes `reconstructions.png` and `reconstruction.json` into a folder.
    pub fn report(&self, folder: &Path) -> Result<Reconstruction> {
        let (found, image) = self.measure()?;
        let path = folder.join("reconstructions.png");
        image
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

/// From the codebook's pixels, 0.1 to 0.9, back to 0 to 1.
fn unmapped(pixels: &Tensor) -> Result<Tensor> {
    Ok(pixels
        .f_sub_scalar(0.1)?
        .f_div_scalar(0.8)?
        .f_clamp(0.0, 1.0)?)
}

/// Images \[count, 3, height, width\] from 0 to 1 as bytes \[count, height, width, 3\].
fn bytes(images: &Tensor) -> Result<Tensor> {
    Ok(images
        .f_permute([0, 2, 3, 1])?
        .f_mul_scalar(255.0)?
        .f_round()?
        .f_to_kind(Kind::Uint8)?
        .f_to_device(Device::Cpu)?
        .f_contiguous()?)
}

/// Rows of images \[count, 3, height, width\], one under the other.
fn sheet(rows: &[Tensor]) -> Result<RgbImage> {
    let Some(first) = rows.first() else {
        return Ok(RgbImage::new(1, 1));
    };
    let (count, _, height, width) = first.size4()?;
    let (step_x, step_y) = (width + 2, height + 2);
    let mut sheet = RgbImage::new((count * step_x) as u32, (rows.len() as i64 * step_y) as u32);
    for (y, row) in rows.iter().enumerate() {
        let bytes = bytes(row)?;
        for x in 0..count {
            let flat: Vec<u8> = bytes.f_get(x)?.f_flatten(0, -1)?.try_into()?;
            if let Some(image) = RgbImage::from_raw(width as u32, height as u32, flat) {
                imageops::replace(&mut sheet, &image, x * step_x, y as i64 * step_y);
            }
        }
    }
    Ok(sheet)
}
