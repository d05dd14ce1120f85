//! What labels that are written somehow stand for: classes by number or name, or values.

use std::collections::BTreeMap;

use crate::sources::number_of;

/// Most classes of a task.
const MAX_CLASSES: usize = 50_000;
/// With more rows than this, labels that are all different are no classes.
const FEW: usize = 20;

/// What the labels of a task are.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum LabelKind {
    /// Whole numbers from 0.
    Numbers(usize),
    /// The names of classes, in the order of their numbers.
    Names(Vec<String>),
    /// Values on a scale.
    Values,
}

impl LabelKind {
    /// Of the labels of the rows to learn from, each as it is written.
    ///
    /// # Errors
    /// If rows have none, or so many that they are no classes.
    pub(super) fn of(labels: &[Option<String>]) -> Result<Self, String> {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for (row, label) in labels.iter().enumerate() {
            let label = label
                .as_ref()
                .ok_or_else(|| format!("row {} has no label", row + 1))?;
            *counts.entry(label).or_default() += 1;
        }
        if counts.is_empty() {
            return Err("there are no labels".into());
        }
        let numbers: Option<Vec<f64>> = counts.keys().map(|label| number_of(label)).collect();
        let as_words = counts.keys().any(|label| label.parse::<f64>().is_err());
        match numbers.filter(|_| !as_words) {
            Some(numbers) if numbers.iter().any(|number| number.fract() != 0.0) => Ok(Self::Values),
            Some(numbers) => Self::of_whole_numbers(&counts, &numbers),
            None => Self::of_names(&counts, labels.len()),
        }
    }

    /// Numbers that are those of all classes are; others are names of classes.
    fn of_whole_numbers(counts: &BTreeMap<&str, usize>, numbers: &[f64]) -> Result<Self, String> {
        let most = numbers.iter().copied().fold(0.0, f64::max);
        if most >= MAX_CLASSES as f64 {
            return Err(format!(
                "the label {most} is none of at most {MAX_CLASSES} classes"
            ));
        }
        let mut sorted: Vec<(f64, &str)> = numbers
            .iter()
            .copied()
            .zip(counts.keys().copied())
            .collect();
        sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
        let complete = sorted
            .iter()
            .enumerate()
            .all(|(class, (number, _))| *number == class as f64);
        if complete {
            return Ok(Self::Numbers(sorted.len()));
        }
        let names = sorted.into_iter().map(|(_, label)| label.to_owned());
        Ok(Self::Names(names.collect()))
    }

    fn of_names(counts: &BTreeMap<&str, usize>, rows: usize) -> Result<Self, String> {
        let classes = counts.len();
        if classes > MAX_CLASSES {
            return Err(format!("{classes} classes are more than {MAX_CLASSES}"));
        }
        if classes == rows && rows > FEW {
            return Err(format!(
                "each of the {rows} rows has a label of its own: is this the column of the labels?"
            ));
        }
        Ok(Self::Names(
            counts.keys().map(|name| (*name).to_owned()).collect(),
        ))
    }

    /// How many classes there are; 0 of values.
    pub(super) fn classes(&self) -> usize {
        match self {
            Self::Numbers(classes) => *classes,
            Self::Names(names) => names.len(),
            Self::Values => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(labels: &[&str]) -> Result<LabelKind, String> {
        let labels: Vec<Option<String>> = labels.iter().map(|l| Some((*l).to_owned())).collect();
        LabelKind::of(&labels)
    }

    #[test]
    fn labels_are_numbers_names_or_values() {
        assert_eq!(of(&["1", "0", "1"]), Ok(LabelKind::Numbers(2)));
        assert_eq!(of(&["1.0", "0.0"]), Ok(LabelKind::Numbers(2)));
        let names =
            |names: &[&str]| LabelKind::Names(names.iter().map(|n| (*n).to_owned()).collect());
        assert_eq!(of(&["10", "2", "1"]), Ok(names(&["1", "2", "10"])));
        assert_eq!(of(&["pos", "neg", "pos"]), Ok(names(&["neg", "pos"])));
        assert_eq!(of(&["True", "False"]), Ok(names(&["False", "True"])));
        assert_eq!(of(&["0.5", "3"]), Ok(LabelKind::Values));
        assert!(LabelKind::of(&[None]).unwrap_err().contains("row 1"));
        let own: Vec<Option<String>> = (0..30).map(|n| Some(format!("x{n}"))).collect();
        assert!(LabelKind::of(&own).unwrap_err().contains("of its own"));
    }
}
