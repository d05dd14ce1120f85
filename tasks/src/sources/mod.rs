//! Where rows come from: files in the formats of the Hub and of the original archives, or drawn on
//! the spot.

mod archive;
mod class_names;
mod corpus;
mod find;
mod fingerprint;
mod hateful_memes;
mod image_list;
mod index_cache;
mod karpathy;
mod label_space;
mod lines;
mod listing;
mod mini;
mod parquet;
mod parquet_columns;
mod snli_ve;
mod vqa;
mod webdataset;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{Error, Result, Source, SourceFormat, Split, Task};

pub use class_names::{PROMPT_FILES, Prompts, read_prompts};
pub use corpus::Corpus;
pub use find::{Choice, Locate, Located};
pub use fingerprint::{Fingerprint, ImageOrigin};
pub use label_space::LabelSpace;
pub use mini::MiniWorld;
pub use vqa::AnswerVocabulary;

/// What is right for a row.
#[derive(Clone, Debug, PartialEq)]
pub enum Label {
    /// One class of many.
    Class(usize),
    /// Several classes of many.
    Classes(Vec<usize>),
    /// A number.
    Value(f64),
    /// What people answered.
    Answers(Arc<[Arc<str>]>),
    /// None: what belongs together is the row itself, or it is not told.
    None,
}

/// One row. The picture stays encoded.
#[derive(Clone, Debug, PartialEq)]
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

    /// How many texts a row has, without reading its picture.
    fn texts(&self, index: usize) -> usize;

    /// The kind of a row, where scores are told by kind too, such as the type of a question's
    /// answer.
    fn slice(&self, _index: usize) -> Option<&str> {
        None
    }

    /// What the data calls its classes, in the order of the labels, if it says so.
    fn class_names(&self) -> Option<&[String]> {
        None
    }

    /// What a reader of its numbers should know: what was left out, or put in order.
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }

    /// Where the bytes of a row's image are, without reading them.
    fn image_origin(&self, index: usize) -> ImageOrigin;

    /// The row itself.
    fn get(&self, index: usize) -> Result<Example>;

    /// A row's texts, without its picture where that saves reading it.
    fn texts_of(&self, index: usize) -> Result<Vec<String>> {
        Ok(self.get(index)?.texts)
    }
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
    /// Renumbers the classes as `space` has them, where the split names its own; a note where that
    /// changed anything.
    ///
    /// # Errors
    /// If the names are not the same.
    pub fn renumber(&mut self, space: &LabelSpace) -> std::result::Result<Option<String>, String> {
        let Some(names) = self.dataset.class_names() else {
            return Ok(None);
        };
        let Some(map) = space.map(&format!("split {}", self.name), names)? else {
            return Ok(None);
        };
        let note = format!(
            "the classes of split {} stand in another order than those of {}: mapped by name",
            self.name, space.of
        );
        let dataset = Arc::clone(&self.dataset);
        self.dataset = Arc::new(label_space::Renumbered::new(
            dataset,
            map,
            space.names.clone(),
        ));
        Ok(Some(note))
    }

    /// How the split differs from what its source's row says: number of rows, of captions, ids that
    /// occur twice, and, where a task is `labelled`, rows that have no label.
    pub fn mismatches(&self, split: &Split, labelled: bool) -> Vec<String> {
        let mut found = Vec::new();
        let rows = self.dataset.len();
        if split.rows > 0 && rows != split.rows {
            found.push(format!(
                "split {} has {rows} rows, {} are expected",
                self.name, split.rows
            ));
        }
        if let Some(expected) = split.captions {
            let captions: usize = (0..rows).map(|index| self.dataset.texts(index)).sum();
            if captions != expected {
                found.push(format!(
                    "split {} has {captions} captions, {expected} are expected",
                    self.name
                ));
            }
        }
        let silent = (0..rows)
            .filter(|index| labelled && self.dataset.label(*index) == Label::None)
            .count();
        if silent > 0 {
            found.push(format!(
                "split {} has {silent} rows without a label",
                self.name
            ));
        }
        let mut ids: Vec<String> = (0..rows).map(|index| self.dataset.id(index)).collect();
        ids.sort_unstable();
        if let Some([id, _]) = ids.array_windows::<2>().find(|[a, b]| a == b) {
            found.push(format!("split {} has the id {id} twice", self.name));
        }
        found
    }
}

impl Task {
    /// Opens a split of `source`, one of this task's, that was found at `root`.
    pub fn open_split(
        &self,
        source: &Source,
        split: &Split,
        root: &Path,
        seed: u64,
    ) -> Result<OpenSplit> {
        let classes = self.classes;
        let open = || -> Result<Arc<dyn Dataset>> {
            Ok(match &source.format {
                SourceFormat::Mini { world } => {
                    Arc::new(mini::Mini::new(*world, &split.name, split.rows, seed))
                }
                SourceFormat::Parquet { columns } => {
                    let files = matching(root, &split.files)?;
                    Arc::new(parquet::ParquetDataset::open(
                        &files,
                        columns,
                        &split.name,
                        classes,
                        root,
                    )?)
                }
                SourceFormat::Webdataset { captions } => {
                    let kind = if *captions {
                        webdataset::Kind::Captions
                    } else {
                        webdataset::Kind::Labels(classes)
                    };
                    Arc::new(webdataset::Webdataset::open(
                        &root.join(&split.files),
                        kind,
                        root,
                    )?)
                }
                SourceFormat::Archive { layout } => {
                    Arc::new(archive::open(*layout, root, &split.name)?.checked(classes)?)
                }
                SourceFormat::ImageList { images } => Arc::new(
                    image_list::open(&root.join(&split.files), &root.join(images), &split.name)?
                        .checked(classes)?,
                ),
                SourceFormat::Vqa {
                    annotations,
                    images,
                } => {
                    let fill = |path: &str| root.join(split.fill(path));
                    Arc::new(vqa::open(
                        &fill(&split.files),
                        &fill(annotations),
                        &fill(images),
                    )?)
                }
                SourceFormat::SnliVe { images } => {
                    Arc::new(snli_ve::open(&root.join(&split.files), &root.join(images))?)
                }
                SourceFormat::HatefulMemes {} => {
                    Arc::new(hateful_memes::open(&root.join(&split.files))?)
                }
                SourceFormat::Karpathy { images } => Arc::new(karpathy::open(
                    &root.join(&split.files),
                    &root.join(images),
                    &split.name,
                )?),
            })
        };
        let dataset = guarded(root, open)?;
        if dataset.is_empty() {
            return Err(Error::data(root, format!("split {} is empty", split.name)));
        }
        Ok(OpenSplit {
            dataset,
            name: split.name.clone(),
            expected: split.rows,
        })
    }
}

/// Lets the process hold `count` files open beside what it holds, where the system lets it: shards
/// come in thousands, and the usual limit is 1,024.
fn allow_open_files(count: usize) {
    use rustix::process::{Resource, getrlimit, setrlimit};
    const OTHERS: u64 = 256;
    let mut limit = getrlimit(Resource::Nofile);
    let Some(current) = limit.current.filter(|_| count as u64 > OTHERS) else {
        return;
    };
    let wanted = current.saturating_add(count as u64);
    limit.current = Some(limit.maximum.map_or(wanted, |most| most.min(wanted)));
    let _allowed = setrlimit(Resource::Nofile, limit); // opening a file says it where this does not help
}

/// Runs a reader of foreign files; a panic inside it becomes an error about `path`.
fn guarded<T>(path: &Path, f: impl FnOnce() -> Result<T>) -> Result<T> {
    flava_base::guarded(f)
        .unwrap_or_else(|| Err(Error::data(path, "its reader gave up: the file is broken")))
}

/// Whether a relative path is one that a pattern with at most one `*` names; the star stands for no
/// slash.
pub fn fits(pattern: &str, path: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == path,
        Some((start, end)) => {
            path.len() >= start.len() + end.len()
                && path.starts_with(start)
                && path.ends_with(end)
                && !path[start.len()..path.len() - end.len()].contains('/')
        }
    }
}

/// The files under `root` that a pattern names, sorted.
fn matching(root: &Path, pattern: &str) -> Result<Vec<PathBuf>> {
    let (folder, name) = pattern.rsplit_once('/').unwrap_or(("", pattern));
    let folder = root.join(folder);
    let entries = std::fs::read_dir(&folder).map_err(|e| Error::io(&folder, e))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(|e| Error::io(&folder, e))?.path();
        if path
            .file_name()
            .and_then(|n| n.to_str())
            .is_some_and(|n| fits(name, n))
        {
            files.push(path);
        }
    }
    files.sort();
    if files.is_empty() {
        return Err(Error::data(&folder, format!("holds no file {name}")));
    }
    if let Some(problem) = problem_of_parts(&files) {
        return Err(Error::data(&folder, format!("{problem} of {name}")));
    }
    Ok(files)
}

/// What is wrong with files named `..-00003-of-00012..`: one is missing, or there are two sets of
/// them.
fn problem_of_parts(files: &[PathBuf]) -> Option<String> {
    let part = |path: &PathBuf| {
        let name = path.file_name()?.to_str()?;
        let (before, after) = name.split_once("-of-")?;
        let of = after
            .chars()
            .take_while(char::is_ascii_digit)
            .collect::<String>()
            .parse()
            .ok()?;
        Some((before.rsplit('-').next()?.parse::<usize>().ok()?, of))
    };
    let parts: Vec<(usize, usize)> = files.iter().filter_map(part).collect();
    let of = parts.iter().map(|(_, of)| *of).max()?;
    if let Some((_, other)) = parts.iter().find(|(_, other)| *other != of) {
        return Some(format!("has parts of {of} and parts of {other}"));
    }
    let count = |i: usize| parts.iter().filter(|(part, _)| *part == i).count();
    let missing = (0..of)
        .find(|i| count(*i) == 0)
        .map(|part| format!("lacks part {part} of {of}"));
    missing.or_else(|| {
        (0..of)
            .find(|i| count(*i) > 1)
            .map(|part| format!("has part {part} of {of} twice"))
    })
}

/// A label that is one of `classes`.
fn checked_label(path: &Path, row: &str, label: i64, classes: usize) -> Result<usize> {
    let fits = usize::try_from(label).ok().filter(|&label| label < classes);
    fits.ok_or_else(|| {
        Error::data(
            path,
            format!(
                "{row}: label {label} is none of the {classes} classes 0 to {}",
                classes.saturating_sub(1)
            ),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_stand_for_no_slash() {
        assert!(fits(
            "data/train-*.parquet",
            "data/train-00000-of-00001.parquet"
        ));
        for other in [
            "data/test-0.parquet",
            "data/train-0/x.parquet",
            "data/train-0.tar",
            "x/data/train-0.parquet",
            "data/train-.parque",
        ] {
            assert!(!fits("data/train-*.parquet", other), "{other}");
        }
        assert!(fits("README.md", "README.md") && !fits("README.md", "docs/README.md"));
        assert!(!fits("a*a", "a"), "the ends do not overlap");
    }

    #[test]
    fn missing_parts_are_counted() {
        let files = |parts: &[usize]| {
            parts
                .iter()
                .map(|part| PathBuf::from(format!("x/train-{part:05}-of-00003-abc.parquet")))
                .collect::<Vec<_>>()
        };
        assert_eq!(problem_of_parts(&files(&[0, 1, 2])), None);
        assert_eq!(
            problem_of_parts(&files(&[0, 2])).unwrap(),
            "lacks part 1 of 3"
        );
        assert_eq!(
            problem_of_parts(&files(&[0, 1, 1, 2])).unwrap(),
            "has part 1 of 3 twice"
        );
        assert_eq!(problem_of_parts(&[PathBuf::from("train.parquet")]), None);
        let two = ["a-00000-of-00001.parquet", "b-00000-of-00002.parquet"].map(PathBuf::from);
        assert_eq!(
            problem_of_parts(&two).unwrap(),
            "has parts of 2 and parts of 1"
        );
    }
}
