//! States on disk: `last/` is what training goes on from, `best/` what was chosen, `step-N/` what
//! is kept. Each is replaced whole, and a damaged one is refused.

use std::{
    fs,
    path::{Path, PathBuf},
};

use flava_base::{
    MANIFEST, begin_folder, finish_folder, is_there, read_json, replace_file, replace_folder,
    restore_folder, verify_folder, write_atomic, write_with,
};
use flava_model::checkpoint::{each_tensor, index_shards, shard_name, write_tensors};
use tch::Tensor;

use crate::{Ema, Error, Learner, Result, TrainingState};

const STATE: &str = "training_state.json";
/// What names of files begin with.
const MOMENTS: &str = "optimiser";
const MODEL: &str = "model";
const AVERAGE: &str = "ema.safetensors";
/// Largest description of a state.
const MAX_STATE: u64 = 16 << 20;

/// Tensors by name.
type Named = Vec<(String, Tensor)>;

/// The state that a folder's training was left in, if any.
///
/// # Errors
/// If a file of it is not as it was written.
pub fn last_state(folder: &Path) -> Result<Option<(PathBuf, TrainingState)>> {
    let last = folder.join("last");
    restore_folder(&last);
    restore_folder(&folder.join("best"));
    let path = last.join(STATE);
    if !path.exists() {
        return Ok(None);
    }
    let damaged = |e: flava_base::Error| Error::DamagedState {
        reason: e.to_string(),
        folder: last.display().to_string(),
    };
    verify_folder(&last).map_err(damaged)?;
    let state = read_json(&path, MAX_STATE).map_err(damaged)?;
    Ok(Some((last, state)))
}

/// The folders of a training.
#[derive(Debug)]
pub(crate) struct Checkpoints<'a> {
    pub(crate) folder: &'a Path,
    /// Numbered states that are kept; 0 for none.
    pub(crate) keep: usize,
}

impl Checkpoints<'_> {
    pub(crate) fn last(&self) -> PathBuf {
        self.folder.join("last")
    }

    pub(crate) fn best(&self) -> PathBuf {
        self.folder.join("best")
    }

    /// Writes a changed state into the last folder.
    pub(crate) fn rewrite_state(&self, state: &TrainingState) -> Result<()> {
        Ok(replace_file(
            &self.last(),
            STATE,
            text_of(state)?.as_bytes(),
        )?)
    }

    /// Takes up what is in the last folder; what of the optimiser's state is this process's, where a
    /// step was made.
    pub(crate) fn load<L: Learner>(
        &self,
        learner: &mut L,
        ema: Option<&mut Ema>,
        state: &TrainingState,
        own: &dyn Fn(&str, Tensor) -> Result<Option<Tensor>>,
    ) -> std::result::Result<Option<Named>, L::Error> {
        let last = self.last();
        learner.load(&last)?;
        let files = files_of_moments(&last)?;
        let moments = if !files.is_empty() {
            let mut moments = Vec::new();
            for file in files {
                each_tensor(&file, |name, tensor| -> Result<()> {
                    let own = own(&name, tensor)?;
                    moments.extend(own.map(|own| (name, own)));
                    Ok(())
                })?;
            }
            Some(moments)
        } else if state.step > state.scaler.skipped as usize {
            return Err(self.lacks(&file_of_moments(0, 1)).into());
        } else {
            None
        };
        if let Some(ema) = ema {
            let average = last.join(AVERAGE);
            if !is_there(&average) {
                return Err(self.lacks(AVERAGE).into());
            }
            ema.read(&average)?;
        }
        Ok(moments)
    }

    fn lacks(&self, file: &str) -> Error {
        Error::DamagedState {
            reason: format!("{}: there is no {file}", self.last().display()),
            folder: self.last().display().to_string(),
        }
    }

    /// Keeps the last state under its number, and as many as are asked for.
    pub(crate) fn keep_last(&self, step: usize) -> Result<()> {
        if self.keep == 0 {
            return Ok(());
        }
        let kept = self.folder.join(format!("step-{step}"));
        if !kept.exists() {
            copy_folder(&self.last(), &kept)?;
        }
        let entries = fs::read_dir(self.folder).map_err(|e| Error::io(self.folder, e))?;
        let mut numbers: Vec<usize> = entries
            .flatten()
            .filter_map(|e| e.file_name().to_str()?.strip_prefix("step-")?.parse().ok())
            .collect();
        numbers.sort_unstable();
        for number in &numbers[..numbers.len().saturating_sub(self.keep)] {
            let old = self.folder.join(format!("step-{number}"));
            fs::remove_dir_all(&old).map_err(|e| Error::io(&old, e))?;
        }
        Ok(())
    }
}

/// What one of those that save writes of what all processes have parts of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shares {
    pub(crate) saver: usize,
    pub(crate) savers: usize,
    /// Whether the weights of blocks are in files of their own.
    pub(crate) has_blocks: bool,
}

impl Shares {
    /// Writes this process's files; their names.
    pub(crate) fn write(self, part: &Path, blocks: Named, moments: Named) -> Result<Vec<String>> {
        let mut written = Vec::new();
        let names = [
            shard_name(MODEL, self.saver + 1, self.savers + 1),
            file_of_moments(self.saver, self.savers),
        ];
        for (name, tensors) in names.into_iter().zip([blocks, moments]) {
            if !tensors.is_empty() {
                write_tensors(&part.join(&name), tensors)?;
                written.push(name);
            }
        }
        Ok(written)
    }

    /// Puts together what all have written, as they name it.
    ///
    /// # Errors
    /// If a file is not there.
    pub(crate) fn join(self, part: &Path, written: &[String]) -> Result<()> {
        for name in written {
            if !is_there(&part.join(name)) {
                let reason = "was written by another process, and is not seen by process 0";
                return Err(flava_base::Error::file(part.join(name), reason).into());
            }
        }
        if !self.has_blocks {
            return Ok(());
        }
        let of_model = written.iter().filter(|name| name.starts_with(MODEL));
        let others: Vec<&str> = of_model.map(String::as_str).collect();
        Ok(index_shards(part, &others, self.savers + 1)?)
    }
}

/// The file of one of so many processes' part of the optimiser's state.
fn file_of_moments(saver: usize, savers: usize) -> String {
    if savers == 1 {
        return format!("{MOMENTS}.safetensors");
    }
    shard_name(MOMENTS, saver, savers)
}

/// The files of the optimiser's state.
fn files_of_moments(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).map_err(|e| Error::io(folder, e))?;
    let is_of = |name: &str| name.starts_with(MOMENTS) && name.ends_with(".safetensors");
    let paths = entries.flatten().map(|entry| entry.path());
    let mut files: Vec<PathBuf> = paths
        .filter(|path| {
            path.file_name()
                .and_then(|name| name.to_str())
                .is_some_and(is_of)
        })
        .collect();
    files.sort();
    Ok(files)
}

/// Begins to replace a folder.
pub(crate) fn begun<E: From<Error>>(folder: &Path) -> std::result::Result<(), E> {
    begin_folder(folder)
        .map(drop)
        .map_err(|e| Error::from(e).into())
}

/// Fills what others have begun to fill, and puts it in the place of a folder.
pub(crate) fn finish<E: From<Error>>(
    folder: &Path,
    write: impl FnOnce(&Path) -> std::result::Result<(), E>,
) -> std::result::Result<(), E> {
    let write = |part: &Path| write(part).map_err(WriteError::Learner);
    finish_folder(folder, write).map_err(WriteError::into_inner)
}

/// Writes what training goes on from beside the model and the moments.
pub(crate) fn write_state(part: &Path, ema: Option<&Ema>, state: &TrainingState) -> Result<()> {
    if let Some(ema) = ema {
        ema.write(&part.join(AVERAGE))?;
    }
    Ok(write_atomic(&part.join(STATE), text_of(state)?.as_bytes())?)
}

/// Writes the model alone, as it is now, in place of what is in a folder.
pub(crate) fn save_model<L: Learner>(
    folder: &Path,
    learner: &L,
    state: &TrainingState,
) -> std::result::Result<(), L::Error> {
    begun::<L::Error>(folder)?;
    finish(folder, |part| learner.save(part, state))
}

fn text_of(state: &TrainingState) -> Result<String> {
    let text = serde_json::to_string_pretty(state)
        .map_err(|e| flava_base::Error::file(STATE, e.to_string()))?;
    Ok(format!("{text}\n"))
}

/// Copies the files of a folder into another one, whole or not at all.
fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    replace_folder(to, |part| {
        for entry in fs::read_dir(from).map_err(|e| Error::io(from, e))? {
            let entry = entry.map_err(|e| Error::io(from, e))?;
            if entry.file_name() != MANIFEST {
                write_with(&part.join(entry.file_name()), |copy| {
                    fs::copy(entry.path(), copy).map(drop)
                })?;
            }
        }
        Ok(())
    })
}

/// An error on the way to a folder: the folder's, or the learner's.
enum WriteError<E> {
    Learner(E),
    Training(Error),
}

impl<E> From<flava_base::Error> for WriteError<E> {
    fn from(error: flava_base::Error) -> Self {
        Self::Training(error.into())
    }
}

impl<E: From<Error>> WriteError<E> {
    fn into_inner(self) -> E {
        match self {
            Self::Learner(error) => error,
            Self::Training(error) => error.into(),
        }
    }
}
