//! A number for each row and class.

use sha2::{Digest, Sha256};

use crate::{Error, Result};

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
        let bad = |value: &f32| value.is_nan() || *value == f32::INFINITY;
        if let Some(at) = values.iter().position(bad) {
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
        let margin = |row: &[f32]| {
            if row[0] == row[1] {
                0.0
            } else {
                f64::from(row[1]) - f64::from(row[0])
            }
        };
        (self.classes == 2).then(|| self.rows().map(margin).collect())
    }

    /// The rows at these places, in this order.
    pub(super) fn pick(&self, positions: &[usize]) -> Self {
        let row = |&row: &usize| &self.values[row * self.classes..][..self.classes];
        Self {
            values: positions.iter().flat_map(row).copied().collect(),
            classes: self.classes,
        }
    }

    /// Adds the numbers to a digest.
    pub(super) fn digest(&self, digest: &mut Sha256) {
        for value in &self.values {
            digest.update(value.to_bits().to_le_bytes());
        }
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
