//! Which folders hold runs.

use std::{
    fs,
    path::{Path, PathBuf},
};

use flava_base::is_there;

use super::{records::record_paths, status::STATUS};
use crate::{Error, Record, Result};

/// The run that a path is, a folder or a file; of a folder that is none, the runs in it, by name.
/// Where there are none, the path itself.
///
/// # Errors
/// If a folder cannot be read.
pub fn runs_in(path: &Path) -> Result<Vec<PathBuf>> {
    if !path.is_dir() || is_run(path)? {
        return Ok(vec![path.to_owned()]);
    }
    let mut inside = runs_below(path)?;
    inside.retain(|run| {
        let has_records = record_paths(run).is_ok_and(|paths| !paths.is_empty());
        if !has_records {
            flava_base::say(&format!("note: {} has no record yet", run.display()));
        }
        has_records
    });
    Ok(if inside.is_empty() {
        vec![path.to_owned()]
    } else {
        inside
    })
}

/// Whether a folder holds a run: how its tasks stand, or records.
pub(crate) fn is_run(folder: &Path) -> Result<bool> {
    if is_there(&folder.join(STATUS)) && is_there(&folder.join("plan.json")) {
        return Ok(true);
    }
    let mut paths = record_paths(folder)?.into_iter();
    Ok(paths.any(|path| matches!(Record::read(&path), Ok(Some(_)))))
}

/// The folders in a folder that hold runs, by name.
pub(crate) fn runs_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut runs = Vec::new();
    for entry in fs::read_dir(folder).map_err(|e| Error::io(folder, e))? {
        let path = entry.map_err(|e| Error::io(folder, e))?.path();
        // What cannot be looked into is nobody's run here.
        if path.is_dir() && is_run(&path).unwrap_or(false) {
            runs.push(path);
        }
    }
    runs.sort();
    Ok(runs)
}
