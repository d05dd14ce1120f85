//! The records in a folder of results.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{Error, Record, Result};

/// Files of a run that are no records.
const OTHERS: [&str; 2] = ["plan", "status"];

/// The records of a folder of results, by name.
///
/// # Errors
/// If one is damaged: a table without it would look whole.
pub fn read_records(folder: &Path) -> Result<Vec<Record>> {
    let records = record_paths(folder)?
        .into_iter()
        .map(|path| Record::read(&path));
    Ok(records
        .collect::<Result<Vec<_>>>()?
        .into_iter()
        .flatten()
        .collect())
}

pub(crate) fn record_paths(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(|e| Error::io(folder, e))? {
        let path = entry.map_err(|e| Error::io(folder, e))?.path();
        let other = path
            .file_stem()
            .is_none_or(|stem| OTHERS.iter().any(|other| stem == *other));
        if path.extension().is_some_and(|ending| ending == "json") && !other {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}
