//! Which prediction belongs to which row: each row has one, and there is none besides.

use std::collections::HashMap;

use super::Foreign;
use crate::{Dataset, Result};

/// Missing or unknown ids that a message lists.
const LISTED: usize = 3;

impl Foreign {
    /// For each row of `dataset`, its place in the file.
    pub(super) fn positions(&self, dataset: &dyn Dataset) -> Result<Vec<usize>> {
        let mut positions = HashMap::with_capacity(self.ids.len());
        for (position, id) in self.ids.iter().enumerate() {
            if positions.insert(id.as_str(), position).is_some() {
                return Err(self.broken(format!("the id {id} is there twice")));
            }
        }
        let names = self.names_of(dataset)?;
        let found = names.iter().map(|id| positions.remove(id.as_str()));
        let found: Vec<Option<usize>> = found.collect();
        self.check_missing(&names, &found)?;
        self.check_strange(positions.into_keys().collect())?;
        Ok(found.into_iter().flatten().collect())
    }

    /// What the file calls the rows.
    ///
    /// # Errors
    /// If two of them have one name.
    fn names_of(&self, dataset: &dyn Dataset) -> Result<Vec<String>> {
        let mut names = Vec::with_capacity(dataset.len());
        let mut seen = HashMap::new();
        for row in 0..dataset.len() {
            let id = self.name(dataset.id(row));
            if let Some(before) = seen.insert(id.clone(), row) {
                let reason = format!(
                    "the data has the id {id} twice (rows {before} and {row}): its predictions cannot be told apart"
                );
                return Err(self.broken(reason));
            }
            names.push(id);
        }
        Ok(names)
    }

    /// SNLI-VE's rows are called by line and pair, since some pairs are there twice.
    fn name(&self, id: String) -> String {
        match id.split_once(':') {
            Some((_, pair)) if self.pairs => pair.to_owned(),
            _ => id,
        }
    }

    fn check_missing(&self, names: &[String], found: &[Option<usize>]) -> Result<()> {
        let rows = names.iter().zip(found);
        let missing = rows.filter(|(_, position)| position.is_none());
        let missing: Vec<&str> = missing.map(|(id, _)| id.as_str()).collect();
        if missing.is_empty() {
            return Ok(());
        }
        Err(self.broken(format!(
            "has no prediction for {} of {} rows, such as {}",
            missing.len(),
            names.len(),
            missing[..missing.len().min(LISTED)].join(", ")
        )))
    }

    /// `strange` are ids that no row has.
    fn check_strange(&self, mut strange: Vec<&str>) -> Result<()> {
        if strange.is_empty() {
            return Ok(());
        }
        strange.sort_unstable();
        let count = strange.len();
        let shown = strange[..count.min(LISTED)].join(", ");
        let reason = format!("has {count} ids that the task does not have, such as {shown}");
        Err(self.broken(reason))
    }
}
