//! The rank that recall at k is computed from, with ties counted against the model.

/// Rank (from 1) of the best of the `right` items: one more than the wrong items that score better
/// or the same, or nothing (NaN).
///
/// Identical captions of different images tie exactly; counting them against the model keeps the
/// result free of the order of the data.
pub fn rank(scores: &[f32], right: &[usize]) -> usize {
    let best = right
        .iter()
        .map(|&item| scores[item])
        .fold(f32::NEG_INFINITY, f32::max);
    let against = |score: f32| score >= best || score.is_nan();
    let all = scores.iter().filter(|score| against(**score)).count();
    1 + all - right.iter().filter(|item| against(scores[**item])).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_and_nan_count_against_the_model() {
        assert_eq!(rank(&[0.1, 0.9, 0.5], &[1]), 1);
        assert_eq!(rank(&[0.9, 0.9, 0.5], &[1]), 2);
        assert_eq!(rank(&[0.9, 0.8, 0.5], &[1, 2]), 2);
        assert_eq!(rank(&[f32::NAN, 0.8, 0.5], &[1]), 2);
        assert_eq!(rank(&[0.3; 5], &[0]), 5, "a constant model finds nothing");
    }
}
