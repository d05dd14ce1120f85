//! Ranks, and how far they reach.

/// Share of the draws that lies below an interval, and above it.
const TAIL: f64 = 0.025;

/// A row's rank, 1 the best; rows of one value share it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rank {
    /// Of the values themselves.
    pub rank: usize,
    /// Best end of the 95 % interval over the rows of the data.
    pub low: usize,
    /// Worst end.
    pub high: usize,
}

/// The ranks of some values, and their intervals from what each value was in the same draws.
pub(super) fn ranks(values: &[f64], draws: &[Vec<f64>]) -> Vec<Rank> {
    let own = ranks_of(values);
    let count = draws.first().map_or(0, Vec::len);
    let mut drawn: Vec<Vec<usize>> = vec![Vec::with_capacity(count); values.len()];
    for draw in 0..count {
        let values: Vec<f64> = draws.iter().map(|values| values[draw]).collect();
        for (ranks, rank) in drawn.iter_mut().zip(ranks_of(&values)) {
            ranks.push(rank);
        }
    }
    let interval = |(rank, drawn): (usize, &mut Vec<usize>)| {
        drawn.sort_unstable();
        let at = |share: f64| drawn.get((share * count as f64) as usize).copied();
        let (low, high) = (at(TAIL).unwrap_or(rank), at(1.0 - TAIL).unwrap_or(rank));
        Rank {
            rank,
            low: low.min(rank),
            high: high.max(rank),
        }
    };
    own.into_iter().zip(&mut drawn).map(interval).collect()
}

/// One more than there are larger values.
fn ranks_of(values: &[f64]) -> Vec<usize> {
    let mut sorted = values.to_vec();
    sorted.sort_by(|a, b| b.total_cmp(a));
    let larger = |value: &f64| sorted.partition_point(|other| other > value);
    values.iter().map(|value| 1 + larger(value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_share_a_rank_and_intervals_hold_it() {
        let draws = vec![
            vec![3.0, 1.0, 3.0],
            vec![2.0, 2.0, 2.0],
            vec![2.0, 2.0, 1.0],
        ];
        let found = ranks(&[3.0, 2.0, 2.0], &draws);
        let rank = |rank, low, high| Rank { rank, low, high };
        assert_eq!(found, [rank(1, 1, 3), rank(2, 1, 2), rank(2, 1, 3)]);
        assert_eq!(ranks(&[1.0], &[vec![]])[0], rank(1, 1, 1));
        assert!(ranks(&[], &[]).is_empty());
    }
}
