//! Where a task's rows come from, as its registry row says: repository or folder, format, splits.

use std::path::{Path, PathBuf};

use flava_base::id_rank;
use serde::{Deserialize, Serialize};

use crate::{Columns, Demand, SourceFormat, sources::TABLE_ENDINGS};

/// A split's name is part of those of files.
const LONGEST_NAME: usize = 64;

/// Rows of a file that serves several splits, set apart by the hash of their ids: which they are
/// depends on nothing else, so more rows change none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SplitPart {
    /// A fifth, to score on.
    Test,
    /// A tenth, to choose settings on.
    Validation,
}

impl SplitPart {
    /// One row in so many.
    fn one_in(self) -> u64 {
        match self {
            Self::Test => 5,
            Self::Validation => 10,
        }
    }

    /// Whether it has the row of an id.
    pub fn has(self, id: &str) -> bool {
        let purpose = match self {
            Self::Test => "part test",
            Self::Validation => "part validation",
        };
        id_rank(0, purpose, id).is_multiple_of(self.one_in())
    }
}

/// A part of the data and how many rows it should have.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Split {
    /// Its name in the source, such as "validation".
    pub name: String,
    /// A pattern of files with at most one `*`, the folder of a webdataset's shards or of an image
    /// folder, or the file that lists the rows; relative to the source's folder. Formats that know
    /// their files need none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub files: String,
    /// Rows that the complete split has; 0 where nobody knows.
    #[serde(default)]
    pub rows: usize,
    /// Captions that they have together, where captions are counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub captions: Option<usize>,
    /// The parts of the files' rows that it consists of; all rows where there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub only: Vec<SplitPart>,
    /// The parts that it lacks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub without: Vec<SplitPart>,
}

impl Split {
    /// All rows of some files.
    pub fn new(name: &str, files: &str) -> Self {
        Self {
            name: name.to_owned(),
            files: files.to_owned(),
            rows: 0,
            captions: None,
            only: Vec::new(),
            without: Vec::new(),
        }
    }

    /// Whether it has the row of an id that its files have.
    pub(crate) fn has(&self, id: &str) -> bool {
        self.only.iter().all(|part| part.has(id)) && !self.without.iter().any(|part| part.has(id))
    }

    /// Whether it is not all of its files.
    pub(crate) fn is_part(&self) -> bool {
        !self.only.is_empty() || !self.without.is_empty()
    }

    /// A path of its source's row, `SPLIT` standing for the split's name.
    pub(crate) fn fill(&self, path: &str) -> String {
        path.replace("SPLIT", &self.name)
    }

    /// Whether its name is a file's, and no path's.
    fn is_named_as_a_file(&self) -> bool {
        let name = &self.name;
        !name.contains(['/', '\\']) && name != ".." && !name.chars().any(char::is_control)
    }
}

/// A place of images that rows of another place name by their ids.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImagesFrom {
    /// `owner/name` on the Hugging Face Hub, and the folder under `--data`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub repo: String,
    /// Its git revision; empty where none is pinned.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub revision: String,
    /// The folder under `--data` of images that people have from elsewhere.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub folder: String,
    /// A pattern of parquet files, tables or shards with at most one `*`; or a folder or zip archive
    /// of images, which are named by their files.
    pub files: String,
    /// The column, or the field of a shard's `.json`, with the ids. Without one, images of shards
    /// are named by their keys.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub key: String,
    /// The column of the images.
    #[serde(default = "image", skip_serializing_if = "is_image")]
    pub image: String,
    /// Where it was found.
    #[serde(skip)]
    pub root: PathBuf,
    /// The commit that it was found at.
    #[serde(skip)]
    pub found: String,
}

fn image() -> String {
    "image".into()
}

fn is_image(column: &str) -> bool {
    column == "image"
}

impl ImagesFrom {
    /// What messages call it.
    pub fn name(&self) -> String {
        let folder = if self.repo.is_empty() {
            &self.folder
        } else {
            &self.repo
        };
        format!("{folder}/{}", self.files)
    }

    /// The same with the commit that it was found at.
    pub(crate) fn told(&self) -> String {
        match self.found.as_str() {
            "" => self.name(),
            commit => format!("{} at {commit}", self.name()),
        }
    }

    /// What its files end with, in lower case.
    pub(crate) fn ending(&self) -> String {
        let ending = self.files.rsplit_once('.').map_or("", |(_, ending)| ending);
        ending.to_ascii_lowercase()
    }

    /// A source of its files alone, as places of sources are looked for; `base` is the folder of
    /// the task's file.
    pub fn as_source(&self, base: &Path) -> Source {
        let columns = Columns {
            image: self.image.clone(),
            ..Columns::default()
        };
        let format = match self.ending().as_str() {
            "parquet" | "arrow" => SourceFormat::Parquet { columns },
            _ => SourceFormat::Auto { columns },
        };
        Source {
            repo: self.repo.clone(),
            revision: self.revision.clone(),
            config: String::new(),
            folder: self.folder.clone(),
            base: base.to_owned(),
            format,
            note: String::new(),
            extra: Vec::new(),
            images_from: Vec::new(),
            train: None,
            validation: None,
            test: Split::new("images", &self.files),
            second_test: None,
        }
    }

    /// What is wrong with it, if anything.
    fn problem(&self) -> Option<String> {
        let tables = TABLE_ENDINGS.contains(&&*self.ending())
            || ["parquet", "arrow"].contains(&&*self.ending());
        if self.repo.is_empty() == self.folder.is_empty() {
            return Some("images_from has either a repo or a folder".into());
        }
        (tables && self.key.is_empty()).then(|| {
            let files = &self.files;
            format!("images_from {files} needs a key: the column with the ids of its images")
        })
    }
}

/// Where a task's rows come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Source {
    /// `owner/name` on the Hugging Face Hub, and the folder under `--data`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub repo: String,
    /// Git revision that the numbers belong to; empty where none is pinned.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub revision: String,
    /// The configuration of a repository that has several.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub config: String,
    /// The folder under `--data` of data that people have from elsewhere.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub folder: String,
    /// The folder of the task's file, which `folder` is looked for in too.
    #[serde(skip)]
    pub base: PathBuf,
    /// Form of the rows.
    #[serde(flatten)]
    pub format: SourceFormat,
    /// What to know about it, such as why it cannot supply a protocol's rows.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// Patterns of further files that the splits need.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extra: Vec<String>,
    /// Where the images of the rows are, if not with them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images_from: Vec<ImagesFrom>,
    /// Rows to fit on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train: Option<Split>,
    /// Rows to choose settings on; they are fitted on too in the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<Split>,
    /// Rows to score on.
    pub test: Split,
    /// More rows to score, apart: MNLI's mismatched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub second_test: Option<Split>,
}

impl Source {
    /// All splits, in the order they are used.
    pub fn splits(&self) -> impl Iterator<Item = &Split> {
        self.train
            .iter()
            .chain(&self.validation)
            .chain([&self.test])
            .chain(&self.second_test)
    }

    /// What records call it.
    pub fn name(&self) -> &str {
        match (&self.format, self.data_folder()) {
            (SourceFormat::Mini { .. }, _) => "mini (drawn)",
            (_, ".") => &self.test.files,
            (_, folder) => folder,
        }
    }

    /// Its folder under `--data`.
    pub fn data_folder(&self) -> &str {
        if self.repo.is_empty() {
            &self.folder
        } else {
            &self.repo
        }
    }

    /// Rows to fit on.
    pub fn fit_rows(&self) -> usize {
        self.train
            .iter()
            .chain(&self.validation)
            .map(|split| split.rows)
            .sum()
    }

    /// Why it cannot supply what a protocol asks for, if it cannot.
    pub fn shortfall(&self, demand: &Demand) -> Option<String> {
        let mut differences = Vec::new();
        let (fit, test) = (self.fit_rows(), self.test.rows);
        if self.splits().any(|split| split.rows == 0) {
            differences.push("a number of rows that is not known".to_owned());
        } else if fit != demand.fit {
            differences.push(format!("{fit} rows to fit on, not {}", demand.fit));
        }
        if test != demand.test {
            differences.push(format!("{test} rows to score, not {}", demand.test));
        }
        if differences.is_empty() {
            return None;
        }
        let note = if self.note.is_empty() {
            String::new()
        } else {
            format!(" ({})", self.note)
        };
        let differences = differences.join(" and ");
        Some(format!("{} has {differences}{note}", self.name()))
    }

    /// What is wrong with the row, if anything.
    pub(crate) fn problem(&self) -> Option<String> {
        if let Some(path) = self.paths().find(|path| leads_out(path)) {
            return Some(format!("{path:?} leads out of the data folder"));
        }
        if self.splits().any(|split| !split.is_named_as_a_file()) {
            return Some("the name of a split leads out of the data folder".into());
        }
        if let Some(split) = self.splits().find(|split| split.name.len() > LONGEST_NAME) {
            let have = split.name.len();
            return Some(format!(
                "the name of a split has {LONGEST_NAME} letters at most, not {have}"
            ));
        }
        if let Some(problem) = self.images_from.iter().find_map(ImagesFrom::problem) {
            return Some(problem);
        }
        if let Some(split) = self.fitted_and_scored() {
            return Some(format!("split {} is fitted on and scored", split.name));
        }
        let drawn = matches!(self.format, SourceFormat::Mini { .. });
        (!drawn && self.repo.is_empty() == self.folder.is_empty())
            .then(|| "a source has either a repo or a folder".into())
    }

    /// All paths that the row names.
    fn paths(&self) -> impl Iterator<Item = &String> {
        let inner = match &self.format {
            SourceFormat::Vqa {
                annotations,
                images,
            } => vec![annotations, images],
            SourceFormat::SnliVe { images }
            | SourceFormat::Karpathy { images }
            | SourceFormat::ImageList { images }
            | SourceFormat::Table { images, .. } => vec![images],
            _ => Vec::new(),
        };
        let images = self.images_from.iter();
        self.splits()
            .map(|split| &split.files)
            .chain(images.flat_map(|from| [&from.repo, &from.folder, &from.files]))
            .chain(&self.extra)
            .chain([&self.repo, &self.folder])
            .chain(inner)
    }

    /// Whether files are named by their split: a part of it keeps its name then.
    pub(crate) fn names_files_by_split(&self) -> bool {
        self.paths().any(|path| path.contains("SPLIT"))
    }

    /// A split that is scored, and whose rows are fitted on too.
    fn fitted_and_scored(&self) -> Option<&Split> {
        let fitted = || self.train.iter().chain(&self.validation);
        let same = |a: &Split, b: &Split| {
            (&a.name, &a.files) == (&b.name, &b.files) && !(a.is_part() && b.is_part())
        };
        let mut scored = [&self.test].into_iter().chain(&self.second_test);
        scored.find(|test| fitted().any(|fit| same(test, fit)))
    }
}

/// Whether a path leaves the folder that it is relative to.
fn leads_out(path: &str) -> bool {
    path.starts_with('/') || path.split('/').any(|part| part == "..")
}
