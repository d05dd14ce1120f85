//! A split that was opened: its rows, in the task's numbering of the classes.

use std::sync::Arc;

use super::{
    dataset::{Dataset, Label},
    label_space::{LabelSpace, Renumbered},
};
use crate::Split;

/// A split that was opened, and where it came from.
#[derive(Clone)]
pub struct OpenSplit {
    /// Its rows.
    pub dataset: Arc<dyn Dataset>,
    /// As the source calls it.
    pub name: String,
    /// Rows that the complete split has.
    pub expected: usize,
}

impl OpenSplit {
    /// Renumbers the classes as `space` has them, where the split names its own; a note where that
    /// changed anything.
    ///
    /// # Errors
    /// If the names are not the same.
    pub fn renumber(&mut self, space: &LabelSpace) -> std::result::Result<Option<String>, String> {
        let Some(names) = self.dataset.class_names() else {
            return Ok(None);
        };
        let Some(map) = space.map(&format!("split {}", self.name), names)? else {
            return Ok(None);
        };
        let note = format!(
            "the classes of split {} stand in another order than those of {}: mapped by name",
            self.name, space.of
        );
        let dataset = Arc::clone(&self.dataset);
        self.dataset = Arc::new(Renumbered::new(dataset, map, space.names.clone()));
        Ok(Some(note))
    }

    /// How the split differs from what its source's row says: number of rows, of captions, ids that
    /// occur twice, and, where a task is `labelled`, rows that have no label.
    pub fn mismatches(&self, split: &Split, labelled: bool) -> Vec<String> {
        let mut found = Vec::new();
        let rows = self.dataset.len();
        if split.rows > 0 && rows != split.rows {
            found.push(format!(
                "split {} has {rows} rows, {} are expected",
                self.name, split.rows
            ));
        }
        if let Some(expected) = split.captions {
            let captions: usize = (0..rows).map(|index| self.dataset.texts(index)).sum();
            if captions != expected {
                found.push(format!(
                    "split {} has {captions} captions, {expected} are expected",
                    self.name
                ));
            }
        }
        found.extend(self.unlabelled(labelled));
        found.extend(self.repeated_id());
        found
    }

    /// How many rows of a `labelled` task have no label, if any.
    fn unlabelled(&self, labelled: bool) -> Option<String> {
        let silent = (0..self.dataset.len())
            .filter(|index| labelled && self.dataset.label(*index) == Label::None)
            .count();
        let told = || format!("split {} has {silent} rows without a label", self.name);
        (silent > 0).then(told)
    }

    /// An id that occurs twice, if one does.
    fn repeated_id(&self) -> Option<String> {
        let rows = self.dataset.len();
        let mut ids: Vec<String> = (0..rows).map(|index| self.dataset.id(index)).collect();
        ids.sort_unstable();
        let [id, _] = ids.array_windows::<2>().find(|[a, b]| a == b)?;
        Some(format!("split {} has the id {id} twice", self.name))
    }
}
