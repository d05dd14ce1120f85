//! How numbers of the same rows vary together.

/// A share and its standard error.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Share {
    pub(crate) value: f64,
    pub(crate) error: f64,
}

/// Covariance of R@k and R@l of the same queries, k below l: what is among the first k is among the
/// first l, so that it is `p_k (1 - p_l) / n`; where clusters have made the errors larger, as much
/// larger.
pub(crate) fn nested(a: Share, b: Share) -> f64 {
    let (low, high) = (a.value.min(b.value), a.value.max(b.value));
    let of_one_row = |share: Share| (share.value * (1.0 - share.value)).sqrt();
    let plain = of_one_row(a) * of_one_row(b);
    if plain > 0.0 {
        low * (1.0 - high) * a.error * b.error / plain
    } else {
        0.0
    }
}

/// Whether two metrics are recalls of the same queries.
pub(crate) fn are_nested(a: &str, b: &str) -> bool {
    let direction = |metric: &str| {
        metric
            .split_once("recall@")
            .map(|(name, _)| name.to_owned())
    };
    direction(a).is_some() && direction(a) == direction(b)
}

/// Of two numbers over the same draws.
pub(crate) fn covariance(a: &[f32], b: &[f32]) -> f64 {
    let count = a.len().min(b.len()) as f64;
    if count < 2.0 {
        return 0.0;
    }
    let mean = |of: &[f32]| of.iter().map(|value| f64::from(*value)).sum::<f64>() / count;
    let (mean_a, mean_b) = (mean(a), mean(b));
    let products = a
        .iter()
        .zip(b)
        .map(|(a, b)| (f64::from(*a) - mean_a) * (f64::from(*b) - mean_b));
    products.sum::<f64>() / (count - 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recalls_of_one_direction_are_nested() {
        assert!(are_nested("text_recall@1", "text_recall@5"));
        assert!(
            !are_nested("text_recall@1", "image_recall@1") && !are_nested("accuracy", "accuracy")
        );
        let share = |value: f64| Share {
            value,
            error: (value * (1.0 - value) / 1000.0).sqrt(),
        };
        let found = nested(share(0.5), share(0.75));
        assert!((found - 0.5 * 0.25 / 1000.0).abs() < 1e-12);
        assert!(nested(share(0.0), share(1.0)).abs() < 1e-12);
        assert!((covariance(&[1.0, 2.0, 3.0], &[2.0, 4.0, 6.0]) - 2.0).abs() < 1e-6);
    }
}
