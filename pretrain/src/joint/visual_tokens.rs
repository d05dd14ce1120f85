//! The codebook's word for each patch of each image of a corpus, computed once and kept: where
//! images are not cropped at random, a training step then pays nothing for its labels.

use std::{ops::Range, path::Path, sync::Arc};

use flava_base::{read_sealed, seal, write_atomic};
use flava_model::{
    ImageCodebook,
    processor::{ImageTransform, Pixels, image_batch},
    runtime::{Loader, LoaderOptions, Progress, distributed::Group},
};
use flava_tasks::Dataset;
use tch::{Device, Kind};

use crate::{Error, Result, interrupted, sampling::image};

/// What turning images into visual tokens is called among kinds of work.
pub(crate) const VISUAL_TOKENS: &str = "visual tokens";
/// Images that go through the codebook at once.
const BATCH: usize = 32;
/// What is kept, and its version.
const FORM: &str = "visual words, version 1";
/// Stands in place of each word of an image that is broken.
const NONE: u16 = u16::MAX;

/// Words of a corpus, row by row.
#[derive(Debug)]
pub struct VisualTokens {
    patches: usize,
    words: Vec<u16>,
}

/// What names the patches of images.
#[derive(Clone, Copy)]
pub struct ImageTokenizer<'a> {
    /// Whose words they are.
    pub codebook: &'a ImageCodebook,
    /// Patches of an image.
    pub patches: usize,
    /// How images are prepared for it.
    pub transform: &'a ImageTransform,
    /// Threads that prepare them.
    pub threads: usize,
    /// Where the codebook is.
    pub device: Device,
}

impl ImageTokenizer<'_> {
    /// Images of some batches of a corpus, prepared ahead; None for one that is broken.
    fn images(
        &self,
        dataset: &Arc<dyn Dataset>,
        batches: Range<usize>,
    ) -> impl Iterator<Item = Result<Vec<Option<Pixels>>>> + use<> {
        let (source, transform) = (Arc::clone(dataset), self.transform.clone());
        let options = LoaderOptions {
            threads: self.threads,
            prefetch: 2 * self.threads,
        };
        Loader::new(batches.len(), options, move |number| {
            let batch = batches.start + number;
            (batch * BATCH..((batch + 1) * BATCH).min(source.len()))
                .map(|row| prepared(&*source, row, &transform))
                .collect::<Result<Vec<_>>>()
        })
    }

    /// The words of each patch of some images, one image after the other.
    fn words(&self, images: &[&Pixels]) -> Result<Vec<i64>> {
        if images.is_empty() {
            return Ok(Vec::new());
        }
        let pixels = image_batch(images.iter().copied(), self.device, Kind::Float)?.pixel_values;
        let words = self.codebook.indices(&pixels)?.f_flatten(1, -1)?;
        let (_, found) = words.size2()?;
        if found != self.patches as i64 {
            let patches = self.patches;
            return Err(Error::Input(format!(
                "the codebook names {found} patches of an image that has {patches}"
            )));
        }
        Ok(words
            .f_to_device(Device::Cpu)?
            .f_flatten(0, -1)?
            .try_into()?)
    }
}

/// A row's image as the codebook reads it; None if it is broken.
fn prepared(
    dataset: &dyn Dataset,
    row: usize,
    transform: &ImageTransform,
) -> Result<Option<Pixels>> {
    match dataset.get(row) {
        Ok(example) => Ok(image(example.image.as_deref())
            .ok()
            .map(|image| transform.apply(&image))),
        // What the system refuses now it may give later: no word says so for ever.
        Err(error @ flava_tasks::Error::File(flava_base::Error::Io { .. })) => {
            Err(Error::from(error))
        }
        Err(_) => Ok(None),
    }
}

/// A word as it is kept.
fn stored(word: i64) -> Result<u16> {
    u16::try_from(word)
        .ok()
        .filter(|word| *word != NONE)
        .ok_or_else(|| Error::Input(format!("a codebook of more than {NONE} words")))
}

impl VisualTokens {
    /// The words of a row's patches, row by row of the grid; none of an image that was broken.
    pub fn of(&self, row: usize) -> Option<Vec<i64>> {
        let words = &self.words[row * self.patches..(row + 1) * self.patches];
        (words.first() != Some(&NONE)).then(|| words.iter().map(|&word| word.into()).collect())
    }

    /// From `file` if it is there and whole, else computed, by each process a part of it, and
    /// written there.
    pub fn open(
        file: &Path,
        dataset: &Arc<dyn Dataset>,
        tokenizer: &ImageTokenizer,
        progress: &Progress,
        group: &Group,
    ) -> Result<Self> {
        let (rows, patches) = (dataset.len(), tokenizer.patches);
        let known = read_sealed::<Vec<u16>>(FORM, file);
        let known = known.filter(|words| words.len() == rows * patches);
        let is_known = group.exchange(&[f64::from(known.is_some())])?;
        if let Some(words) = known
            && is_known.iter().all(|known| known[0] > 0.0)
        {
            return Ok(Self { patches, words });
        }
        let own = Self::computed(dataset, tokenizer, progress, group)?;
        let bytes: Vec<u8> = own.words.iter().flat_map(|w| w.to_le_bytes()).collect();
        let all = group.gather_bytes(&bytes)?.concat();
        let words = all.chunks_exact(size_of::<u16>());
        let words = words.map(|bytes| u16::from_le_bytes([bytes[0], bytes[1]]));
        let all = Self {
            patches,
            words: words.collect(),
        };
        if group.leads() {
            all.write(file)?;
        }
        Ok(all)
    }

    /// The words of this process's part of the images.
    fn computed(
        dataset: &Arc<dyn Dataset>,
        tokenizer: &ImageTokenizer,
        progress: &Progress,
        group: &Group,
    ) -> Result<Self> {
        let own = group.share(dataset.len().div_ceil(BATCH));
        let mut all = Self {
            patches: tokenizer.patches,
            words: Vec::with_capacity(own.len() * BATCH * tokenizer.patches),
        };
        let bar = progress.task(VISUAL_TOKENS, VISUAL_TOKENS, own.len() * BATCH);
        for batch in tokenizer.images(dataset, own) {
            interrupted()?;
            let batch = batch?;
            all.add(&batch, tokenizer)?;
            bar.did(batch.len());
        }
        Ok(all)
    }

    /// Adds the words of a batch of images.
    fn add(&mut self, batch: &[Option<Pixels>], tokenizer: &ImageTokenizer) -> Result<()> {
        let whole: Vec<&Pixels> = batch.iter().flatten().collect();
        let words = tokenizer.words(&whole)?;
        let mut words = words.chunks_exact(self.patches);
        for image in batch {
            if let Some(words) = image.as_ref().and_then(|_| words.next()) {
                for &word in words {
                    self.words.push(stored(word)?);
                }
            } else {
                let missing = std::iter::repeat_n(NONE, self.patches);
                self.words.extend(missing);
            }
        }
        Ok(())
    }

    fn write(&self, file: &Path) -> Result<()> {
        let bytes = seal(FORM, &self.words)
            .ok_or_else(|| Error::Input(format!("{}: cannot be sealed", file.display())))?;
        Ok(write_atomic(file, &bytes)?)
    }
}
