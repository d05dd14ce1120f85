//! Answers in words and in numbers: which wrong ones are frequent, and which are far off.

use std::{cmp::Reverse, collections::BTreeMap, sync::Arc};

use flava_tasks::metrics::official_accuracy;

/// An answer that was wrong, and how often.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct WrongAnswer {
    pub(crate) answer: String,
    pub(crate) rows: usize,
    /// What people answered most often where this was answered.
    pub(crate) given: String,
}

/// What answers in words show.
#[derive(Clone, Debug)]
pub(crate) struct AnswersSeen {
    pub(crate) rows: usize,
    /// Rows whose answer no person gave.
    pub(crate) wrong: usize,
    pub(crate) different: usize,
    pub(crate) frequent: Vec<WrongAnswer>,
}

impl AnswersSeen {
    pub(super) fn of(predicted: &[String], gold: &[Arc<[Arc<str>]>], most: usize) -> Option<Self> {
        if predicted.is_empty() {
            return None;
        }
        let mut wrong: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (answer, given) in predicted.iter().zip(gold) {
            if official_accuracy(given, answer) == 0.0 {
                let given = most_frequent(given.iter().map(AsRef::as_ref));
                wrong.entry(answer).or_default().push(given);
            }
        }
        let rows = wrong.values().map(Vec::len).sum();
        let different = wrong.len();
        let frequent = wrong.into_iter().map(|(answer, given)| WrongAnswer {
            answer: answer.to_owned(),
            rows: given.len(),
            given: most_frequent(given.into_iter()).to_owned(),
        });
        let mut frequent: Vec<WrongAnswer> = frequent.collect();
        frequent.sort_by(|a, b| b.rows.cmp(&a.rows).then_with(|| a.answer.cmp(&b.answer)));
        frequent.truncate(most);
        Some(Self {
            rows: predicted.len(),
            wrong: rows,
            different,
            frequent,
        })
    }
}

/// Of equally frequent ones the first by the alphabet.
fn most_frequent<'a>(all: impl Iterator<Item = &'a str>) -> &'a str {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for one in all {
        *counts.entry(one).or_default() += 1;
    }
    let best = counts.into_iter().min_by_key(|(_, count)| Reverse(*count));
    best.map_or("", |(one, _)| one)
}

/// A number that is far from what is right.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct FarOff {
    pub(crate) id: String,
    pub(crate) predicted: f64,
    pub(crate) gold: f64,
}

/// What answers in numbers show.
#[derive(Clone, Debug)]
pub(crate) struct ValuesSeen {
    pub(crate) rows: usize,
    pub(crate) mean_error: f64,
    pub(crate) furthest: Vec<FarOff>,
}

impl ValuesSeen {
    pub(super) fn of(ids: &[String], predicted: &[f64], gold: &[f64], most: usize) -> Option<Self> {
        let rows = ids.iter().zip(predicted.iter().zip(gold));
        let mut all: Vec<FarOff> = rows
            .map(|(id, (&predicted, &gold))| FarOff {
                id: id.clone(),
                predicted,
                gold,
            })
            .collect();
        if all.is_empty() {
            return None;
        }
        let error = |row: &FarOff| (row.predicted - row.gold).abs();
        let mean_error = all.iter().map(error).sum::<f64>() / all.len() as f64;
        all.sort_by(|a, b| error(b).total_cmp(&error(a)).then_with(|| a.id.cmp(&b.id)));
        let rows = all.len();
        all.truncate(most);
        Some(Self {
            rows,
            mean_error,
            furthest: all,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frequent_wrong_answers_and_far_numbers_come_first() {
        let given = |word: &str| -> Arc<[Arc<str>]> { vec![Arc::from(word); 10].into() };
        let predicted = ["yes", "no", "no", "red"].map(str::to_owned);
        let gold = ["yes", "two", "two", "blue"].map(given);
        let seen = AnswersSeen::of(&predicted, &gold, 20).unwrap();
        assert_eq!((seen.wrong, seen.different), (3, 2));
        let first = &seen.frequent[0];
        assert_eq!(
            (&*first.answer, first.rows, &*first.given),
            ("no", 2, "two")
        );
        let ids = ["a".to_owned(), "b".to_owned()];
        let seen = ValuesSeen::of(&ids, &[1.0, 5.0], &[2.0, 2.0], 1).unwrap();
        assert_eq!((&*seen.furthest[0].id, seen.mean_error), ("b", 2.0));
    }
}
