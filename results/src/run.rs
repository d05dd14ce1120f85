//! A run as others see it: its records, how its tasks stand, and where its predictions lie.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use flava_base::is_there;
use flava_tasks::Predictions;

use crate::{
    Error, Record, Result, RunFolder, Status, read_records, run_folder::read_status, runs_in,
};

/// A run that was read.
#[derive(Clone, Debug)]
pub struct Run {
    /// Its folder, or the folder of the record that was read alone.
    pub folder: PathBuf,
    /// Its records, by name.
    pub records: Vec<Record>,
    /// How its tasks stand; empty where only records are there.
    pub status: BTreeMap<String, Status>,
}

impl Run {
    /// Reads the folder of a run, or the file of one record.
    ///
    /// # Errors
    /// If there is no record, if one is damaged, or if two are of the same task.
    pub fn read(path: &Path) -> Result<Self> {
        let (folder, records) = if path.is_dir() {
            (path.to_owned(), read_records(path)?)
        } else {
            let folder = path.parent().unwrap_or(Path::new("")).to_owned();
            (folder, Record::read(path)?.into_iter().collect())
        };
        if records.is_empty() {
            return Err(Error::file(path, no_records(path)));
        }
        for (index, record) in records.iter().enumerate() {
            if records[..index]
                .iter()
                .any(|other| other.name() == record.name())
            {
                let name = record.name();
                return Err(Error::file(path, format!("holds two records of {name}")));
            }
        }
        let status = if path.is_dir() {
            read_status(path)?
        } else {
            BTreeMap::new()
        };
        Ok(Self {
            folder,
            records,
            status,
        })
    }

    /// Reads several, of a folder that is no run those in it.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn read_all(paths: &[PathBuf]) -> Result<Vec<Self>> {
        let mut runs = Vec::new();
        for path in paths {
            for run in runs_in(path)? {
                runs.push(Self::read(&run)?);
            }
        }
        Ok(runs)
    }

    /// The predictions that a record's scores are of; None where they are not there.
    ///
    /// # Errors
    /// If they are there and cannot be read, or are of another task.
    pub fn predictions(&self, record: &Record) -> Result<Option<Predictions>> {
        read_predictions(&self.folder, record, None)
    }

    /// The same on a split; the first has no name.
    pub(crate) fn predictions_on(
        &self,
        record: &Record,
        split: Option<&str>,
    ) -> Result<Option<Predictions>> {
        read_predictions(&self.folder, record, split)
    }
}

/// What to say of a path without records: which runs are in it.
fn no_records(path: &Path) -> String {
    const NONE: &str = "holds no records of flava-eval";
    let runs = runs_in(path).unwrap_or_default();
    let inside = runs.iter().filter(|run| *run != path);
    let names: Vec<String> = inside.map(|run| run.display().to_string()).collect();
    if names.is_empty() {
        NONE.to_owned()
    } else {
        format!("{NONE}; runs in it are {}", names.join(", "))
    }
}

/// The predictions that a record's scores are of, on a split, the first without a name; None where
/// they are not there.
///
/// # Errors
/// If they are there and cannot be read, or are of another task.
pub(crate) fn read_predictions(
    folder: &Path,
    record: &Record,
    split: Option<&str>,
) -> Result<Option<Predictions>> {
    let path = RunFolder::predictions_in(folder, &record.name(), split);
    if !is_there(&path) {
        return Ok(None);
    }
    match Predictions::read(&path)? {
        Some((predictions, task)) if task == record.task => Ok(Some(predictions)),
        _ => {
            let reason = format!("holds no predictions of {}", record.task);
            Err(Error::file(&path, reason))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::record::record;

    #[test]
    fn a_folder_or_a_file_is_read_and_emptiness_refused() {
        let folder = tempfile::tempdir().unwrap();
        let error = Run::read(folder.path()).unwrap_err().to_string();
        assert!(error.contains("holds no records"), "{error}");
        let path = folder.path().join("a.json");
        fs::write(&path, record("a").to_file().unwrap()).unwrap();
        for read in [folder.path(), &path] {
            let run = Run::read(read).unwrap();
            assert_eq!(run.records, [record("a")]);
            assert!(run.predictions(&run.records[0]).unwrap().is_none());
        }
        fs::write(
            folder.path().join("copy.json"),
            record("a").to_file().unwrap(),
        )
        .unwrap();
        let error = Run::read(folder.path()).unwrap_err().to_string();
        assert!(error.contains("two records of a"), "{error}");
    }
}
