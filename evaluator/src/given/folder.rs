//! A folder of given features: who computed them, and where those of a task lie.

use std::path::{Path, PathBuf};

use flava_base::MAX_SETTINGS;
use serde::Deserialize;

use crate::{Error, Result};

/// What says who computed the features.
pub(super) const SOURCE: &str = "source.json";

/// Who computed the features, and how: `source.json`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GivenSource {
    /// What records call the model.
    pub name: String,
    /// Its revision; empty where there is none.
    #[serde(default)]
    pub revision: String,
    /// How images became pixels; empty where there are none.
    pub transform: String,
    /// What a reader of the numbers should know.
    #[serde(default)]
    pub note: String,
    /// Parameters of what was run; 0 where nobody knows.
    #[serde(default)]
    pub parameters: u64,
    /// Floating-point operations of a forward pass over one row; 0 where nobody knows.
    #[serde(default)]
    pub flops_per_row: f64,
}

/// A folder of given features.
#[derive(Clone, Debug, PartialEq)]
pub struct GivenFolder {
    root: PathBuf,
    source: GivenSource,
}

impl GivenFolder {
    /// Opens a folder.
    ///
    /// # Errors
    /// If there is no such folder, or its `source.json` is not whole.
    pub fn open(root: &Path) -> Result<Self> {
        if !root.is_dir() {
            return Err(Error::Argument {
                argument: "--features-from",
                value: root.display().to_string(),
                reason: "there is no such folder".into(),
            });
        }
        let path = root.join(SOURCE);
        let source: GivenSource = flava_base::read_json(&path, MAX_SETTINGS)?;
        if source.name.trim().is_empty() {
            return Err(flava_base::Error::file(path, "the name is empty").into());
        }
        if !source.flops_per_row.is_finite() || source.flops_per_row < 0.0 {
            let reason = "flops_per_row is no number of operations";
            return Err(flava_base::Error::file(path, reason).into());
        }
        Ok(Self {
            root: root.to_owned(),
            source,
        })
    }

    /// Who computed the features.
    pub fn source(&self) -> &GivenSource {
        &self.source
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// The file that says who computed the features.
    pub(super) fn source_file(&self) -> PathBuf {
        self.root.join(SOURCE)
    }

    /// The folder of a task.
    ///
    /// # Errors
    /// If there is none.
    pub(super) fn of_task(&self, task: &str) -> Result<PathBuf> {
        let folder = self.root.join(task);
        if folder.is_dir() {
            return Ok(folder);
        }
        let root = self.root.display();
        Err(Error::Lacking {
            what: "features",
            reason: format!("{root} has no folder {task}: there are no features of this task"),
        })
    }
}
