//! The codebook's word for each patch of each picture of a corpus, computed once and kept: where
//! pictures are not cropped at random, a training step then pays nothing for its labels.

use std::{path::Path, sync::Arc};

use flava_base::{read_sealed, seal, write_atomic};
use flava_model::{
    ImageCodebook,
    processor::{ImageTransform, image_batch},
    runtime::{Loader, LoaderOptions, Progress},
};
use flava_tasks::Dataset;
use tch::{Device, Kind};

use crate::{Error, Result, draws::picture, interrupted};

/// Pictures that go through the codebook at once.
const BATCH: usize = 32;
/// What is kept, and its version.
const FORM: &str = "visual words, version 1";
/// Stands in place of each word of a picture that is broken.
const NONE: u16 = u16::MAX;

/// Words of a corpus, row by row.
#[derive(Debug)]
pub struct VisualWords {
    patches: usize,
    words: Vec<u16>,
}

impl VisualWords {
    /// The words of a row's patches, row by row of the grid; none of a picture that was broken.
    pub fn of(&self, row: usize) -> Option<Vec<i64>> {
        let words = &self.words[row * self.patches..(row + 1) * self.patches];
        (words.first() != Some(&NONE)).then(|| words.iter().map(|&word| word.into()).collect())
    }

    /// From `file` if it is there and whole, else computed and written there.
    pub fn open(
        file: &Path,
        dataset: &Arc<dyn Dataset>,
        (codebook, patches): (&ImageCodebook, usize),
        (transform, threads, device): (&ImageTransform, usize, Device),
        progress: &Progress,
    ) -> Result<Self> {
        let rows = dataset.len();
        if let Some(words) =
            read_sealed::<Vec<u16>>(FORM, file).filter(|words| words.len() == rows * patches)
        {
            return Ok(Self { patches, words });
        }
        let mut all = Self {
            patches,
            words: Vec::with_capacity(rows * patches),
        };
        let bar = progress.task("visual words", rows);
        let (source, how) = (Arc::clone(dataset), transform.clone());
        let options = LoaderOptions {
            threads,
            ahead: 2 * threads,
        };
        let batches = Loader::new(rows.div_ceil(BATCH), options, move |batch| {
            (batch * BATCH..((batch + 1) * BATCH).min(source.len()))
                .map(|row| match source.get(row) {
                    Ok(example) => Ok(picture(example.image.as_deref())
                        .ok()
                        .map(|picture| how.apply(&picture))),
                    // What the system refuses now it may give later: no word says so for ever.
                    Err(error @ flava_tasks::Error::File(flava_base::Error::Io { .. })) => {
                        Err(Error::from(error))
                    }
                    Err(_) => Ok(None),
                })
                .collect::<Result<Vec<_>>>()
        });
        for batch in batches {
            interrupted()?;
            let batch = batch?;
            let whole: Vec<_> = batch.iter().flatten().collect();
            let mut words = Vec::new();
            if !whole.is_empty() {
                let indices = codebook
                    .indices(&image_batch(whole, device, Kind::Float)?.pixel_values)?
                    .f_flatten(1, -1)?;
                if indices.size2()?.1 != patches as i64 {
                    let found = indices.size2()?.1;
                    return Err(Error::Input(format!(
                        "the codebook names {found} patches of a picture that has {patches}"
                    )));
                }
                words = Vec::<i64>::try_from(indices.f_to_device(Device::Cpu)?.f_flatten(0, -1)?)?;
            }
            let mut words = words.chunks_exact(patches);
            for picture in &batch {
                match picture.as_ref().and_then(|_| words.next()) {
                    Some(words) => {
                        for &word in words {
                            let word = u16::try_from(word).ok().filter(|word| *word != NONE);
                            all.words.push(word.ok_or_else(|| {
                                Error::Input(format!("a codebook of more than {NONE} words"))
                            })?);
                        }
                    }
                    None => all.words.extend(std::iter::repeat_n(NONE, patches)),
                }
            }
            bar.add(batch.len());
        }
        all.write(file)?;
        Ok(all)
    }

    fn write(&self, file: &Path) -> Result<()> {
        let bytes = seal(FORM, &self.words)
            .ok_or_else(|| Error::Input(format!("{}: cannot be sealed", file.display())))?;
        Ok(write_atomic(file, &bytes)?)
    }
}
