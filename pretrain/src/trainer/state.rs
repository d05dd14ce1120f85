//! States on disk: what training goes on from.

use std::{
    fs,
    path::{Path, PathBuf},
};

use flava_base::{
    MANIFEST, replace_file, replace_folder, restore_folder, verify_folder, write_atomic, write_with,
};
use flava_model::runtime::training::LossScaler;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

const STATE: &str = "training_state.json";
/// Largest description of a state.
const MAX_STATE: u64 = 16 << 20;

/// What training goes on from, beside weights and moments.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Updates that were made.
    pub step: usize,
    /// Digest of all that decides the training.
    pub key: String,
    /// Factor of f16 losses.
    pub scaler: LossScaler,
    /// The best evaluation, and its step.
    pub best: Option<(usize, f64)>,
    /// The task whose score that is.
    #[serde(default)]
    pub best_by: String,
    /// Step of the last evaluation.
    pub evaluated: usize,
    /// Rows that were read, and those of them that were broken.
    pub rows: (u64, u64),
}

impl State {
    /// Whether a training of this `key` has made all its steps, and where the best state is chosen
    /// by a task, also the last measurement.
    pub fn is_done(&self, key: &str, steps: usize, best_by: Option<&str>) -> bool {
        let measured =
            best_by.is_none_or(|task| self.evaluated == self.step && self.best_by == task);
        self.key == key && self.step >= steps && measured
    }

    /// Writes it into a folder that is being written.
    pub(super) fn write(&self, folder: &Path) -> Result<()> {
        Ok(write_atomic(&folder.join(STATE), self.text()?.as_bytes())?)
    }

    /// Writes it in place of the one that a whole folder has.
    pub(super) fn rewrite(&self, folder: &Path) -> Result<()> {
        Ok(replace_file(folder, STATE, self.text()?.as_bytes())?)
    }

    fn text(&self) -> Result<String> {
        let text =
            serde_json::to_string_pretty(self).map_err(|e| Error::Training(e.to_string()))?;
        Ok(format!("{text}\n"))
    }
}

/// The state that a folder's training was left in, if any.
pub fn last_state(folder: &Path) -> Result<Option<(PathBuf, State)>> {
    let last = folder.join("last");
    restore_folder(&last);
    restore_folder(&folder.join("best"));
    let path = last.join(STATE);
    if !path.exists() {
        return Ok(None);
    }
    let damaged = |e: &dyn std::fmt::Display| {
        Error::Training(format!(
            "{e}. Remove {} to begin its stage again",
            last.display()
        ))
    };
    verify_folder(&last).map_err(|e| damaged(&e))?;
    let state = flava_base::read_json(&path, MAX_STATE).map_err(|e| damaged(&e))?;
    Ok(Some((last, state)))
}

/// Copies the files of a folder into another one, whole or not at all.
pub(crate) fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    replace_folder(to, |part| {
        for entry in fs::read_dir(from).map_err(|e| flava_model::Error::io(from, e))? {
            let entry = entry.map_err(|e| flava_model::Error::io(from, e))?;
            if entry.file_name() != MANIFEST {
                write_with(&part.join(entry.file_name()), |copy| {
                    fs::copy(entry.path(), copy).map(drop)
                })
                .map_err(flava_model::Error::from)?;
            }
        }
        Ok(())
    })
}
