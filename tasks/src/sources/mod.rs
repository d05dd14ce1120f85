//! Where rows come from: files in the formats of the Hub and of the original archives, or drawn on
//! the spot.

mod archive;
mod class_names;
mod corpus;
mod dataset;
mod find;
mod fingerprint;
mod folder;
mod hateful_memes;
mod image_list;
mod index_cache;
mod inputs;
mod joined;
mod karpathy;
mod label_space;
mod lines;
mod listing;
mod mini;
mod parquet;
mod parts;
mod patterns;
mod raw_images;
mod reading;
mod repository;
mod snli_ve;
mod split;
mod survey;
mod table;
mod tabular;
mod vqa;
mod webdataset;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{Columns, Error, ImagesFrom, Layout, Result, Source, SourceFormat, Split, Task};
use patterns::matching;
use reading::guarded;

pub use class_names::{PROMPT_FILES, Prompts, read_prompts};
pub use corpus::{Corpus, pair_columns};
pub use dataset::{Dataset, Example, ImageOrigin, Label};
pub use find::{Choice, Locate, Located, with_images};
pub use fingerprint::Fingerprint;
pub use inputs::{Inputs, has_labels};
pub use label_space::LabelSpace;
pub use mini::MiniWorld;
pub use parquet::is_parquet;
pub use parts::part_ids;
pub use patterns::fits;
pub use repository::{Repository, converted_names};
pub use split::OpenSplit;
pub use survey::saved_pattern;
pub(crate) use survey::{Survey, Surveyed};
pub(crate) use table::{TABLE_ENDINGS, Wanted, number_of};
pub use vqa::AnswerVocabulary;

/// The names of what lies in a folder or an archive, and whether each is a folder; hidden ones are
/// left out.
///
/// # Errors
/// If it cannot be read.
pub fn folder_entries(path: &Path) -> Result<Vec<(String, bool)>> {
    folder::Folder::open(path)?.entries()
}

/// Whether there is such a file or folder, in an archive too.
pub fn is_there(path: &Path) -> bool {
    flava_base::is_there(path) || folder::holds(path)
}

/// Whether there is such a folder, or an archive in its place.
pub fn is_folder(path: &Path) -> bool {
    folder::Folder::open(path).is_ok_and(|folder| folder.is_there())
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
        let reader = SplitReader {
            classes: self.classes,
            split,
            root,
            seed,
        };
        let dataset = guarded(root, || {
            reader.open_all(&source.format, &source.images_from)
        })?;
        if dataset.is_empty() {
            return Err(Error::data(root, format!("split {} is empty", split.name)));
        }
        Ok(OpenSplit {
            dataset: parts::chosen(dataset, split, root)?,
            name: split.name.clone(),
            expected: split.rows,
        })
    }
}

/// Which split is read, and where.
struct SplitReader<'a> {
    classes: usize,
    split: &'a Split,
    root: &'a Path,
    seed: u64,
}

impl SplitReader<'_> {
    fn open(&self, format: &SourceFormat) -> Result<Arc<dyn Dataset>> {
        let name = &self.split.name;
        Ok(match format {
            SourceFormat::Mini { world } => {
                Arc::new(mini::Mini::new(*world, name, self.split.rows, self.seed))
            }
            SourceFormat::Parquet { columns } => Arc::new(self.parquet(columns)?),
            SourceFormat::Table { columns, images } => Arc::new(self.table(columns, images)?),
            SourceFormat::Auto { .. } => {
                let reason = "the form of its files was not found out before they are read";
                return Err(Error::data(self.root, reason));
            }
            SourceFormat::Webdataset { captions } => Arc::new(self.webdataset(*captions)?),
            SourceFormat::Archive { layout } => {
                // The images of one's own may lie in a folder of any name.
                let own = matches!(layout, Layout::ImageFolder) && !self.split.files.is_empty();
                let folder = if own { &self.split.files } else { name };
                Arc::new(archive::open(*layout, self.root, folder)?.checked(self.classes)?)
            }
            SourceFormat::ImageList { images } => {
                let rows = image_list::open(&self.rows(), &self.root.join(images), name)?;
                Arc::new(rows.checked(self.classes)?)
            }
            SourceFormat::Vqa {
                annotations,
                images,
            } => Arc::new(self.vqa(annotations, images)?),
            SourceFormat::SnliVe { images } => {
                Arc::new(snli_ve::open(&self.rows(), &self.root.join(images))?)
            }
            SourceFormat::HatefulMemes {} => Arc::new(hateful_memes::open(&self.rows())?),
            SourceFormat::Karpathy { images } => {
                let images = self.root.join(images);
                Arc::new(karpathy::open(&self.rows(), &images, name)?)
            }
        })
    }

    /// Rows with their images, wherever these are.
    fn open_all(&self, format: &SourceFormat, from: &[ImagesFrom]) -> Result<Arc<dyn Dataset>> {
        if from.is_empty() {
            self.open(format)
        } else {
            self.joined(format, from)
        }
    }

    /// Rows whose images are elsewhere.
    fn joined(&self, format: &SourceFormat, from: &[ImagesFrom]) -> Result<Arc<dyn Dataset>> {
        let (rows, keys): (Arc<dyn Dataset>, Vec<String>) = match format {
            SourceFormat::Vqa { annotations, .. } => {
                let fill = |path: &str| self.root.join(self.split.fill(path));
                let (rows, keys) =
                    vqa::without_images(&fill(&self.split.files), &fill(annotations))?;
                (Arc::new(rows), keys)
            }
            other => {
                let keys = joined::keys_of_rows(other, self.split, self.root)?;
                (self.open(other)?, keys)
            }
        };
        Ok(Arc::new(joined::Joined::new(rows, &keys, from, self.root)?))
    }

    /// The file or folder that lists the rows.
    fn rows(&self) -> PathBuf {
        self.root.join(&self.split.files)
    }

    fn parquet(&self, columns: &Columns) -> Result<parquet::ParquetDataset> {
        let files = matching(self.root, &self.split.files)?;
        let name = &self.split.name;
        parquet::ParquetDataset::open(&files, columns, name, self.classes, self.root)
    }

    fn table(&self, columns: &Columns, images: &str) -> Result<table::TableDataset> {
        let files = matching(self.root, &self.split.files)?;
        let reading = table::TableReading {
            columns,
            images: (!images.is_empty()).then(|| self.root.join(images)),
            split: &self.split.name,
            classes: self.classes,
            checked: true,
        };
        table::TableDataset::open(&files, &reading)
    }

    fn webdataset(&self, captions: bool) -> Result<webdataset::Webdataset> {
        let kind = if captions {
            webdataset::SampleKind::Captions
        } else {
            webdataset::SampleKind::Labels(self.classes)
        };
        webdataset::Webdataset::open(&self.rows(), kind, self.root)
    }

    fn vqa(&self, annotations: &str, images: &str) -> Result<listing::Listing> {
        let fill = |path: &str| self.root.join(self.split.fill(path));
        let mut folder = fill(images);
        // COCO's archive holds a folder of its own name.
        let packed = folder.with_added_extension("zip");
        if !folder.is_dir() && packed.is_file() {
            folder = packed.join(folder.file_name().unwrap_or_default());
        }
        vqa::open(&fill(&self.split.files), &fill(annotations), &folder)
    }
}
