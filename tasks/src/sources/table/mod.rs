//! Tables as people keep them: CSV, TSV, JSON lines and JSON lists, with images as paths from the
//! table's folder or from one that is named.

mod delimited;
mod json;
mod opening;
mod records;
mod roles;
mod values;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    dataset::{Dataset, Example, ImageOrigin, Label},
    folder::Folder,
};
use crate::{Columns, Error, Result};
use opening::{Opening, TableRow, inside};
use records::Records;

pub(super) use opening::TableReading;
pub(crate) use records::TABLE_ENDINGS;
pub(crate) use roles::{Wanted, roles};
pub(crate) use values::number_of;

/// A table's rows.
pub(super) struct TableDataset {
    records: Records,
    columns: Columns,
    folder: Folder,
    /// The record of each row; of images with captions in several records the first. None where
    /// every record is a row.
    rows: Option<Vec<usize>>,
    /// Further records of a row, by its place.
    more: HashMap<usize, Vec<usize>>,
    labels: Vec<Label>,
    ids: Vec<String>,
    /// The place of each row's image among the paths.
    images: Vec<u32>,
    paths: Vec<String>,
    notes: Vec<String>,
}

impl TableDataset {
    /// Opens files, and reads of each row what is small.
    ///
    /// # Errors
    /// Where a file is damaged or a row lacks what is read of it; the error names file, row and
    /// column.
    pub(super) fn open(files: &[PathBuf], reading: &TableReading) -> Result<Self> {
        let records = Records::open(files)?;
        let first = files.first().map_or(Path::new(""), PathBuf::as_path);
        let own = first.parent().unwrap_or(Path::new("")).to_owned();
        let columns = reading.columns;
        check_columns(first, &records, columns)?;
        let mut table = Self {
            notes: records.notes(),
            columns: columns.clone(),
            folder: Folder::open(reading.images.as_ref().unwrap_or(&own))?,
            rows: None,
            more: HashMap::new(),
            labels: Vec::new(),
            ids: Vec::new(),
            images: Vec::new(),
            paths: Vec::new(),
            records,
        };
        table.read_rows(reading)?;
        table.repeat_answers();
        table.notes.extend(table.unread());
        if reading.checked {
            table.check_ids()?;
            table.check_images()?;
        }
        Ok(table)
    }

    fn read_rows(&mut self, reading: &TableReading) -> Result<()> {
        let columns = reading.columns;
        let small = [
            &columns.id,
            &columns.image,
            &columns.label,
            &columns.answers,
            &columns.group,
            &columns.split,
        ];
        // What is not checked is read where it is drawn.
        if !reading.checked || small.into_iter().all(String::is_empty) {
            return Ok(());
        }
        let mut open = Opening::default();
        for number in 0..self.records.len() {
            let record = self.records.read(number)?;
            let row = open.row(&record, &self.records.columns, reading);
            let row = row.map_err(|reason| self.records.wrong(number, reason))?;
            if let Some(row) = row {
                self.add(number, row, &mut open);
            }
        }
        self.paths = open.paths;
        Ok(())
    }

    fn add(&mut self, number: usize, row: TableRow, open: &mut Opening) {
        let rows = self.rows.get_or_insert_default();
        let place = rows.len();
        if let Some(group) = row.group.filter(|_| !self.columns.captions.is_empty()) {
            let owner = *open.groups.entry(group).or_insert(place);
            if owner < place {
                self.more.entry(owner).or_default().push(number);
                return;
            }
        }
        rows.push(number);
        self.labels.extend(row.label);
        self.ids.extend(row.id);
        self.images.extend(row.image);
    }

    /// A single answer counts as that of all ten people that VQA's accuracy asks.
    fn repeat_answers(&mut self) {
        const PEOPLE: usize = 10;
        let single = |label: &Label| matches!(label, Label::Answers(given) if given.len() == 1);
        if self.labels.is_empty() || !self.labels.iter().all(single) {
            return;
        }
        for label in &mut self.labels {
            if let Label::Answers(given) = label {
                *given = std::iter::repeat_n(Arc::clone(&given[0]), PEOPLE).collect();
            }
        }
        let column = &self.columns.answers;
        self.notes.push(format!(
            "each row has one answer in {column}: it counts as given by {PEOPLE} people, so that it is right or wrong"
        ));
    }

    /// What is said of columns that nobody reads.
    fn unread(&self) -> Option<String> {
        let read = self.columns.read();
        let names = self.records.columns.iter();
        let unread: Vec<&str> = names
            .map(String::as_str)
            .filter(|name| !name.is_empty() && !name.starts_with("Unnamed: "))
            .filter(|name| !is_read(&self.records.columns, &read, name))
            .collect();
        let file = self.records.files.first()?.path.file_name()?;
        (!unread.is_empty()).then(|| {
            let (file, unread) = (file.to_string_lossy(), unread.join(", "));
            format!("{file}: columns that are not read: {unread}")
        })
    }

    /// No id is there twice.
    fn check_ids(&self) -> Result<()> {
        let mut seen = HashMap::with_capacity(self.ids.len());
        for (place, id) in self.ids.iter().enumerate() {
            if let Some(before) = seen.insert(id.as_str(), place) {
                let (_, first) = self.records.place(self.record_of(before));
                let column = &self.columns.id;
                let reason = format!(
                    "column {column}: the id {id:?} is there already, in row {}; say id = \"\" in columns to number the rows",
                    first + 1
                );
                return Err(self.records.wrong(self.record_of(place), reason));
            }
        }
        Ok(())
    }

    /// Every image is there.
    fn check_images(&self) -> Result<()> {
        let missing = self.folder.missing(self.paths.iter().map(Path::new));
        let lacks = |row: &usize| missing[self.images[*row] as usize];
        let lacking: Vec<usize> = (0..self.images.len()).filter(lacks).collect();
        let Some(&first) = lacking.first() else {
            return Ok(());
        };
        let path = &self.paths[self.images[first] as usize];
        let (count, rows) = (lacking.len(), self.len());
        let (column, folder) = (&self.columns.image, self.folder.path().display());
        let reason = format!(
            "column {column}: the image {path:?} is not in {folder} ({count} of {rows} rows lack theirs)"
        );
        Err(self.records.wrong(self.record_of(first), reason))
    }

    /// The (first) record of a row.
    fn record_of(&self, row: usize) -> usize {
        self.rows.as_ref().map_or(row, |rows| rows[row])
    }

    /// The path of a row's image from its folder; None where none is read.
    fn path_of(&self, row: usize) -> Result<Option<PathBuf>> {
        if self.columns.image.is_empty() {
            return Ok(None);
        }
        if let Some(place) = self.images.get(row) {
            return Ok(Some(PathBuf::from(&self.paths[*place as usize])));
        }
        let number = self.record_of(row);
        let record = self.records.read(number)?;
        let path = record.text(&self.records.columns, &self.columns.image);
        let path = path.and_then(|path| inside(path, &self.columns));
        let path = path.map_err(|reason| self.records.wrong(number, reason))?;
        Ok(Some(path.into()))
    }

    /// The texts of the record `number`.
    fn texts_in(&self, number: usize) -> Result<Vec<String>> {
        let record = self.records.read(number)?;
        let names = &self.records.columns;
        let (columns, mut texts) = (&self.columns, Vec::new());
        let read = || -> std::result::Result<Vec<String>, String> {
            if !columns.captions.is_empty() {
                return record.texts(names, &columns.captions);
            }
            let one = |column: &String| record.text(names, column);
            columns.texts.iter().map(one).collect()
        };
        texts.extend(read().map_err(|reason| self.records.wrong(number, reason))?);
        Ok(texts)
    }
}

/// Whether a column is among those that are read.
fn is_read(names: &[String], read: &[&str], name: &str) -> bool {
    read.iter().any(|pattern| {
        values::columns_of(names, pattern)
            .iter()
            .any(|own| own == name)
    })
}

/// Every column that is read is there.
fn check_columns(path: &Path, records: &Records, columns: &Columns) -> Result<()> {
    for pattern in columns.read() {
        let found = values::columns_of(&records.columns, pattern);
        let there = |name: &String| records.columns.contains(name);
        if found.is_empty() || !found.iter().all(there) {
            let near = flava_base::did_you_mean(pattern, &records.columns, 1);
            let known = records.columns.join(", ");
            let reason = format!("has no column {pattern}, only {known}{near}");
            return Err(Error::data(path, reason));
        }
    }
    Ok(())
}

/// The names of a table's columns.
pub(super) fn column_names(files: &[PathBuf]) -> Result<Vec<String>> {
    let first = files.first().cloned();
    Ok(Records::open(&Vec::from_iter(first))?.columns)
}

/// What stands in a column, as text; None where nothing does. A row that is of another split is
/// left out.
pub(super) fn column_values(
    files: &[PathBuf],
    columns: &Columns,
    split: &str,
) -> Result<Vec<Option<String>>> {
    let records = Records::open(files)?;
    let mut values = Vec::with_capacity(records.len());
    for number in 0..records.len() {
        let record = records.read(number)?;
        let names = &records.columns;
        let wrong = |reason: String| records.wrong(number, reason);
        if !columns.split.is_empty() {
            let of = record.text(names, &columns.split).map_err(wrong)?;
            if of != split {
                continue;
            }
        }
        let cell = record.cell(names, &columns.label).map_err(wrong)?;
        let text = cell.map(|_| record.text(names, &columns.label));
        values.push(text.transpose().map_err(wrong)?);
    }
    Ok(values)
}

impl Dataset for TableDataset {
    fn len(&self) -> usize {
        self.rows.as_ref().map_or(self.records.len(), Vec::len)
    }

    fn id(&self, index: usize) -> String {
        if let Some(id) = self.ids.get(index) {
            return id.clone();
        }
        let (file, row) = self.records.place(self.record_of(index));
        // Of one file its name says nothing, and whoever renames it changes no row.
        if self.records.files.len() == 1 {
            return (row + 1).to_string();
        }
        let name = file.path.file_name().unwrap_or_default().to_string_lossy();
        format!("{name}:{}", row + 1)
    }

    fn label(&self, index: usize) -> Label {
        self.labels.get(index).cloned().unwrap_or(Label::None)
    }

    fn cluster(&self, index: usize) -> usize {
        self.images
            .get(index)
            .map_or(index, |place| *place as usize)
    }

    fn texts(&self, index: usize) -> usize {
        self.texts_of(index).map_or(0, |texts| texts.len())
    }

    fn class_names(&self) -> Option<&[String]> {
        Some(self.columns.label_names.as_slice()).filter(|names| !names.is_empty())
    }

    fn notes(&self) -> Vec<String> {
        self.notes.clone()
    }

    fn image_origin(&self, index: usize) -> ImageOrigin {
        let path = self.path_of(index).ok().flatten();
        path.map_or(ImageOrigin::None, |path| self.folder.origin(&path))
    }

    fn texts_of(&self, index: usize) -> Result<Vec<String>> {
        let mut texts = self.texts_in(self.record_of(index))?;
        for &number in self.more.get(&index).into_iter().flatten() {
            texts.extend(self.texts_in(number)?);
        }
        Ok(texts)
    }

    fn get(&self, index: usize) -> Result<Example> {
        let path = self.path_of(index)?;
        let image = path.map(|path| self.folder.read(&path)).transpose()?;
        Ok(Example {
            id: self.id(index),
            image,
            texts: self.texts_of(index)?,
            label: self.label(index),
        })
    }
}
