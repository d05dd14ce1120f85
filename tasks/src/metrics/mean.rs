//! Means of rows: shares of right answers, over all rows or class by class.

use super::{Score, Z, grouped};

/// Mean of values that are 0 or 1, with Wilson's interval; with clusters the errors of a cluster are summed first.
pub(super) fn share(values: &[f64], clusters: Option<&[usize]>) -> Option<Score> {
    let n = values.len();
    if n == 0 {
        return None;
    }
    let mean = values.iter().sum::<f64>() / n as f64;
    if let Some(clusters) = clusters {
        let residual = |rows: &Vec<usize>| rows.iter().map(|&row| values[row] - mean).sum::<f64>();
        let squares: f64 = grouped(clusters).values().map(|rows| residual(rows).powi(2)).sum();
        return Some(Score::normal(mean, squares.sqrt() / n as f64, n));
    }
    let standard_error = if n == 1 { 0.0 } else { (mean * (1.0 - mean) / (n - 1) as f64).sqrt() };
    let (ci_low, ci_high) = wilson(mean, n as f64);
    Some(Score { value: mean, standard_error, ci_low, ci_high, n })
}

/// Wilson's score interval, right near 0 and 1 and for small n.
fn wilson(p: f64, n: f64) -> (f64, f64) {
    let scale = 1.0 + Z * Z / n;
    let centre = (p + Z * Z / (2.0 * n)) / scale;
    let half = Z / scale * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
    ((centre - half).max(0.0), (centre + half).min(1.0))
}

/// Mean over the classes that occur of their share of right answers.
pub(super) fn per_class(predicted: &[usize], gold: &[usize]) -> Option<Score> {
    let classes = grouped(gold);
    if classes.is_empty() {
        return None;
    }
    let share = |(class, rows): (&usize, &Vec<usize>)| {
        let right = rows.iter().filter(|&&row| predicted[row] == *class).count();
        (right as f64 / rows.len() as f64, rows.len() as f64)
    };
    let shares: Vec<(f64, f64)> = classes.iter().map(share).collect();
    let count = shares.len() as f64;
    let value = shares.iter().map(|(p, _)| p).sum::<f64>() / count;
    let variance: f64 = shares.iter().map(|(p, n)| p * (1.0 - p) / n).sum();
    Some(Score::normal(value, variance.sqrt() / count, gold.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-9, "{a} is not {b}");
    }

    /// 7 of 10: scipy's proportion interval (method "wilson") is 0.3967781 to 0.8922087.
    #[test]
    fn a_share_has_wilsons_interval() {
        let values: Vec<f64> = (0..10).map(|i| f64::from(i < 7)).collect();
        let score = share(&values, None).unwrap();
        close(score.value, 0.7);
        close(score.standard_error, (0.21f64 / 9.0).sqrt());
        assert!((score.ci_low - 0.396_778).abs() < 1e-6 && (score.ci_high - 0.892_209).abs() < 1e-6, "{score:?}");
        assert!(share(&[], None).is_none());
    }

    #[test]
    fn clusters_of_one_give_the_plain_error_and_copies_do_not_shrink_it() {
        let values = [1.0, 0.0, 1.0, 1.0];
        let alone = share(&values, Some(&[0, 1, 2, 3])).unwrap();
        close(alone.standard_error, (0.75f64 * 0.25 / 4.0).sqrt());
        let twice: Vec<f64> = values.iter().flat_map(|&v| [v, v]).collect();
        let doubled = share(&twice, Some(&[0, 0, 1, 1, 2, 2, 3, 3])).unwrap();
        close(doubled.standard_error, alone.standard_error);
    }

    #[test]
    fn classes_count_alike_whatever_their_size() {
        let score = per_class(&[0, 0, 0, 1], &[0, 0, 0, 1]).unwrap();
        close(score.value, 1.0);
        close(per_class(&[0, 0, 0, 0], &[0, 0, 0, 1]).unwrap().value, 0.5);
    }
}
