//! The bootstrap: how much a metric varies over resamples of the rows, or of the images that rows
//! share.

use rand::Rng;
use rayon::prelude::*;

use super::clusters::grouped;
use crate::random::stream;

/// Resamples.
const RESAMPLES: usize = 1000;

/// What is drawn: rows, or groups of rows that share an image.
struct Units {
    rows: usize,
    groups: Option<Vec<Vec<usize>>>,
}

impl Units {
    /// How often each row is drawn, in the place of what `weights` held.
    fn draw(&self, rng: &mut impl Rng, weights: &mut Vec<u32>) {
        weights.clear();
        weights.resize(self.rows, 0);
        let drawn = self.groups.as_ref().map_or(self.rows, Vec::len);
        for _ in 0..drawn {
            let unit = rng.random_range(0..drawn as u32) as usize;
            match &self.groups {
                None => weights[unit] += 1,
                Some(groups) => groups[unit].iter().for_each(|&row| weights[row] += 1),
            }
        }
    }
}

/// The standard deviation of `metric` over resamples. A resample is how often each row was drawn;
/// one on which the metric is not defined is left out. `purpose` names what is resampled: the same
/// name gives the same resamples, whatever the threads.
pub(super) fn standard_error(
    purpose: &str,
    rows: usize,
    clusters: Option<&[usize]>,
    metric: impl Fn(&[u32]) -> Option<f64> + Sync,
) -> f64 {
    let groups = clusters.map(|clusters| grouped(clusters).into_values().collect());
    let units = Units { rows, groups };
    let resample = |weights: &mut Vec<u32>, index: usize| {
        let mut rng = stream(&format!("bootstrap {purpose} {index}"));
        units.draw(&mut rng, weights);
        metric(weights)
    };
    let values: Vec<Option<f64>> = (0..RESAMPLES)
        .into_par_iter()
        .map_init(Vec::new, resample)
        .collect();
    deviation(&values.into_iter().flatten().collect::<Vec<f64>>())
}

/// Standard deviation; 0 where there is no more than one value.
fn deviation(values: &[f64]) -> f64 {
    if values.len() < 2 {
        return 0.0;
    }
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    (values
        .iter()
        .map(|value| (value - mean).powi(2))
        .sum::<f64>()
        / (values.len() - 1) as f64)
        .sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean(values: &[f64]) -> impl Fn(&[u32]) -> Option<f64> + Sync {
        move |weights| {
            let total: u32 = weights.iter().sum();
            Some(
                values
                    .iter()
                    .zip(weights)
                    .map(|(v, &w)| v * f64::from(w))
                    .sum::<f64>()
                    / f64::from(total),
            )
        }
    }

    /// The bootstrap of a mean is known: the standard deviation over the root of n (and not that
    /// over the root of the resamples).
    #[test]
    fn a_means_error_is_the_closed_form() {
        let values: Vec<f64> = (0..400)
            .map(|i| f64::from((i * 7919) % 101) / 101.0)
            .collect();
        let closed = deviation(&values) / 20.0;
        let error = standard_error("test", values.len(), None, mean(&values));
        assert!(
            (error / closed - 1.0).abs() < 0.08,
            "{error} against {closed}"
        );
    }

    #[test]
    fn rows_of_a_image_are_drawn_together() {
        let values: Vec<f64> = (0..400)
            .map(|i| f64::from((i / 4 * 7919) % 101) / 101.0)
            .collect();
        let clusters: Vec<usize> = (0..400).map(|i| i / 4).collect();
        let ratio = standard_error("test", 400, Some(&clusters), mean(&values))
            / standard_error("test", 400, None, mean(&values));
        assert!((ratio - 2.0).abs() < 0.2, "{ratio}");
    }

    #[test]
    fn threads_do_not_matter() {
        let values: Vec<f64> = (0..100).map(f64::from).collect();
        let one = rayon::ThreadPoolBuilder::new()
            .num_threads(1)
            .build()
            .unwrap();
        let alone = one.install(|| standard_error("test", 100, None, mean(&values)));
        assert_eq!(
            alone.to_bits(),
            standard_error("test", 100, None, mean(&values)).to_bits()
        );
    }
}
