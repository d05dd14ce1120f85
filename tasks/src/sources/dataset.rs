//! Rows as every reader gives them: what is right, where the image is, and the row itself.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{Error, Result};

/// What is right for a row.
#[derive(Clone, Debug, PartialEq)]
pub enum Label {
    /// One class of many.
    Class(usize),
    /// Several classes of many.
    Classes(Vec<usize>),
    /// A number.
    Value(f64),
    /// What people answered.
    Answers(Arc<[Arc<str>]>),
    /// None: what belongs together is the row itself, or it is not told.
    None,
}

/// One row. The image stays encoded.
#[derive(Clone, Debug, PartialEq)]
pub struct Example {
    /// The same whatever is left out around it.
    pub id: String,
    /// Bytes of an image file.
    pub image: Option<Vec<u8>>,
    /// One text, a pair, or an image's captions.
    pub texts: Vec<String>,
    /// What is right.
    pub label: Label,
}

/// Where the bytes of a row's image are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageOrigin {
    /// The row has no image.
    None,
    /// A file of its own.
    File(PathBuf),
    /// A part of a file, or of several that belong together.
    Part {
        /// The files.
        files: Arc<[PathBuf]>,
        /// Which part: a row, or an offset.
        at: u64,
    },
    /// This program draws it from the row's description.
    SampledBatch(String),
}

/// Rows by index.
pub trait Dataset: Send + Sync {
    /// Number of rows.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A row's id, without reading the row.
    fn id(&self, index: usize) -> String;

    /// What is right for a row, without reading its image.
    fn label(&self, index: usize) -> Label;

    /// Rows of the same number share an image, so their errors are not independent.
    fn cluster(&self, index: usize) -> usize {
        index
    }

    /// How many texts a row has, without reading its image.
    fn texts(&self, index: usize) -> usize;

    /// The kind of a row, where scores are told by kind too, such as the type of a question's
    /// answer.
    fn slice(&self, _index: usize) -> Option<&str> {
        None
    }

    /// What the data calls its classes, in the order of the labels, if it says so.
    fn class_names(&self) -> Option<&[String]> {
        None
    }

    /// What a reader of its numbers should know: what was left out, or put in order.
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }

    /// Where the bytes of a row's image are, without reading them.
    fn image_origin(&self, index: usize) -> ImageOrigin;

    /// The row itself.
    fn get(&self, index: usize) -> Result<Example>;

    /// A row's texts, without its image where that saves reading it.
    fn texts_of(&self, index: usize) -> Result<Vec<String>> {
        Ok(self.get(index)?.texts)
    }
}

/// A label that is one of `classes`.
pub(super) fn checked_label(path: &Path, row: &str, label: i64, classes: usize) -> Result<usize> {
    let fits = usize::try_from(label).ok().filter(|&label| label < classes);
    fits.ok_or_else(|| {
        Error::data(
            path,
            format!(
                "{row}: label {label} is none of the {classes} classes 0 to {}",
                classes.saturating_sub(1)
            ),
        )
    })
}
