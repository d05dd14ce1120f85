//! Where archives unpack to, and what they call their splits.

use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// Whether a split is the one for training, of archives that have two.
///
/// # Errors
/// If it is neither.
pub(super) fn trains(root: &Path, split: &str) -> Result<bool> {
    match split {
        "train" => Ok(true),
        "test" => Ok(false),
        other => Err(Error::data(
            root,
            format!("has no split {other:?}, only train and test"),
        )),
    }
}

/// The folder that has `marker`: `root` or one of those that archives unpack to below it.
pub(super) fn inner(root: &Path, below: &[&str], marker: &str) -> PathBuf {
    let found = below
        .iter()
        .map(|folder| root.join(folder))
        .find(|folder| folder.join(marker).exists());
    if root.join(marker).exists() {
        root.to_owned()
    } else {
        found.unwrap_or_else(|| root.to_owned())
    }
}
