//! Where rows come from: files in the formats of the Hub, or drawn on the spot.

mod mini;
mod parquet;
mod webdataset;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::Arc,
};

use sha2::{Digest, Sha256};

use crate::{Error, Result, Source, SourceFormat, Split, Task};

pub use mini::{MiniWorld, vocabulary as mini_vocabulary};

/// What is right for a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Label {
    /// One class of many.
    Class(usize),
    /// None: what belongs together is the row itself.
    None,
}

/// One row. The picture stays encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Example {
    /// The same whatever is left out around it.
    pub id: String,
    /// Bytes of a picture file.
    pub image: Option<Vec<u8>>,
    /// One text, a pair, or a picture's captions.
    pub texts: Vec<String>,
    /// What is right.
    pub label: Label,
}

/// Rows by index.
pub trait Dataset: Send + Sync {
    /// Number of rows.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A row's id, without reading the row.
    fn id(&self, index: usize) -> String;

    /// What is right for a row, without reading its picture.
    fn label(&self, index: usize) -> Label;

    /// Rows of the same number share a picture, so their errors are not independent.
    fn cluster(&self, index: usize) -> usize {
        index
    }

    /// The row itself.
    fn get(&self, index: usize) -> Result<Example>;
}

/// A split that was opened, and where it came from.
#[derive(Clone)]
pub struct OpenSplit {
    /// Its rows.
    pub dataset: Arc<dyn Dataset>,
    /// As the source calls it.
    pub name: String,
    /// Rows that the complete split has.
    pub expected: usize,
}

impl OpenSplit {
    /// A digest over ids and labels in order: what a record says about which rows were measured.
    pub fn fingerprint(&self) -> String {
        let mut digest = Sha256::new();
        for index in 0..self.dataset.len() {
            digest.update(format!("{} {:?}\n", self.dataset.id(index), self.dataset.label(index)));
        }
        digest.finalize()[..8].iter().map(|b| format!("{b:02x}")).collect()
    }
}

impl Task {
    /// The first source whose files are under `data`; what is missing if none's are.
    pub fn find_source(&self, data: Option<&Path>) -> Result<&Source> {
        let present =
            |source: &&Source| matches!(source.format, SourceFormat::Mini { .. }) || data.is_some_and(|d| d.join(&source.repo).is_dir());
        self.sources.iter().find(present).ok_or_else(|| {
            let folders: Vec<String> = self.sources.iter().map(|s| s.repo.clone()).collect();
            let reason = match data {
                Some(data) => format!("{} has none of {}", data.display(), folders.join(", ")),
                None => format!("--data FOLDER must hold one of {}", folders.join(", ")),
            };
            Error::Missing { task: self.name.clone(), reason }
        })
    }

    /// Opens a split of `source`, one of this task's.
    pub fn open_split(&self, source: &Source, split: &Split, data: Option<&Path>, seed: u64) -> Result<OpenSplit> {
        let root = data.unwrap_or(Path::new(".")).join(&source.repo);
        let open = || -> Result<Arc<dyn Dataset>> {
            Ok(match &source.format {
                SourceFormat::Mini { world } => Arc::new(mini::Mini::new(*world, &split.name, split.rows, seed)),
                SourceFormat::Parquet { image, label } => {
                    let files = matching(&root, &split.files)?;
                    Arc::new(parquet::ParquetDataset::open(&files, image, label, self.classes)?)
                }
                SourceFormat::Webdataset => Arc::new(webdataset::Webdataset::open(&root.join(&split.files), self.classes)?),
            })
        };
        let dataset = guarded(&root, open)?;
        if dataset.is_empty() {
            return Err(Error::data(&root, format!("split {} is empty", split.name)));
        }
        Ok(OpenSplit { dataset, name: split.name.clone(), expected: split.rows })
    }
}

/// Runs a reader of foreign files; a panic inside it becomes an error about `path`.
fn guarded<T>(path: &Path, f: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(f)).unwrap_or_else(|_| Err(Error::data(path, "its reader gave up: the file is broken")))
}

/// The files under `root` that a pattern with at most one `*` names, sorted.
fn matching(root: &Path, pattern: &str) -> Result<Vec<PathBuf>> {
    let (folder, name) = pattern.rsplit_once('/').unwrap_or(("", pattern));
    let folder = root.join(folder);
    let (start, end) = name.split_once('*').unwrap_or((name, ""));
    let entries = std::fs::read_dir(&folder).map_err(|e| Error::io(&folder, e))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(|e| Error::io(&folder, e))?.path();
        let fits = |n: &str| {
            if name.contains('*') { n.len() >= start.len() + end.len() && n.starts_with(start) && n.ends_with(end) } else { n == name }
        };
        if path.file_name().and_then(|n| n.to_str()).is_some_and(fits) {
            files.push(path);
        }
    }
    files.sort();
    if files.is_empty() {
        return Err(Error::data(&folder, format!("holds no file {name}")));
    }
    Ok(files)
}

/// A label that is one of `classes`.
fn checked_label(path: &Path, row: &str, label: i64, classes: usize) -> Result<usize> {
    let fits = usize::try_from(label).ok().filter(|&label| label < classes);
    fits.ok_or_else(|| {
        Error::data(path, format!("{row}: label {label} is none of the {classes} classes 0 to {}", classes.saturating_sub(1)))
    })
}
