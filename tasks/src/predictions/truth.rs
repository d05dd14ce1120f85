//! Whether predictions are of a data set's rows.

use std::{collections::HashMap, sync::Arc};

use super::outputs::{Outputs, Predictions};
use crate::{Dataset, Error, Label, Result};

impl Predictions {
    /// Checks that the rows are those of `dataset`, and that what is right for them is.
    ///
    /// # Errors
    /// Naming the first row that differs; or if they are ranks, which say nothing of rows.
    pub fn check_against(&self, dataset: &dyn Dataset) -> Result<()> {
        let labels: HashMap<String, Label> = (0..dataset.len())
            .map(|row| (dataset.id(row), dataset.label(row)))
            .collect();
        for (row, id) in self.ids.iter().enumerate() {
            let Some(label) = labels.get(id) else {
                return Err(Error::Predictions(format!("the data has no row {id}")));
            };
            let gold = self.outputs.gold(row);
            if gold.as_ref() != Some(label) {
                return Err(Error::Predictions(format!(
                    "{id} is {label:?} in the data and {gold:?} in the predictions"
                )));
            }
        }
        if matches!(self.outputs, Outputs::Ranks { .. }) {
            let reason = "ranks cannot be compared with data: leave --data out";
            return Err(Error::Predictions(reason.into()));
        }
        Ok(())
    }
}

impl Outputs {
    /// What is right for a row, as data has it.
    fn gold(&self, row: usize) -> Option<Label> {
        match self {
            Self::Classes { gold, .. } => Some(Label::Class(gold[row])),
            Self::Values { gold, .. } => Some(Label::Value(gold[row])),
            Self::Answers { gold, .. } => Some(Label::Answers(Arc::clone(&gold[row]))),
            Self::Ranks { .. } => None,
        }
    }
}
