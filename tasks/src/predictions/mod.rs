//! What was predicted for the rows of a split, and what is right: all that a score is computed
//! from.

mod file;
mod foreign;
mod roles;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use flava_base::hex;
use sha2::{Digest, Sha256};

use crate::{Dataset, Error, Label, Result};

pub use foreign::Foreign;

/// Answers to the rows of a split, in order.
#[derive(Clone, Debug, PartialEq)]
pub struct Predictions {
    /// Of the rows; of a retrieval's captions none.
    pub ids: Vec<String>,
    /// Rows of the same number share a picture and are no independent trials.
    pub clusters: Option<Vec<usize>>,
    /// Answers and truth.
    pub outputs: Outputs,
}

/// The pictures that rows belong to, for [`Predictions::clusters`]; None where no two rows share
/// one.
pub fn shared(pictures: Vec<usize>) -> Option<Vec<usize>> {
    let distinct: HashSet<&usize> = pictures.iter().collect();
    (distinct.len() < pictures.len()).then_some(pictures)
}

/// Answers and truth, by kind.
#[derive(Clone, Debug, PartialEq)]
pub enum Outputs {
    /// One class each.
    Classes {
        /// The answers.
        predicted: Vec<usize>,
        /// The truth.
        gold: Vec<usize>,
        /// What the answers were chosen by, where it is known.
        logits: Option<Logits>,
    },
    /// A number each.
    Values {
        /// The answers.
        predicted: Vec<f64>,
        /// The truth.
        gold: Vec<f64>,
    },
    /// A few words each.
    Answers {
        /// The answers.
        predicted: Vec<String>,
        /// What people answered, for each row.
        gold: Vec<Arc<[Arc<str>]>>,
    },
    /// The rank (from 1) of the best right item for each query.
    Ranks {
        /// For each picture, among all captions.
        texts: Vec<Ranked>,
        /// For each caption, among all pictures.
        images: Vec<Ranked>,
    },
}

/// A query's result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ranked {
    /// The picture the query belongs to.
    pub picture: usize,
    /// Rank of the best right item, ties counted against it.
    pub rank: usize,
}

/// A number for each row and class; the larger, the likelier.
#[derive(Clone, Debug, PartialEq)]
pub struct Logits {
    values: Vec<f32>,
    classes: usize,
}

impl Logits {
    /// Rows of `classes` numbers each, flat.
    ///
    /// # Errors
    /// If a number is none (NaN), naming the row by `ids`, or there are not `classes` for each id.
    pub fn new(values: Vec<f32>, classes: usize, ids: &[String]) -> Result<Self> {
        if classes == 0 || values.len() != classes * ids.len() {
            return Err(Error::Predictions(format!(
                "{} logits for {} rows of {classes} classes",
                values.len(),
                ids.len()
            )));
        }
        // Minus infinity is the logarithm of no votes.
        if let Some(at) = values
            .iter()
            .position(|value| value.is_nan() || *value == f32::INFINITY)
        {
            return Err(Error::Predictions(format!(
                "{}: the logit of class {} is no finite number",
                ids[at / classes],
                at % classes
            )));
        }
        Ok(Self { values, classes })
    }

    /// How many there are for a row.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Those of each row.
    pub fn rows(&self) -> impl Iterator<Item = &[f32]> {
        self.values.chunks_exact(self.classes)
    }

    /// The class of each row; of equal ones the first.
    pub fn best(&self) -> Vec<usize> {
        let best = |row: &[f32]| {
            row.iter().enumerate().fold(
                0,
                |best, (class, value)| if *value > row[best] { class } else { best },
            )
        };
        self.rows().map(best).collect()
    }

    /// By how much class 1 is likelier than class 0, for each row of two.
    pub(crate) fn margins(&self) -> Option<Vec<f64>> {
        (self.classes == 2).then(|| {
            self.rows()
                .map(|row| {
                    if row[0] == row[1] {
                        0.0
                    } else {
                        f64::from(row[1]) - f64::from(row[0])
                    }
                })
                .collect()
        })
    }
}

impl Predictions {
    /// Number of rows.
    pub fn len(&self) -> usize {
        match &self.outputs {
            Outputs::Classes { predicted, .. } => predicted.len(),
            Outputs::Values { predicted, .. } => predicted.len(),
            Outputs::Answers { predicted, .. } => predicted.len(),
            Outputs::Ranks { texts, .. } => texts.len(),
        }
    }

    /// The rows at these places, in this order; of a retrieval all.
    #[must_use]
    pub fn pick(&self, places: &[usize]) -> Self {
        fn some<T: Clone>(places: &[usize], values: &[T]) -> Vec<T> {
            places.iter().map(|&place| values[place].clone()).collect()
        }
        let outputs = match &self.outputs {
            Outputs::Classes {
                predicted,
                gold,
                logits,
            } => {
                let logits = logits.as_ref().map(|logits| Logits {
                    values: places
                        .iter()
                        .flat_map(|&row| &logits.values[row * logits.classes..][..logits.classes])
                        .copied()
                        .collect(),
                    classes: logits.classes,
                });
                Outputs::Classes {
                    predicted: some(places, predicted),
                    gold: some(places, gold),
                    logits,
                }
            }
            Outputs::Values { predicted, gold } => Outputs::Values {
                predicted: some(places, predicted),
                gold: some(places, gold),
            },
            Outputs::Answers { predicted, gold } => Outputs::Answers {
                predicted: some(places, predicted),
                gold: some(places, gold),
            },
            Outputs::Ranks { .. } => return self.clone(),
        };
        Self {
            ids: some(places, &self.ids),
            clusters: self
                .clusters
                .as_ref()
                .map(|clusters| some(places, clusters)),
            outputs,
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Checks that the rows are those of `dataset`, and that what is right for them is.
    ///
    /// # Errors
    /// Naming the first row that differs; or if they are ranks, which say nothing of rows.
    pub fn check_against(&self, dataset: &dyn Dataset) -> Result<()> {
        let labels: HashMap<String, Label> = (0..dataset.len())
            .map(|row| (dataset.id(row), dataset.label(row)))
            .collect();
        let gold = |row: usize| match &self.outputs {
            Outputs::Classes { gold, .. } => Some(Label::Class(gold[row])),
            Outputs::Values { gold, .. } => Some(Label::Value(gold[row])),
            Outputs::Answers { gold, .. } => Some(Label::Answers(Arc::clone(&gold[row]))),
            Outputs::Ranks { .. } => None,
        };
        for (row, id) in self.ids.iter().enumerate() {
            match (labels.get(id), gold(row)) {
                (Some(label), Some(gold)) if *label == gold => {}
                (None, _) => return Err(Error::Predictions(format!("the data has no row {id}"))),
                (Some(label), gold) => {
                    return Err(Error::Predictions(format!(
                        "{id} is {label:?} in the data and {gold:?} in the predictions"
                    )));
                }
            }
        }
        let ranks = matches!(self.outputs, Outputs::Ranks { .. });
        if ranks {
            Err(Error::Predictions(
                "ranks cannot be compared with data: leave --data out".into(),
            ))
        } else {
            Ok(())
        }
    }

    /// A digest of all of it: what a file of predictions is checked by.
    pub(crate) fn digest(&self, task: &str) -> String {
        let mut digest = Sha256::new();
        let mut text = |text: &str| {
            digest.update((text.len() as u64).to_le_bytes());
            digest.update(text);
        };
        text(task);
        self.ids.iter().for_each(|id| text(id));
        text(&format!("{:?}", self.clusters));
        match &self.outputs {
            Outputs::Classes {
                predicted,
                gold,
                logits,
            } => {
                text(&format!("{predicted:?} {gold:?}"));
                if let Some(logits) = logits {
                    text(&logits.classes.to_string());
                    logits
                        .values
                        .iter()
                        .for_each(|value| digest.update(value.to_bits().to_le_bytes()));
                }
            }
            other => text(&format!("{other:?}")),
        }
        hex(&digest.finalize())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_go_to_the_first_class_and_nan_is_an_error() {
        let ids = ["a".to_owned(), "b".to_owned()];
        let logits =
            Logits::new(vec![1.0, 1.0, 0.5, f32::NEG_INFINITY, -2.0, -2.0], 3, &ids).unwrap();
        assert_eq!(logits.best(), [0, 1]);
        let error = Logits::new(vec![0.0, 0.0, 0.0, f32::NAN], 2, &ids)
            .unwrap_err()
            .to_string();
        assert!(error.contains("b: the logit of class 1"), "{error}");
        assert!(Logits::new(vec![0.0; 5], 3, &ids).is_err());
    }
}
