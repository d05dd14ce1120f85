//! What is read of a table's rows when it is opened.

use std::{collections::HashMap, path::PathBuf};

use super::records::Record;
use crate::{
    Columns,
    sources::{dataset::Label, reading::leads_out, vqa::Interner},
};

/// How a table is read.
pub(in super::super) struct TableReading<'a> {
    /// What its columns are.
    pub(in super::super) columns: &'a Columns,
    /// The folder that images are named from; None is the table's own.
    pub(in super::super) images: Option<PathBuf>,
    /// The rows of this split, where a column tells splits.
    pub(in super::super) split: &'a str,
    /// How many classes there are; 0 where labels are values.
    pub(in super::super) classes: usize,
    /// Whether every image must be there when the table is opened.
    pub(in super::super) checked: bool,
}

/// What is remembered from one row to the next while a table is opened.
#[derive(Default)]
pub(super) struct Opening {
    interner: Interner,
    /// The first row of each group.
    pub(super) groups: HashMap<String, usize>,
    places: HashMap<String, u32>,
    /// The paths of all images.
    pub(super) paths: Vec<String>,
}

/// What is small of a row.
pub(super) struct TableRow {
    pub(super) id: Option<String>,
    pub(super) image: Option<u32>,
    pub(super) label: Option<Label>,
    pub(super) group: Option<String>,
}

impl Opening {
    /// What is small of a record; None where it is of another split.
    pub(super) fn row(
        &mut self,
        record: &Record,
        names: &[String],
        reading: &TableReading,
    ) -> std::result::Result<Option<TableRow>, String> {
        let columns = reading.columns;
        let text = |column: &String| {
            let named = Some(column).filter(|column| !column.is_empty());
            named.map(|column| record.text(names, column)).transpose()
        };
        if text(&columns.split)?.is_some_and(|split| split != reading.split) {
            return Ok(None);
        }
        let image = text(&columns.image)?;
        let label = if !columns.label.is_empty() {
            Some(record.label(names, columns, reading.classes)?)
        } else if columns.answers.is_empty() {
            None
        } else {
            let answers = record.texts(names, &columns.answers)?;
            let answers = answers.iter().map(|answer| self.interner.get(answer));
            Some(Label::Answers(answers.collect()))
        };
        Ok(Some(TableRow {
            id: text(&columns.id)?,
            group: text(&columns.group)?,
            image: image.map(|path| self.image(path, columns)).transpose()?,
            label,
        }))
    }

    /// The place of a path among all.
    fn image(&mut self, path: String, columns: &Columns) -> std::result::Result<u32, String> {
        if let Some(place) = self.places.get(&path) {
            return Ok(*place);
        }
        let path = inside(path, columns)?;
        let place = self.paths.len() as u32;
        self.places.insert(path.clone(), place);
        self.paths.push(path);
        Ok(place)
    }
}

/// A path of an image that does not leave the table's folder.
pub(super) fn inside(path: String, columns: &Columns) -> std::result::Result<String, String> {
    let column = &columns.image;
    if path.contains("://") {
        return Err(format!(
            "column {column}: {path:?} is an address; fetch the images first, and name their files"
        ));
    }
    if leads_out(&path) {
        return Err(format!(
            "column {column}: the image {path:?} is outside of the table's folder; paths are read from there"
        ));
    }
    Ok(path)
}
