//! Rows that are listed in full when a split is opened, with images that are read when they are
//! asked for.

use std::{
    collections::HashMap,
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use super::{
    dataset::{Dataset, Example, ImageOrigin, Label, checked_label},
    folder::Folder,
    raw_images::{Pixels, bmp},
};
use crate::{Error, Result};
use flava_base::path_text;

/// Where a row's image is.
#[derive(Clone, Debug)]
pub(super) enum ImageAt {
    /// A file below the listing's folder.
    File(PathBuf),
    /// One of the listing's unpacked images.
    Pixels(usize),
    /// Not here.
    Elsewhere,
}

/// One row.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) id: String,
    pub(super) image: ImageAt,
    pub(super) texts: Vec<String>,
    pub(super) label: Label,
    /// Rows of the same cluster share an image.
    pub(super) cluster: usize,
}

impl Row {
    /// An image file and its class.
    pub(super) fn of_file(file: impl Into<PathBuf>, class: usize) -> Self {
        let file = file.into();
        Self {
            id: path_text(&file),
            image: ImageAt::File(file),
            texts: Vec::new(),
            label: Label::Class(class),
            cluster: 0,
        }
    }

    /// An unpacked image and its class.
    pub(super) fn of_pixels(index: usize, class: usize) -> Self {
        Self {
            id: index.to_string(),
            image: ImageAt::Pixels(index),
            texts: Vec::new(),
            label: Label::Class(class),
            cluster: 0,
        }
    }
}

/// The rows of a split.
pub(super) struct Listing {
    folder: Folder,
    rows: Vec<Row>,
    pixels: Option<Arc<dyn Pixels>>,
    class_names: Vec<String>,
    /// The kind of each row; none where they have no kinds.
    slices: Vec<Arc<str>>,
    notes: Vec<String>,
}

impl Listing {
    /// Rows whose images are files below `folder`; all of them must be there.
    pub(super) fn of_files(folder: &Path, rows: Vec<Row>) -> Result<Self> {
        Self::in_folder(Folder::open(folder)?, rows)
    }

    /// The same of a folder that was opened.
    pub(super) fn in_folder(folder: Folder, rows: Vec<Row>) -> Result<Self> {
        let mut listing = Self::new(folder, rows, None);
        listing.number_clusters();
        listing.check_files()?;
        Ok(listing)
    }

    /// Rows whose images are elsewhere.
    pub(super) fn without_images(folder: &Path, rows: Vec<Row>) -> Self {
        Self::new(Folder::Disk(folder.to_owned()), rows, None)
    }

    fn new(folder: Folder, rows: Vec<Row>, pixels: Option<Arc<dyn Pixels>>) -> Self {
        Self {
            folder,
            rows,
            pixels,
            class_names: Vec::new(),
            slices: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// With what a reader of its numbers should know.
    pub(super) fn with_notes(mut self, notes: Vec<String>) -> Self {
        self.notes = notes;
        self
    }

    /// Rows whose images are unpacked.
    pub(super) fn of_pixels(folder: &Path, classes: Vec<usize>, pixels: Arc<dyn Pixels>) -> Self {
        let rows = classes
            .into_iter()
            .enumerate()
            .map(|(index, class)| Row::of_pixels(index, class))
            .collect();
        let mut listing = Self::new(Folder::Disk(folder.to_owned()), rows, Some(pixels));
        listing.number_clusters();
        listing
    }

    /// With the names of the classes in the order of the labels.
    pub(super) fn with_class_names(mut self, names: Vec<String>) -> Self {
        self.class_names = names;
        self
    }

    /// With the kind of each row; kinds that are not told for all are none.
    pub(super) fn with_slices(mut self, slices: Vec<Arc<str>>) -> Self {
        let told = slices.len() == self.rows.len() && slices.iter().all(|slice| !slice.is_empty());
        self.slices = if told { slices } else { Vec::new() };
        self
    }

    /// Checks that every class is one of `classes`.
    pub(super) fn checked(self, classes: usize) -> Result<Self> {
        for row in &self.rows {
            if let Label::Class(class) = row.label {
                checked_label(self.folder.path(), &row.id, class as i64, classes)?;
            }
        }
        Ok(self)
    }

    /// Rows that name the same file share a cluster.
    fn number_clusters(&mut self) {
        let mut first: HashMap<&Path, usize> = HashMap::new();
        let clusters: Vec<usize> = self
            .rows
            .iter()
            .enumerate()
            .map(|(index, row)| match &row.image {
                ImageAt::File(file) => *first.entry(file).or_insert(index),
                ImageAt::Pixels(image) => *image,
                ImageAt::Elsewhere => index,
            })
            .collect();
        self.rows
            .iter_mut()
            .zip(clusters)
            .for_each(|(row, cluster)| row.cluster = cluster);
    }

    /// A file is below the folder.
    fn check_inside(&self, id: &str, file: &Path) -> Result<()> {
        let leads_out = file
            .components()
            .any(|part| !matches!(part, Component::Normal(_) | Component::CurDir));
        if leads_out || file.to_string_lossy().split('\\').any(|part| part == "..") {
            let file = path_text(file);
            let reason = format!("{id} names the image {file}, outside its folder");
            return Err(Error::data(self.folder.path(), reason));
        }
        Ok(())
    }

    /// Every file is below the folder and exists.
    fn check_files(&self) -> Result<()> {
        let mut files: Vec<(usize, &Path)> = Vec::new();
        for (index, row) in self.rows.iter().enumerate() {
            if let ImageAt::File(file) = &row.image {
                self.check_inside(&row.id, file)?;
                files.push((index, file));
            }
        }
        let missing = self.folder.missing(files.iter().map(|(_, file)| *file));
        let missing: Vec<(usize, &Path)> = files
            .into_iter()
            .zip(missing)
            .filter_map(|(file, is_missing)| is_missing.then_some(file))
            .collect();
        self.check_none_missing(&missing)
    }

    fn check_none_missing(&self, missing: &[(usize, &Path)]) -> Result<()> {
        let Some((index, file)) = missing.first() else {
            return Ok(());
        };
        let (count, rows, id) = (missing.len(), self.rows.len(), &self.rows[*index].id);
        let reason = format!(
            "lacks {count} of {rows} images; the first is {} (row {index}, {id})",
            path_text(file)
        );
        Err(Error::data(self.folder.path(), reason))
    }
}

impl Dataset for Listing {
    fn len(&self) -> usize {
        self.rows.len()
    }

    fn id(&self, index: usize) -> String {
        self.rows[index].id.clone()
    }

    fn label(&self, index: usize) -> Label {
        self.rows[index].label.clone()
    }

    fn cluster(&self, index: usize) -> usize {
        self.rows[index].cluster
    }

    fn texts(&self, index: usize) -> usize {
        self.rows[index].texts.len()
    }

    fn slice(&self, index: usize) -> Option<&str> {
        self.slices.get(index).map(|slice| &**slice)
    }

    fn class_names(&self) -> Option<&[String]> {
        Some(self.class_names.as_slice()).filter(|names| !names.is_empty())
    }

    fn notes(&self) -> Vec<String> {
        self.notes.clone()
    }

    fn image_origin(&self, index: usize) -> ImageOrigin {
        match (&self.rows[index].image, &self.pixels) {
            (ImageAt::File(file), _) => self.folder.origin(file),
            (ImageAt::Pixels(image), Some(pixels)) => ImageOrigin::Part {
                files: pixels.files(),
                at: *image as u64,
            },
            (ImageAt::Pixels(_), None) | (ImageAt::Elsewhere, _) => ImageOrigin::None,
        }
    }

    fn texts_of(&self, index: usize) -> Result<Vec<String>> {
        Ok(self.rows[index].texts.clone())
    }

    fn get(&self, index: usize) -> Result<Example> {
        let Row {
            id,
            image,
            texts,
            label,
            ..
        } = self.rows[index].clone();
        let image = match (&image, &self.pixels) {
            (ImageAt::Elsewhere, _) => None,
            (ImageAt::File(file), _) => Some(self.folder.read(file)?),
            (ImageAt::Pixels(image), Some(pixels)) => {
                let image = bmp(&pixels.read(*image)?, pixels.size());
                Some(image.map_err(|e| Error::data(self.folder.path(), e))?)
            }
            (ImageAt::Pixels(_), None) => {
                return Err(Error::data(
                    self.folder.path(),
                    format!("{id} has no image"),
                ));
            }
        };
        Ok(Example {
            id,
            image,
            texts,
            label,
        })
    }
}
