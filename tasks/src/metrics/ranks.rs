//! What is computed from the order of numbers: correlations and the area under the curve.

/// Numbers with their places in ascending order, equal ones in one group.
pub(super) struct Ordered {
    /// Row numbers, ascending by value.
    order: Vec<usize>,
    /// Ends of the groups of equal values in `order`.
    ends: Vec<usize>,
}

impl Ordered {
    pub(super) fn new(values: &[f64]) -> Self {
        let mut order: Vec<usize> = (0..values.len()).collect();
        order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
        let last = |&at: &usize| at == order.len() || values[order[at - 1]] != values[order[at]];
        let ends = (1..=order.len()).filter(last).collect();
        Self { order, ends }
    }

    /// The groups of rows of equal value, ascending.
    fn groups(&self) -> impl Iterator<Item = &[usize]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts
            .zip(&self.ends)
            .map(|(start, &end)| &self.order[start..end])
    }

    /// Each row's rank among all, equal values at their middle rank; a row counts as often as its
    /// weight says.
    fn ranks(&self, weights: &[u32]) -> Vec<f64> {
        let mut ranks = vec![0.0; self.order.len()];
        let mut below = 0.0;
        for group in self.groups() {
            let here: f64 = group.iter().map(|&row| f64::from(weights[row])).sum();
            for &row in group {
                ranks[row] = below + f64::midpoint(here, 1.0);
            }
            below += here;
        }
        ranks
    }

    /// The probability that a row of class 1 has a larger value than one of class 0, equal ones
    /// counting half; None where a class has no rows.
    pub(super) fn area(&self, gold: &[usize], weights: &[u32]) -> Option<f64> {
        let (mut negatives, mut positives, mut wins) = (0.0, 0.0, 0.0);
        for group in self.groups() {
            let mut here = [0.0, 0.0];
            for &row in group {
                here[gold[row]] += f64::from(weights[row]);
            }
            wins += here[1] * (negatives + here[0] / 2.0);
            negatives += here[0];
            positives += here[1];
        }
        (negatives > 0.0 && positives > 0.0).then(|| wins / negatives / positives)
    }

    /// The standard error of [`Self::area`] (`DeLong` et al. 1988); None where a class has fewer
    /// than two rows.
    pub(super) fn area_error(&self, gold: &[usize]) -> Option<f64> {
        let ones = vec![1; gold.len()];
        let counts = [0, 1].map(|class| gold.iter().filter(|&&g| g == class).count() as f64);
        let area = self.area(gold, &ones)?;
        // A row's rank among all, less its rank among its own class, counts the rows of the other
        // class below it.
        let all = self.ranks(&ones);
        let mut variance = 0.0;
        for (class, count) in [0, 1].into_iter().zip(counts) {
            if count < 2.0 {
                return None;
            }
            let own: Vec<u32> = gold.iter().map(|&g| u32::from(g == class)).collect();
            let within = self.ranks(&own);
            let expected = if class == 1 { area } else { 1.0 - area };
            let placements = (0..gold.len())
                .filter(|&row| gold[row] == class)
                .map(|row| (all[row] - within[row]) / counts[1 - class]);
            variance +=
                placements.map(|p| (p - expected).powi(2)).sum::<f64>() / (count - 1.0) / count;
        }
        Some(variance.sqrt())
    }
}

/// Pairs of numbers.
pub(super) struct Pairs {
    xs: Vec<f64>,
    ys: Vec<f64>,
    by_x: Ordered,
    by_y: Ordered,
}

impl Pairs {
    pub(super) fn new(xs: &[f64], ys: &[f64]) -> Self {
        // Taking the means out first keeps the sums of squares exact enough.
        let centred = |values: &[f64]| {
            let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
            values.iter().map(|value| value - mean).collect()
        };
        Self {
            xs: centred(xs),
            ys: centred(ys),
            by_x: Ordered::new(xs),
            by_y: Ordered::new(ys),
        }
    }

    /// Whether one side is always the same, so that nothing correlates.
    pub(super) fn constant(&self) -> bool {
        self.by_x.ends.len() < 2 || self.by_y.ends.len() < 2
    }

    /// Pearson's correlation; None where a side is constant.
    pub(super) fn pearson(&self, weights: &[u32]) -> Option<f64> {
        correlation(&self.xs, &self.ys, weights)
    }

    /// Spearman's: Pearson's of the ranks.
    pub(super) fn spearman(&self, weights: &[u32]) -> Option<f64> {
        correlation(
            &self.by_x.ranks(weights),
            &self.by_y.ranks(weights),
            weights,
        )
    }
}

fn correlation(xs: &[f64], ys: &[f64], weights: &[u32]) -> Option<f64> {
    let total: f64 = weights.iter().map(|&w| f64::from(w)).sum();
    let mean = |values: &[f64]| {
        values
            .iter()
            .zip(weights)
            .map(|(value, &w)| value * f64::from(w))
            .sum::<f64>()
            / total
    };
    let (mean_x, mean_y) = (mean(xs), mean(ys));
    let (mut xx, mut yy, mut xy) = (0.0, 0.0, 0.0);
    for ((x, y), &weight) in xs.iter().zip(ys).zip(weights) {
        let (dx, dy, weight) = (x - mean_x, y - mean_y, f64::from(weight));
        xx += weight * dx * dx;
        yy += weight * dy * dy;
        xy += weight * dx * dy;
    }
    // A resample of one value has a variance of rounding errors.
    let constant = |squares: f64, mean: f64| squares <= total * mean * mean * 1e-28;
    (!constant(xx, mean_x) && !constant(yy, mean_y))
        .then(|| (xy / (xx.sqrt() * yy.sqrt())).clamp(-1.0, 1.0))
}
