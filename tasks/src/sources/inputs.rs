//! Rows without labels, which a model is to answer for: images below a folder, texts of a file, or
//! a table.

use std::{path::Path, sync::Arc};

use super::{
    corpus::image_folder,
    dataset::{Dataset, Example, ImageOrigin, Label},
    parquet::is_parquet,
    reading::{guarded, read_text},
    split::OpenSplit,
    table::{Wanted, roles},
    tabular::{column_names, open_rows},
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
    let columns = roles(&column_names(file)?, given, Wanted::Inputs);
    let columns = columns.map_err(|reason| Error::data(file, reason))?;
    let root = file.parent().unwrap_or(Path::new(""));
    open_rows(&[file.to_owned()], &columns, is_parquet(file), root)
}

/// Whether a table of images has a column of labels.
///
/// # Errors
/// If it cannot be read.
pub fn has_labels(file: &Path, given: &Columns) -> Result<bool> {
    let columns = roles(&column_names(file)?, given, Wanted::LabelledImages);
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
