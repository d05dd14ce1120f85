//! Rows without labels, which a model is to answer for: images below a folder, texts of a file, or
//! a table.

use std::{path::Path, sync::Arc};

use super::{
    corpus::image_folder,
    dataset::{Dataset, Example, ImageOrigin, Label},
    parquet::{self, is_parquet},
    reading::{guarded, read_text},
    split::OpenSplit,
    table::{TableDataset, TableReading, Wanted, column_names, roles},
};
use crate::{Columns, Error, Result};

/// What a model is to answer for.
#[derive(Clone, Copy, Debug)]
pub enum Inputs<'a> {
    /// All images below a folder; ids are their paths.
    Images(&'a Path),
    /// A text on each line of a file; ids are the numbers of the lines.
    Texts(&'a Path),
    /// The same, and a line without a text is one.
    Lines(&'a Path),
    /// A table or a parquet file.
    Table(&'a Path, &'a Columns),
}

impl Inputs<'_> {
    /// Opens them.
    ///
    /// # Errors
    /// If they are not there, are damaged, or a table has no column of images or texts.
    pub fn open(&self) -> Result<OpenSplit> {
        let (path, dataset): (&Path, Arc<dyn Dataset>) = match *self {
            Self::Images(folder) => (folder, Arc::new(image_folder(folder)?)),
            Self::Texts(file) => (file, Arc::new(TextLines::open(file)?.whole(file)?)),
            Self::Lines(file) => (file, Arc::new(TextLines::open(file)?)),
            Self::Table(file, columns) => (file, guarded(file, || open_table(file, columns))?),
        };
        if dataset.is_empty() {
            return Err(Error::data(path, "holds no row to answer for"));
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        Ok(OpenSplit {
            expected: dataset.len(),
            dataset,
            name: name.into_owned(),
        })
    }
}

fn open_table(file: &Path, given: &Columns) -> Result<Arc<dyn Dataset>> {
    let found = |names: Vec<String>| {
        roles(&names, given, Wanted::Inputs).map_err(|reason| Error::data(file, reason))
    };
    let files = [file.to_owned()];
    if is_parquet(file) {
        let columns = found(parquet::column_names(file)?)?;
        let root = file.parent().unwrap_or(Path::new(""));
        let rows = parquet::ParquetDataset::open(&files, &columns, "", 0, root)?;
        return Ok(Arc::new(rows));
    }
    let columns = found(column_names(&files)?)?;
    let reading = TableReading {
        columns: &columns,
        images: None,
        split: "",
        classes: 0,
        checked: true,
    };
    Ok(Arc::new(TableDataset::open(&files, &reading)?))
}

/// Whether a table of images has a column of labels.
///
/// # Errors
/// If it cannot be read.
pub fn has_labels(file: &Path, given: &Columns) -> Result<bool> {
    let names = if is_parquet(file) {
        parquet::column_names(file)?
    } else {
        column_names(&[file.to_owned()])?
    };
    let columns = roles(&names, given, Wanted::LabelledImages);
    Ok(columns.is_ok_and(|columns| !columns.label.is_empty()))
}

/// The lines of a file.
struct TextLines {
    lines: Vec<String>,
}

impl TextLines {
    fn open(file: &Path) -> Result<Self> {
        let text = read_text(file)?;
        let lines = text.lines().map(str::to_owned).collect();
        Ok(Self { lines })
    }

    /// No line is empty.
    fn whole(self, file: &Path) -> Result<Self> {
        let empty = self.lines.iter().position(|line| line.trim().is_empty());
        match empty {
            Some(row) => Err(Error::data(file, format!("line {} is empty", row + 1))),
            None => Ok(self),
        }
    }
}

impl Dataset for TextLines {
    fn len(&self) -> usize {
        self.lines.len()
    }

    fn id(&self, index: usize) -> String {
        (index + 1).to_string()
    }

    fn label(&self, _index: usize) -> Label {
        Label::None
    }

    fn texts(&self, _index: usize) -> usize {
        1
    }

    fn image_origin(&self, _index: usize) -> ImageOrigin {
        ImageOrigin::None
    }

    fn get(&self, index: usize) -> Result<Example> {
        Ok(Example {
            id: self.id(index),
            image: None,
            texts: vec![self.lines[index].clone()],
            label: Label::None,
        })
    }
}
