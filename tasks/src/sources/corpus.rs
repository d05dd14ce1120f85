//! What a model is pretrained on: images, texts, or pairs of them, without labels.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use flava_base::{DigestIndex, hex, is_image, path_text, walk};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{
    archive::left_out,
    dataset::{Dataset, ImageOrigin},
    folder::Folder,
    lines::{Form, Lines},
    listing::{Listing, Row},
    mini::{self, MiniWorld},
    parquet,
    patterns::matching,
    reading::guarded,
    table::{TableDataset, TableReading, Wanted, roles},
    tabular::column_names,
    webdataset,
};
use crate::{Columns, Error, Result};

/// A corpus as a recipe names it. Patterns have at most one `*`, which stands for no slash.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "format", rename_all = "snake_case", deny_unknown_fields)]
pub enum Corpus {
    /// Tar shards: members `KEY.jpg`, `.png` or `.webp` with `KEY.txt` (a caption on each line) or
    /// `KEY.json` (`caption` or `text`).
    Webdataset {
        /// Pattern of the shards.
        files: String,
    },
    /// Hugging Face parquet.
    Parquet {
        /// Pattern of the files.
        files: String,
        /// Column of the images.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        image: String,
        /// Column of the texts: strings, or lists of them.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        text: String,
    },
    /// All images below a folder.
    ImageFolder {
        /// The folder.
        path: String,
    },
    /// A document or sentence on each line.
    Text {
        /// Pattern of the files.
        files: String,
    },
    /// A JSON object on each line.
    Jsonl {
        /// Pattern of the files.
        files: String,
        /// Key of the image's path, from the file's folder.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        image: String,
        /// Key of the text, or list of texts.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        text: String,
    },
    /// CSV, TSV, JSON lines or JSON lists, as the endings of `files` say.
    Table {
        /// Pattern of the files.
        files: String,
        /// Column of the images' paths, from the file's folder.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        image: String,
        /// Column of the texts.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        text: String,
    },
    /// Drawn from emoji.
    Mini {
        /// `pairs`, `images` or `texts`.
        world: MiniWorld,
        /// How many.
        rows: usize,
    },
}

impl Corpus {
    /// Opens it; paths that are not absolute are below `root`.
    ///
    /// # Errors
    /// Where nothing is there, a shard is missing or cut, or a column is not there.
    pub fn open(&self, root: &Path, seed: u64) -> Result<Arc<dyn Dataset>> {
        let dataset = guarded(root, || self.open_unguarded(root, seed))?;
        if dataset.is_empty() {
            return Err(Error::data(
                root,
                format!("the corpus {} is empty", self.name()),
            ));
        }
        Ok(dataset)
    }

    fn open_unguarded(&self, root: &Path, seed: u64) -> Result<Arc<dyn Dataset>> {
        Ok(match self {
            Self::Webdataset { files } => {
                Arc::new(webdataset::Webdataset::open_shards(files_of(root, files)?)?)
            }
            Self::Parquet { files, image, text } => {
                let columns = Columns {
                    image: image.clone(),
                    captions: text.clone(),
                    gaps: true,
                    ..Columns::default()
                };
                let files = files_of(root, files)?;
                Arc::new(parquet::ParquetDataset::open(
                    &files, &columns, "", 0, root,
                )?)
            }
            Self::ImageFolder { path } => Arc::new(image_folder(&root.join(path))?),
            Self::Text { files } => Arc::new(Lines::open(&files_of(root, files)?, Form::Text)?),
            Self::Jsonl { files, image, text } => {
                let form = Form::Json {
                    image: image.clone(),
                    text: text.clone(),
                };
                Arc::new(Lines::open(&files_of(root, files)?, form)?)
            }
            Self::Table { files, image, text } => {
                Arc::new(table(&files_of(root, files)?, image, text)?)
            }
            Self::Mini { world, rows } => {
                Arc::new(mini::Mini::new(*world, "pretrain", *rows, seed))
            }
        })
    }

    /// A digest of all that it holds, by its files: those that were hashed before come from
    /// `index`.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn digest(&self, root: &Path, index: &DigestIndex) -> Result<String> {
        let files = self.files(root)?;
        let mut digest = Sha256::new();
        digest.update(format!("{} {self:?}\n", mini::DRAWING));
        for (file, sha256) in files.iter().zip(index.digests(&files)) {
            // By name, since the folder may have moved.
            digest.update(path_text(Path::new(file.file_name().unwrap_or_default())));
            digest.update(sha256?);
        }
        // An image that is not there is broken where it is drawn, and counted there.
        let images = self.named_images(root)?;
        for sha256 in index.digests(&images).into_iter().flatten() {
            digest.update(sha256);
        }
        Ok(hex(&digest.finalize()[..16]))
    }

    /// The files that it consists of.
    fn files(&self, root: &Path) -> Result<Vec<PathBuf>> {
        match self {
            Self::Webdataset { files }
            | Self::Parquet { files, .. }
            | Self::Text { files }
            | Self::Table { files, .. }
            | Self::Jsonl { files, .. } => files_of(root, files),
            Self::ImageFolder { path } => {
                let folder = root.join(path);
                let mut files = walk(&folder)?;
                files.retain(|file| is_image(&path_text(file)));
                Ok(files.into_iter().map(|file| folder.join(file)).collect())
            }
            Self::Mini { .. } => Ok(Vec::new()),
        }
    }

    /// The images that its lines name.
    fn named_images(&self, root: &Path) -> Result<Vec<PathBuf>> {
        let names_images = match self {
            Self::Jsonl { image, .. } => !image.is_empty(),
            Self::Table { image, text, .. } => !image.is_empty() || text.is_empty(),
            _ => false,
        };
        if !names_images {
            return Ok(Vec::new());
        }
        let lines = self.open(root, 0)?;
        let origins = (0..lines.len()).map(|row| lines.image_origin(row));
        let image = |origin| match origin {
            ImageOrigin::File(path) => Some(path),
            _ => None,
        };
        Ok(origins.filter_map(image).collect())
    }

    /// What it is called in messages.
    pub fn name(&self) -> String {
        match self {
            Self::Webdataset { files }
            | Self::Parquet { files, .. }
            | Self::Text { files }
            | Self::Table { files, .. }
            | Self::Jsonl { files, .. } => files.clone(),
            Self::ImageFolder { path } => path.clone(),
            Self::Mini { world, .. } => format!("mini {}", format!("{world:?}").to_lowercase()),
        }
    }
}

/// A table of images, texts or both; where neither column is named, both are found by their names.
fn table(files: &[PathBuf], image: &str, text: &str) -> Result<TableDataset> {
    let mut columns = Columns {
        image: image.to_owned(),
        captions: text.to_owned(),
        ..Columns::default()
    };
    if image.is_empty() && text.is_empty() {
        let first = files.first().map_or(Path::new(""), PathBuf::as_path);
        columns = pair_columns(first, &columns)?;
    }
    // Each caption is a row of its own, as the other corpora have it.
    columns.group = String::new();
    let reading = TableReading {
        columns: &columns,
        images: None,
        split: "",
        classes: 0,
        // An image that is not there is broken where it is drawn, and counted there.
        checked: false,
    };
    TableDataset::open(files, &reading)
}

/// The columns of images and captions of a table or a parquet file.
///
/// # Errors
/// If there are none, or several may be them.
pub fn pair_columns(file: &Path, given: &Columns) -> Result<Columns> {
    roles(&column_names(file)?, given, Wanted::Captions).map_err(|reason| Error::data(file, reason))
}

/// The files of a pattern, none missing from their numbering.
fn files_of(root: &Path, pattern: &str) -> Result<Vec<PathBuf>> {
    if pattern
        .rsplit_once('/')
        .is_some_and(|(folder, _)| folder.contains('*'))
        || pattern.matches('*').count() > 1
    {
        return Err(Error::data(
            root,
            format!("{pattern}: a pattern has one *, in the name of its files"),
        ));
    }
    let full = root.join(pattern);
    let folder = full.parent().unwrap_or(root);
    let name = full.file_name().unwrap_or_default().to_string_lossy();
    let files = matching(folder, &name)?;
    if let Some(number) = missing_number(&files) {
        let reason = format!("lacks number {number} of {name}");
        return Err(Error::data(folder, reason));
    }
    Ok(files)
}

/// The first number that is missing among those of shards.
fn missing_number(files: &[PathBuf]) -> Option<u64> {
    let numbers: Vec<(u64, usize)> = files.iter().filter_map(|file| number_of(file)).collect();
    // Numbers of one width from 0 or 1 on are those of shards; others may be years, or anything.
    let shards = numbers.len() == files.len()
        && numbers.iter().all(|(_, width)| *width == numbers[0].1)
        && numbers[0].0 <= 1;
    let mut pairs = numbers.array_windows::<2>().filter(|_| shards);
    let [(before, _), _] = pairs.find(|[(a, _), (b, _)]| *b > a + 1)?;
    Some(before + 1)
}

/// The number that a shard's name ends with, before its first ending, and how many digits it has.
fn number_of(file: &Path) -> Option<(u64, usize)> {
    let name = file.file_name()?.to_str()?;
    let stem = name.split('.').next()?;
    let digits = stem.len() - stem.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    let number = stem[stem.len() - digits..].parse().ok()?;
    (digits > 2 && !name.contains("-of-")).then_some((number, digits))
}

/// All images below a folder.
pub(super) fn image_folder(folder: &Path) -> Result<Listing> {
    let opened = Folder::open(folder)?;
    let files = opened.files()?.into_iter();
    let (images, others): (Vec<PathBuf>, Vec<PathBuf>) =
        files.partition(|file| is_image(&path_text(file)));
    let rows = images
        .into_iter()
        .map(|file| Row::of_file(file, 0))
        .collect();
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    Ok(Listing::in_folder(opened, rows)?.with_notes(left_out(&name, &others)))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn lines_are_read_in_place_and_blank_ones_are_none() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(
            folder.path().join("a.txt"),
            "one line\n\n  \r\nanother \u{e9}\nlast",
        )
        .unwrap();
        let texts = Corpus::Text {
            files: "*.txt".into(),
        }
        .open(folder.path(), 0)
        .unwrap();
        let all: Vec<String> = (0..texts.len())
            .flat_map(|i| texts.texts_of(i).unwrap())
            .collect();
        assert_eq!(all, ["one line", "another \u{e9}", "last"]);
        let long = [
            b"a line of thirty bytes, or so\n\n".repeat(5000),
            b"caf\xe9".to_vec(),
        ]
        .concat();
        fs::write(folder.path().join("long.txt"), long).unwrap();
        let texts = Corpus::Text {
            files: "long.txt".into(),
        }
        .open(folder.path(), 0)
        .unwrap();
        assert!(
            texts
                .texts_of(5000)
                .unwrap_err()
                .to_string()
                .contains("line 10001 is no UTF-8")
        );
        fs::write(
            folder.path().join("b.jsonl"),
            "{\"t\": [\"x\", \"y\"]}\n{\"t\": 3}\nno json\n{\"t\": \"z\", \"i\": \"../up.png\"}\n",
        )
        .unwrap();
        let json = Corpus::Jsonl {
            files: "b.jsonl".into(),
            image: String::new(),
            text: "t".into(),
        }
        .open(folder.path(), 0)
        .unwrap();
        assert_eq!(json.texts_of(0).unwrap(), ["x", "y"]);
        for (row, needle) in [(1, "no text under"), (2, "is no JSON")] {
            assert!(json.get(row).unwrap_err().to_string().contains(needle));
        }
        let json = Corpus::Jsonl {
            files: "b.jsonl".into(),
            image: "i".into(),
            text: "t".into(),
        }
        .open(folder.path(), 0)
        .unwrap();
        assert!(
            json.get(3)
                .unwrap_err()
                .to_string()
                .contains("outside its folder")
        );
    }

    #[test]
    fn more_shards_than_files_may_be_open() {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        const SHARDS: usize = 700;
        let folder = tempfile::tempdir().unwrap();
        (0..SHARDS).for_each(|shard| {
            fs::write(folder.path().join(format!("{shard:05}.txt")), "x\n").unwrap();
        });
        setrlimit(
            Resource::Nofile,
            Rlimit {
                current: Some(400),
                ..getrlimit(Resource::Nofile)
            },
        )
        .unwrap();
        let texts = Corpus::Text {
            files: "*.txt".into(),
        }
        .open(folder.path(), 0)
        .unwrap();
        assert_eq!(texts.len(), SHARDS);
    }

    #[test]
    fn gaps_in_the_numbers_of_shards_and_empty_corpora_are_found() {
        let folder = tempfile::tempdir().unwrap();
        for number in [0, 1, 3] {
            fs::write(folder.path().join(format!("s-{number:04}.txt")), "x\n").unwrap();
        }
        let open = |files: &str| {
            Corpus::Text {
                files: files.into(),
            }
            .open(folder.path(), 0)
            .err()
            .unwrap()
            .to_string()
        };
        assert!(
            open("s-*.txt").contains("lacks number 2"),
            "{}",
            open("s-*.txt")
        );
        assert!(open("none-*.txt").contains("holds no file"));
        assert!(open("*/a.txt").contains("one *") && open("*-*.txt").contains("one *"));
        for year in [2019, 2021] {
            fs::write(folder.path().join(format!("news-{year}.txt")), "x\n").unwrap();
        }
        assert!(
            Corpus::Text {
                files: "news-*.txt".into()
            }
            .open(folder.path(), 0)
            .is_ok(),
            "a year is no shard's number"
        );
        fs::write(folder.path().join("empty.txt"), "\n\n").unwrap();
        assert!(open("empty.txt").contains("empty"));
    }
}
