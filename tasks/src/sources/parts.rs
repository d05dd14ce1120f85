//! The rows of a split that is a part of its files.

use std::{collections::HashMap, path::Path, sync::Arc};

use super::dataset::{Dataset, Example, ImageOrigin, Label};
use crate::{Error, Result, Split};

/// Some rows of a data set, in their order.
struct Chosen {
    dataset: Arc<dyn Dataset>,
    rows: Vec<usize>,
}

/// By what each of some rows of a data set falls to a part: the smallest id of the rows that share
/// its image, so that those fall to one part together.
pub fn part_ids(dataset: &dyn Dataset, rows: &[usize]) -> Vec<String> {
    let mut smallest: HashMap<usize, String> = HashMap::new();
    for &row in rows {
        let id = dataset.id(row);
        let kept = smallest.entry(dataset.cluster(row));
        let kept = kept.or_insert_with(|| id.clone());
        if id < *kept {
            *kept = id;
        }
    }
    let id = |row: &usize| smallest[&dataset.cluster(*row)].clone();
    rows.iter().map(id).collect()
}

/// The rows of a data set that a split has.
///
/// # Errors
/// If there are none.
pub(super) fn chosen(
    dataset: Arc<dyn Dataset>,
    split: &Split,
    root: &Path,
) -> Result<Arc<dyn Dataset>> {
    if !split.is_part() {
        return Ok(dataset);
    }
    let all: Vec<usize> = (0..dataset.len()).collect();
    let ids = part_ids(&*dataset, &all);
    let rows: Vec<usize> = all
        .into_iter()
        .filter(|&row| split.has(&ids[row]))
        .collect();
    if rows.is_empty() {
        let (name, all) = (&split.name, dataset.len());
        let reason = format!("none of its {all} rows falls to split {name}: give a file for it");
        return Err(Error::data(root, reason));
    }
    Ok(Arc::new(Chosen { dataset, rows }))
}

impl Dataset for Chosen {
    fn len(&self) -> usize {
        self.rows.len()
    }

    fn id(&self, index: usize) -> String {
        self.dataset.id(self.rows[index])
    }

    fn label(&self, index: usize) -> Label {
        self.dataset.label(self.rows[index])
    }

    fn cluster(&self, index: usize) -> usize {
        self.dataset.cluster(self.rows[index])
    }

    fn texts(&self, index: usize) -> usize {
        self.dataset.texts(self.rows[index])
    }

    fn slice(&self, index: usize) -> Option<&str> {
        self.dataset.slice(self.rows[index])
    }

    fn class_names(&self) -> Option<&[String]> {
        self.dataset.class_names()
    }

    fn notes(&self) -> Vec<String> {
        self.dataset.notes()
    }

    fn image_origin(&self, index: usize) -> ImageOrigin {
        self.dataset.image_origin(self.rows[index])
    }

    fn get(&self, index: usize) -> Result<Example> {
        self.dataset.get(self.rows[index])
    }

    fn texts_of(&self, index: usize) -> Result<Vec<String>> {
        self.dataset.texts_of(self.rows[index])
    }
}
