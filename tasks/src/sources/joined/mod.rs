//! Rows of one place with images of another: questions of a table or of official JSON, images of
//! COCO's folders, archives, parquet or shards, put together by the images' ids.

mod keys;
mod shards;
mod store;

use std::{collections::HashMap, path::Path, sync::Arc};

use self::{keys::Keys, store::ImageStore};
use super::{
    dataset::{Dataset, Example, ImageOrigin, Label},
    patterns::matching,
    tabular::column_of,
};
use crate::{Columns, Error, ImagesFrom, Result, SourceFormat, Split};

/// Rows whose images are elsewhere.
pub(super) struct Joined {
    rows: Arc<dyn Dataset>,
    images: ImageStore,
    /// The place of each row's image among all.
    places: Vec<usize>,
    /// The first row with the same image.
    clusters: Vec<usize>,
    note: String,
}

/// What each row calls its image.
///
/// # Errors
/// If the column is not there, or a row has nothing in it.
pub(super) fn keys_of_rows(
    format: &SourceFormat,
    split: &Split,
    root: &Path,
) -> Result<Vec<String>> {
    let none = || Error::data(root, "its rows say no image_key in columns");
    let (columns, is_parquet) = match format {
        SourceFormat::Parquet { columns } => (columns, true),
        SourceFormat::Table { columns, .. } => (columns, false),
        _ => return Err(none()),
    };
    if columns.image_key.is_empty() {
        return Err(none());
    }
    let files = matching(root, &split.files)?;
    let key = Columns {
        label: columns.image_key.clone(),
        split: columns.split.clone(),
        ..Columns::default()
    };
    column_of(&files, &key, &split.name, is_parquet, root)
}

impl Joined {
    /// Rows with what each calls its image, and the places of the images.
    ///
    /// # Errors
    /// If an image is nowhere, or a key means two of them.
    pub(super) fn new(
        rows: Arc<dyn Dataset>,
        keys: &[String],
        from: &[ImagesFrom],
        root: &Path,
    ) -> Result<Self> {
        if keys.len() != rows.len() {
            let (have, named) = (rows.len(), keys.len());
            let reason = format!("{have} rows are made of {named}: those cannot be joined");
            return Err(Error::data(root, reason));
        }
        let (images, known) = ImageStore::open(from)?;
        let names: Vec<String> = from.iter().map(ImagesFrom::name).collect();
        let places = places_of(&*rows, keys, &known, &names.join(", "), root)?;
        let mut first = HashMap::new();
        let numbered = places.iter().enumerate();
        let clusters = numbered
            .map(|(row, place)| *first.entry(*place).or_insert(row))
            .collect();
        let told = from.iter().map(ImagesFrom::told).collect::<Vec<_>>();
        Ok(Self {
            note: format!(
                "images are those of {}, joined by their ids",
                told.join(", ")
            ),
            rows,
            images,
            places,
            clusters,
        })
    }
}

/// The place of each row's image.
fn places_of(
    rows: &dyn Dataset,
    keys: &[String],
    known: &Keys,
    from: &str,
    root: &Path,
) -> Result<Vec<usize>> {
    let mut places = Vec::with_capacity(keys.len());
    let (mut lacking, mut first) = (0, None);
    for (row, key) in keys.iter().enumerate() {
        match known.place(key) {
            Ok(Some(place)) => places.push(place),
            Ok(None) => {
                lacking += 1;
                first.get_or_insert(row);
            }
            Err(reason) => {
                let reason = format!("{}: image {key}: {reason}", rows.id(row));
                return Err(Error::data(root, reason));
            }
        }
    }
    let Some(row) = first else {
        return Ok(places);
    };
    let (count, id, key) = (keys.len(), rows.id(row), &keys[row]);
    Err(Error::data(
        root,
        format!(
            "{lacking} of {count} rows have an image that is not in {from}; the first is {id}, with image {key}"
        ),
    ))
}

impl Dataset for Joined {
    fn len(&self) -> usize {
        self.rows.len()
    }

    fn id(&self, index: usize) -> String {
        self.rows.id(index)
    }

    fn label(&self, index: usize) -> Label {
        self.rows.label(index)
    }

    fn cluster(&self, index: usize) -> usize {
        self.clusters[index]
    }

    fn texts(&self, index: usize) -> usize {
        self.rows.texts(index)
    }

    fn slice(&self, index: usize) -> Option<&str> {
        self.rows.slice(index)
    }

    fn class_names(&self) -> Option<&[String]> {
        self.rows.class_names()
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = self.rows.notes();
        notes.push(self.note.clone());
        notes
    }

    fn image_origin(&self, index: usize) -> ImageOrigin {
        self.images.origin(self.places[index])
    }

    fn texts_of(&self, index: usize) -> Result<Vec<String>> {
        self.rows.texts_of(index)
    }

    fn get(&self, index: usize) -> Result<Example> {
        let example = self.rows.get(index)?;
        let image = self.images.read(self.places[index])?;
        Ok(Example { image, ..example })
    }
}
