//! Recall at k, with ties counted against the model.

use super::{Ranked, Score, mean::share};

/// Rank (from 1) of the best right item: one more than the wrong items that score better or the same.
///
/// Identical captions of different pictures tie exactly; counting them against the model keeps the result free of the
/// order of the data.
pub fn rank(scores: &[f32], right: impl Fn(usize) -> bool) -> usize {
    let best = scores.iter().enumerate().filter(|(item, _)| right(*item)).map(|(_, &s)| s).fold(f32::NEG_INFINITY, f32::max);
    1 + scores.iter().enumerate().filter(|(item, score)| !right(*item) && (**score >= best || score.is_nan())).count()
}

/// Share of queries with rank at most `k`; queries of one picture are no independent trials.
pub(super) fn recall(ranks: &[Ranked], k: usize) -> Option<Score> {
    let hits: Vec<f64> = ranks.iter().map(|r| f64::from(r.rank <= k)).collect();
    let clusters: Vec<usize> = ranks.iter().map(|r| r.picture).collect();
    let several = clusters.windows(2).any(|pair| pair[0] == pair[1]);
    share(&hits, several.then_some(&clusters))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_and_nan_count_against_the_model() {
        assert_eq!(rank(&[0.1, 0.9, 0.5], |i| i == 1), 1);
        assert_eq!(rank(&[0.9, 0.9, 0.5], |i| i == 1), 2);
        assert_eq!(rank(&[0.9, 0.8, 0.5], |i| i > 0), 2);
        assert_eq!(rank(&[f32::NAN, 0.8, 0.5], |i| i == 1), 2);
        assert_eq!(rank(&[0.3; 5], |i| i == 0), 5, "a constant model finds nothing");
    }

    #[test]
    fn recall_counts_hits() {
        let ranks: Vec<Ranked> = [1, 2, 5, 9].iter().enumerate().map(|(picture, &rank)| Ranked { picture, rank }).collect();
        assert_eq!(recall(&ranks, 1).unwrap().value, 0.25);
        assert_eq!(recall(&ranks, 5).unwrap().value, 0.75);
    }
}
