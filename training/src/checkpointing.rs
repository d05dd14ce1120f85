//! States on disk: `last/` is what training goes on from, `best/` what was chosen, `step-N/` what
//! is kept. Each is replaced whole, and a damaged one is refused.

use std::{
    fs,
    path::{Path, PathBuf},
};

use flava_base::{
    MANIFEST, is_there, read_json, replace_file, replace_folder, restore_folder, verify_folder,
    write_atomic, write_with,
};
use flava_model::checkpoint::{read_tensors, write_tensors};
use tch::Tensor;

use crate::{Ema, Error, Learner, Result, TrainingState};

const STATE: &str = "training_state.json";
const MOMENTS: &str = "optimiser.safetensors";
const AVERAGE: &str = "ema.safetensors";
/// Largest description of a state.
const MAX_STATE: u64 = 16 << 20;

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

    /// Writes all that training goes on from.
    pub(crate) fn save_last<L: Learner>(
        &self,
        learner: &L,
        moments: Vec<(String, Tensor)>,
        ema: Option<&Ema>,
        state: &TrainingState,
    ) -> std::result::Result<(), L::Error> {
        let write = |part: &Path| -> std::result::Result<(), WriteError<L::Error>> {
            learner.save(part, state).map_err(WriteError::Learner)?;
            if !moments.is_empty() {
                write_tensors(&part.join(MOMENTS), moments).map_err(Error::from)?;
            }
            if let Some(ema) = ema {
                ema.write(&part.join(AVERAGE))?;
            }
            write_atomic(&part.join(STATE), text_of(state)?.as_bytes())?;
            Ok(())
        };
        replace_folder(&self.last(), write).map_err(WriteError::into_inner)
    }

    /// Writes a changed state into the last folder.
    pub(crate) fn rewrite_state(&self, state: &TrainingState) -> Result<()> {
        Ok(replace_file(
            &self.last(),
            STATE,
            text_of(state)?.as_bytes(),
        )?)
    }

    /// Takes up what is in the last folder; the optimiser's state, where a step was made.
    pub(crate) fn load<L: Learner>(
        &self,
        learner: &mut L,
        ema: Option<&mut Ema>,
        state: &TrainingState,
    ) -> std::result::Result<Option<Vec<(String, Tensor)>>, L::Error> {
        let last = self.last();
        learner.load(&last)?;
        let moments = last.join(MOMENTS);
        let moments = if is_there(&moments) {
            Some(read_tensors(&moments).map_err(Error::from)?)
        } else if state.step > state.scaler.skipped as usize {
            return Err(self.lacks(MOMENTS).into());
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

/// Writes the model alone, as it is now, in place of what is in a folder.
pub(crate) fn save_model<L: Learner>(
    folder: &Path,
    learner: &L,
    state: &TrainingState,
) -> std::result::Result<(), L::Error> {
    let write = |part: &Path| learner.save(part, state).map_err(WriteError::Learner);
    replace_folder(folder, write).map_err(WriteError::into_inner)
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

impl<E> From<Error> for WriteError<E> {
    fn from(error: Error) -> Self {
        Self::Training(error)
    }
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
