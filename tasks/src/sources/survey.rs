//! What the files of a task of one's own say of themselves: their form, their columns, their
//! labels.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

use super::{
    SplitReader,
    dataset::Label,
    folder::Folder,
    parquet,
    patterns::matching,
    reading::guarded,
    table::{self, TABLE_ENDINGS, Wanted, roles},
};
use crate::{Columns, Error, ImagesFrom, Layout, Result, SourceFormat, Split};

/// Files of labels that `datasets` reads beside images.
const METADATA: [&str; 3] = ["metadata.csv", "metadata.jsonl", "metadata.parquet"];

/// Where files of a split are, and what is to be read of them.
pub(crate) struct Survey<'a> {
    pub(crate) root: &'a Path,
    /// The places of images that are elsewhere.
    pub(crate) images_from: &'a [ImagesFrom],
    pub(crate) wanted: Wanted,
}

/// What was found out about a split.
pub(crate) struct Surveyed {
    /// The labels of its rows as they are written, None where a row has none; empty where nothing
    /// is labelled.
    pub(crate) labels: Vec<Option<String>>,
    /// The names of its classes in the order of their numbers, where the files tell both.
    pub(crate) class_names: Option<Vec<String>>,
    /// How many classes there are at least, where labels are numbers of classes.
    pub(crate) classes: usize,
}

impl Survey<'_> {
    /// The form of a split's files, and the files themselves where only their folder was named.
    ///
    /// # Errors
    /// If they are not there, or are nothing that is read.
    pub(crate) fn format(&self, files: &str, columns: &Columns) -> Result<(SourceFormat, String)> {
        let path = self.root.join(files);
        let folder = Folder::open(&path)?;
        if !folder.is_there() {
            let first = matching(self.root, files)?.remove(0);
            return Ok((self.of_file(&first, files, columns)?, files.to_owned()));
        }
        let inside = |name: &str| match files {
            "" | "." => name.to_owned(),
            folder => format!("{}/{name}", folder.trim_end_matches('/')),
        };
        let entries = Entries::of(&folder)?;
        if !entries.arrow.is_empty() {
            let pattern = saved_pattern(&entries.arrow);
            let files = inside(&pattern.map_err(|reason| Error::data(&path, reason))?);
            let first = matching(self.root, &files)?.remove(0);
            return Ok((self.of_file(&first, &files, columns)?, files));
        }
        if let Some(name) = METADATA.iter().find(|name| entries.all.contains(**name)) {
            let (file, files) = (path.join(name), inside(name));
            return Ok((self.of_file(&file, &files, columns)?, files));
        }
        if let [table] = entries.tables.as_slice() {
            let files = inside(table);
            return Ok((self.of_file(&path.join(table), &files, columns)?, files));
        }
        if entries.parquet > 0 {
            let files = inside("*.parquet");
            let first = matching(self.root, &files)?.remove(0);
            return Ok((self.of_file(&first, &files, columns)?, files));
        }
        if entries.shards > 0 {
            let captions = self.wanted == Wanted::Captions;
            return Ok((SourceFormat::Webdataset { captions }, files.to_owned()));
        }
        if entries.folders > 0 {
            let layout = Layout::ImageFolder;
            return Ok((SourceFormat::Archive { layout }, files.to_owned()));
        }
        let endings = TABLE_ENDINGS.join(", ");
        let reason = match entries.tables.len() {
            0 => format!(
                "holds no folder for each class, no parquet, no shards and no table ({endings})"
            ),
            several => format!("holds {several} tables: name the one that is meant"),
        };
        Err(Error::data(&path, reason))
    }

    /// The form of a file, which a pattern named.
    fn of_file(&self, file: &Path, files: &str, given: &Columns) -> Result<SourceFormat> {
        let ending = file.extension().unwrap_or_default().to_string_lossy();
        let ending = ending.to_ascii_lowercase();
        let found = |names: Vec<String>| {
            roles(&names, given, self.wanted).map_err(|reason| Error::data(file, reason))
        };
        if parquet::is_parquet(file) {
            let columns = found(parquet::column_names(file)?)?;
            return Ok(SourceFormat::Parquet { columns });
        }
        if TABLE_ENDINGS.contains(&ending.as_str()) {
            let columns = found(table::column_names(&[file.to_owned()])?)?;
            let images = String::new();
            return Ok(SourceFormat::Table { columns, images });
        }
        if ending == "tar" {
            let reason = "is a shard: name the folder of all shards";
            return Err(Error::data(file, reason));
        }
        let endings = TABLE_ENDINGS.join(", ");
        let reason = format!("{files} is no table ({endings}), no parquet and no folder");
        Err(Error::data(file, reason))
    }

    /// The labels of a split.
    ///
    /// # Errors
    /// If a file is damaged.
    pub(crate) fn labels(&self, format: &SourceFormat, split: &Split) -> Result<Surveyed> {
        guarded(self.root, || self.labels_unguarded(format, split))
    }

    fn labels_unguarded(&self, format: &SourceFormat, split: &Split) -> Result<Surveyed> {
        let files = || matching(self.root, &split.files);
        let mut surveyed = Surveyed {
            labels: Vec::new(),
            class_names: None,
            classes: 0,
        };
        match format {
            SourceFormat::Table { columns, .. } if !columns.label.is_empty() => {
                surveyed.labels = table::column_values(&files()?, columns, &split.name)?;
            }
            SourceFormat::Parquet { columns } if !columns.label.is_empty() => {
                let files: Vec<PathBuf> = files()?;
                surveyed.class_names = parquet::named_classes(&files, columns, self.root)?;
                if surveyed.class_names.is_none() {
                    surveyed.labels = parquet::column_values(&files, columns, &split.name)?;
                }
            }
            SourceFormat::Table { .. } | SourceFormat::Parquet { .. } => {}
            other => {
                let reader = SplitReader {
                    classes: usize::MAX,
                    split,
                    root: self.root,
                    seed: 0,
                };
                let dataset = reader.open_all(other, self.images_from)?;
                surveyed.class_names = dataset.class_names().map(<[String]>::to_vec);
                let class = |row: usize| match dataset.label(row) {
                    Label::Class(class) => class + 1,
                    _ => 0,
                };
                surveyed.classes = (0..dataset.len()).map(class).max().unwrap_or(0);
            }
        }
        Ok(surveyed)
    }
}

/// The files of a folder that `datasets` saved, of which these are Arrow's; what it keeps beside
/// them of later work is no data.
///
/// # Errors
/// If it is not plain which are meant.
pub fn saved_pattern(arrow: &[String]) -> std::result::Result<String, String> {
    if arrow.iter().any(|name| name.starts_with("data-")) {
        return Ok("data-*.arrow".into());
    }
    let own = arrow
        .iter()
        .filter(|name| !name.starts_with("cache-") && *name != "indices.arrow");
    let own: Vec<&String> = own.collect();
    match own.as_slice() {
        [one] => Ok((*one).clone()),
        _ => Err(format!(
            "holds {} files of Arrow: name the one that is meant",
            arrow.len()
        )),
    }
}

/// What lies in a folder.
#[derive(Default)]
struct Entries {
    all: HashSet<String>,
    tables: Vec<String>,
    parquet: usize,
    arrow: Vec<String>,
    shards: usize,
    folders: usize,
}

impl Entries {
    fn of(folder: &Folder) -> Result<Self> {
        let mut entries = Self::default();
        for (name, is_folder) in folder.entries()? {
            let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
            let ending = ending.to_ascii_lowercase();
            if is_folder {
                entries.folders += 1;
            } else if ending == "parquet" {
                entries.parquet += 1;
            } else if ending == "arrow" {
                entries.arrow.push(name.clone());
            } else if ending == "tar" {
                entries.shards += 1;
            } else if TABLE_ENDINGS.contains(&ending.as_str()) {
                entries.tables.push(name.clone());
            }
            entries.all.insert(name);
        }
        Ok(entries)
    }
}
