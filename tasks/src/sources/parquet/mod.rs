//! Parquet as the Hub serves it, and Arrow's own files as `datasets` saves them: labels, texts and ids are read when a split is opened, images a
//! window of rows at a time.

mod file;
mod images;
mod ipc;
mod rows;
mod values;
mod windows;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    class_names,
    dataset::{Dataset, Example, ImageOrigin, Label},
    reading::guarded,
};
use crate::{Columns, Result};
pub use file::is_parquet;
use file::{ParquetFile, small_columns};
use images::ImageWindows;
use rows::{Known, Reading};
use windows::Division;

/// The files of one split.
pub(super) struct ParquetDataset {
    images: ImageWindows,
    known: Known,
    class_names: Vec<String>,
    notes: Vec<String>,
    /// The path of each file, for the origins of images.
    origins: Vec<Arc<[PathBuf]>>,
}

impl ParquetDataset {
    /// Opens `files`, checks their columns and reads all that is small.
    pub(super) fn open(
        files: &[PathBuf],
        columns: &Columns,
        split: &str,
        classes: usize,
        root: &Path,
    ) -> Result<Self> {
        let mut dataset = Self {
            images: ImageWindows::new(&columns.image),
            known: Known::default(),
            class_names: Vec::new(),
            notes: Vec::new(),
            origins: Vec::new(),
        };
        let mut reading = Reading::new(columns, split, classes);
        let mut rows = 0;
        for path in files {
            rows += guarded(path, || dataset.add(path, rows, &mut reading))?;
        }
        dataset.class_names = match (columns.label_names.as_slice(), reading.space) {
            // Where labels are texts, the row's names give them their numbers.
            ([_, ..], None) => columns.label_names.clone(),
            (_, Some(space)) => space.names,
            ([], None) => class_names::of_readme(root, &columns.label).unwrap_or_default(),
        };
        Ok(dataset)
    }

    /// Adds a file, which starts with row `start` of all; returns its number of rows.
    fn add(&mut self, path: &Path, start: usize, reading: &mut Reading) -> Result<usize> {
        let file = ParquetFile::open(path)?;
        file.check_columns(reading.columns)?;
        self.notes.extend(reading.map_classes(&file)?);
        let Division { windows, rows } = Division::new(&file, self.images.files(), start)?;
        if small_columns(reading.columns).is_empty() {
            self.known.number(&file, start, rows);
        } else {
            self.known.read(&file, start, rows, reading)?;
        }
        self.origins.push([path.to_owned()].into());
        self.images.add(file, windows);
        Ok(rows)
    }
}

/// The names of a file's columns.
pub(super) fn column_names(path: &Path) -> Result<Vec<String>> {
    let file = guarded(path, || ParquetFile::open(path))?;
    let fields = file.schema().fields().iter();
    Ok(fields.map(|field| field.name().clone()).collect())
}

/// The names of the classes that the files, or the README of their folder, tell.
pub(super) fn named_classes(
    files: &[PathBuf],
    columns: &Columns,
    root: &Path,
) -> Result<Option<Vec<String>>> {
    let mut reading = Reading::new(columns, "", 0);
    for path in files {
        let file = guarded(path, || ParquetFile::open(path))?;
        reading.map_classes(&file)?;
    }
    let of_files = reading.space.map(|space| space.names);
    Ok(of_files.or_else(|| class_names::of_readme(root, &columns.label)))
}

/// What stands in the column of the labels, as text; None where nothing does.
pub(super) fn column_values(
    files: &[PathBuf],
    columns: &Columns,
    split: &str,
) -> Result<Vec<Option<String>>> {
    let mut all = Vec::new();
    for path in files {
        let file = ParquetFile::open(path)?;
        file.check_columns(columns)?;
        all.extend(rows::column_values(&file, columns, split)?);
    }
    Ok(all)
}

impl Dataset for ParquetDataset {
    fn len(&self) -> usize {
        self.known.row.len()
    }

    fn id(&self, index: usize) -> String {
        self.known.id[index].clone()
    }

    fn label(&self, index: usize) -> Label {
        self.known.label.get(index).cloned().unwrap_or(Label::None)
    }

    fn cluster(&self, index: usize) -> usize {
        self.known.cluster.get(index).copied().unwrap_or(index)
    }

    fn texts(&self, index: usize) -> usize {
        self.known.texts.get(index).map_or(0, Vec::len)
    }

    fn class_names(&self) -> Option<&[String]> {
        Some(self.class_names.as_slice()).filter(|names| !names.is_empty())
    }

    fn notes(&self) -> Vec<String> {
        self.notes.clone()
    }

    fn texts_of(&self, index: usize) -> Result<Vec<String>> {
        Ok(self.known.texts.get(index).cloned().unwrap_or_default())
    }

    fn image_origin(&self, index: usize) -> ImageOrigin {
        if !self.images.are_read() {
            return ImageOrigin::None;
        }
        let (file, row) = self.images.origin(self.known.row[index]);
        ImageOrigin::Part {
            files: Arc::clone(&self.origins[file]),
            at: row as u64,
        }
    }

    fn get(&self, index: usize) -> Result<Example> {
        let image = if self.images.are_read() {
            self.images.image(self.known.row[index])?
        } else {
            None
        };
        let texts = self.known.texts.get(index).cloned().unwrap_or_default();
        Ok(Example {
            id: self.id(index),
            image,
            texts,
            label: self.label(index),
        })
    }
}
