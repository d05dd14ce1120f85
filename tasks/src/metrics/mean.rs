//! Means over rows: shares of right answers, over all rows or class by class.

use super::{
    clusters::grouped,
    score::{Estimate, Interval, Score, Z, quantile},
};

/// Mean of values between 0 and 1. Where all are 0 or 1 the interval is Wilson's, else Student's;
/// with clusters the errors of a cluster are summed first.
pub(super) fn mean(values: &[f64], clusters: Option<&[usize]>) -> Option<Score> {
    let n = values.len();
    if n == 0 {
        return None;
    }
    let mean = values.iter().sum::<f64>() / n as f64;
    let share = values.iter().all(|&value| value == 0.0 || value == 1.0);
    if let Some(clusters) = clusters {
        return Some(clustered(values, mean, clusters, share));
    }
    let estimate = Estimate {
        value: mean,
        standard_error: error_of_mean(values, mean),
        n,
    };
    Some(if share {
        estimate.wilson(n as f64, Z, Interval::Wilson)
    } else {
        estimate.symmetric((n - 1) as f64, Interval::Student)
    })
}

fn error_of_mean(values: &[f64], mean: f64) -> f64 {
    let n = values.len();
    if n == 1 {
        return 0.0;
    }
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (squares / (n - 1) as f64 / n as f64).sqrt()
}

fn clustered(values: &[f64], mean: f64, clusters: &[usize], share: bool) -> Score {
    let n = values.len();
    let groups = grouped(clusters);
    let count = groups.len() as f64;
    let residual = |rows: &Vec<usize>| rows.iter().map(|&row| values[row] - mean).sum::<f64>();
    let squares: f64 = groups.values().map(|rows| residual(rows).powi(2)).sum();
    let standard_error = squares.sqrt() / n as f64;
    let wide = for_few(standard_error, count);
    let widened = Estimate {
        value: mean,
        standard_error: wide,
        n,
    };
    let score = if share {
        let trials = trials(mean, wide, count).max(1.0);
        widened.wilson(trials, quantile(count - 1.0), Interval::Clustered)
    } else {
        widened.symmetric(count - 1.0, Interval::Clustered)
    };
    Score {
        standard_error,
        ..score
    }
}

/// An error that holds for few clusters too: the formula is for many.
fn for_few(standard_error: f64, count: f64) -> f64 {
    if count > 1.0 {
        standard_error * (count / (count - 1.0)).sqrt()
    } else {
        0.0
    }
}

/// As many independent trials as would give a share the same error; where all rows agree, `units`.
fn trials(share: f64, standard_error: f64, units: f64) -> f64 {
    if standard_error > 0.0 {
        share * (1.0 - share) / (standard_error * standard_error)
    } else {
        units
    }
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
    let n = gold.len();
    let estimate = Estimate {
        value: shares.iter().map(|(p, _)| p).sum::<f64>() / count,
        standard_error: variance_of_shares(&shares).sqrt() / count,
        n,
    };
    let trials = trials(estimate.value, estimate.standard_error, n as f64);
    Some(estimate.wilson(trials, Z, Interval::Stratified))
}

/// The sum of the variances of the shares of right answers of classes, each with its number of
/// rows. A class of one row says nothing of how its rows vary: it takes what the others have
/// together, and where all are of one row, the classes differ as rows would.
fn variance_of_shares(shares: &[(f64, f64)]) -> f64 {
    let several: Vec<(f64, f64)> = shares.iter().copied().filter(|(_, n)| *n > 1.0).collect();
    let alone = (shares.len() - several.len()) as f64;
    let of_several: f64 = several.iter().map(|(p, n)| p * (1.0 - p) / (n - 1.0)).sum();
    let degrees: f64 = several.iter().map(|(_, n)| n - 1.0).sum();
    let pooled = if degrees > 0.0 {
        several.iter().map(|(p, n)| n * p * (1.0 - p)).sum::<f64>() / degrees
    } else {
        let mean = shares.iter().map(|(p, _)| p).sum::<f64>() / alone;
        mean * (1.0 - mean)
            * if alone > 1.0 {
                alone / (alone - 1.0)
            } else {
                1.0
            }
    };
    of_several + alone * pooled
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
        let score = mean(&values, None).unwrap();
        close(score.value, 0.7);
        close(score.standard_error, (0.21f64 / 9.0).sqrt());
        assert!(
            (score.ci_low - 0.396_778).abs() < 1e-6 && (score.ci_high - 0.892_209).abs() < 1e-6,
            "{score:?}"
        );
        assert!(mean(&[], None).is_none());
    }

    #[test]
    fn clusters_of_one_give_the_plain_error_and_copies_do_not_shrink_it() {
        let values = [1.0, 0.0, 1.0, 1.0];
        let alone = mean(&values, Some(&[0, 1, 2, 3])).unwrap();
        close(alone.standard_error, (0.75f64 * 0.25 / 4.0).sqrt());
        let twice: Vec<f64> = values.iter().flat_map(|&v| [v, v]).collect();
        let doubled = mean(&twice, Some(&[0, 0, 1, 1, 2, 2, 3, 3])).unwrap();
        close(doubled.standard_error, alone.standard_error);
        close(doubled.ci_low, alone.ci_low);
    }

    #[test]
    fn what_is_always_right_is_as_uncertain_as_there_are_images() {
        let score = mean(
            &[1.0; 40],
            Some(&(0..40).map(|i| i / 4).collect::<Vec<_>>()),
        )
        .unwrap();
        assert!(
            score.ci_high == 1.0 && (0.6..0.75).contains(&score.ci_low),
            "{score:?}"
        );
    }

    #[test]
    fn classes_count_alike_whatever_their_size() {
        close(per_class(&[0, 0, 0, 1], &[0, 0, 0, 1]).unwrap().value, 1.0);
        close(per_class(&[0, 0, 0, 0], &[0, 0, 0, 1]).unwrap().value, 0.5);
    }
}
