//! Which classes are told well and which are taken for each other.

use std::{cmp::Reverse, collections::HashMap};

/// With no more classes all of the confusion is kept.
const MATRIX: usize = 30;

/// A class and how many of its rows are right.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct ClassShare {
    pub(crate) class: usize,
    pub(crate) rows: usize,
    pub(crate) right: usize,
}

impl ClassShare {
    pub(crate) fn share(&self) -> f64 {
        self.right as f64 / self.rows.max(1) as f64
    }
}

/// Rows of one class that were taken for another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Confused {
    pub(crate) gold: usize,
    pub(crate) predicted: usize,
    pub(crate) rows: usize,
    /// Rows of the class.
    pub(crate) of: usize,
}

/// What predictions of classes show.
#[derive(Clone, Debug)]
pub(crate) struct ClassesSeen {
    /// Classes that rows are of.
    pub(crate) classes: usize,
    pub(crate) rows: usize,
    pub(crate) right: usize,
    /// The worst classes.
    pub(crate) worst: Vec<ClassShare>,
    /// The most confused pairs.
    pub(crate) confused: Vec<Confused>,
    /// Pairs that were confused at all.
    pub(crate) pairs: usize,
    /// Of each class the share of its rows that went to each, where there are few.
    pub(crate) matrix: Option<Vec<Vec<f64>>>,
}

impl ClassesSeen {
    pub(super) fn of(predicted: &[usize], gold: &[usize], most: usize) -> Option<Self> {
        let width = predicted.iter().chain(gold).max()? + 1;
        let mut shares: Vec<ClassShare> = (0..width)
            .map(|class| ClassShare {
                class,
                rows: 0,
                right: 0,
            })
            .collect();
        let mut wrong: HashMap<(usize, usize), usize> = HashMap::new();
        for (&predicted, &gold) in predicted.iter().zip(gold) {
            shares[gold].rows += 1;
            if predicted == gold {
                shares[gold].right += 1;
            } else {
                *wrong.entry((gold, predicted)).or_default() += 1;
            }
        }
        let matrix = (width <= MATRIX).then(|| matrix(&shares, &wrong));
        let confused = confused(&shares, &wrong, most);
        let pairs = wrong.len();
        shares.retain(|share| share.rows > 0);
        let right = shares.iter().map(|share| share.right).sum();
        let classes = shares.len();
        shares.sort_by(|a, b| {
            let by_share = a.share().total_cmp(&b.share());
            by_share.then(a.class.cmp(&b.class))
        });
        shares.truncate(most);
        Some(Self {
            classes,
            rows: gold.len(),
            right,
            worst: shares,
            confused,
            pairs,
            matrix,
        })
    }

    /// Share of all rows that are right.
    pub(crate) fn accuracy(&self) -> f64 {
        self.right as f64 / self.rows.max(1) as f64
    }
}

fn confused(
    shares: &[ClassShare],
    wrong: &HashMap<(usize, usize), usize>,
    most: usize,
) -> Vec<Confused> {
    let pairs = wrong.iter().map(|(&(gold, predicted), &rows)| Confused {
        gold,
        predicted,
        rows,
        of: shares[gold].rows,
    });
    let mut pairs: Vec<Confused> = pairs.collect();
    pairs.sort_by_key(|pair| (Reverse(pair.rows), pair.gold, pair.predicted));
    pairs.truncate(most);
    pairs
}

fn matrix(shares: &[ClassShare], wrong: &HashMap<(usize, usize), usize>) -> Vec<Vec<f64>> {
    let width = shares.len();
    let share = |gold: usize, predicted: usize| {
        let rows = if gold == predicted {
            shares[gold].right
        } else {
            wrong.get(&(gold, predicted)).copied().unwrap_or(0)
        };
        rows as f64 / shares[gold].rows.max(1) as f64
    };
    let row = |gold: usize| (0..width).map(|predicted| share(gold, predicted)).collect();
    (0..width).map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_classes_and_the_most_confused_pairs_come_first() {
        let (predicted, gold) = ([0, 1, 1, 2, 0, 0], [0, 0, 0, 2, 2, 2]);
        let seen = ClassesSeen::of(&predicted, &gold, 20).unwrap();
        assert_eq!((seen.classes, seen.rows, seen.right), (2, 6, 2));
        let worst: Vec<_> = seen.worst.iter().map(|c| (c.class, c.right)).collect();
        assert_eq!(worst, [(0, 1), (2, 1)]);
        let confused: Vec<_> = seen
            .confused
            .iter()
            .map(|c| (c.gold, c.predicted))
            .collect();
        assert_eq!(confused, [(0, 1), (2, 0)]);
        assert_eq!(seen.matrix.unwrap()[0], [1.0 / 3.0, 2.0 / 3.0, 0.0]);
        assert!(ClassesSeen::of(&[], &[], 20).is_none());
    }
}
