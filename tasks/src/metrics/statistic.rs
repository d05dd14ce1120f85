//! Metrics as functions of how often each row counts, which is what is resampled.

use super::{
    clusters::grouped,
    confusion::Confusion,
    metric::Metric,
    ranks::{Ordered, Pairs},
};
use crate::{Outputs, Predictions};

/// A metric as a function of how often each row counts.
pub(super) type Statistic<'a> = Box<dyn Fn(&[u32]) -> Option<f64> + Sync + 'a>;

impl Metric {
    /// The metric as a function of how often each row counts, of those that are no mean over rows.
    pub(super) fn statistic(self, predictions: &Predictions) -> Option<Statistic<'_>> {
        match &predictions.outputs {
            Outputs::Classes {
                predicted,
                gold,
                logits,
            } => match self {
                Self::Matthews | Self::F1 | Self::AccuracyF1Mean => {
                    Some(self.of_table(Confusion::new(predicted, gold)))
                }
                Self::RocAuc => {
                    let order = Ordered::new(&logits.as_ref()?.margins()?);
                    Some(Box::new(move |weights| order.area(gold, weights)))
                }
                Self::MeanPerClass => Some(mean_per_class(predicted, gold)),
                _ => None,
            },
            Outputs::Values { predicted, gold } => self.of_pairs(predicted, gold),
            _ => None,
        }
    }

    fn of_table(self, table: Confusion) -> Statistic<'static> {
        match self {
            Self::Matthews => Box::new(move |weights| table.matthews(weights)),
            Self::F1 => Box::new(move |weights| table.f1(weights)),
            _ => Box::new(move |weights| table.accuracy_f1_mean(weights)),
        }
    }

    /// None where a side is constant.
    fn of_pairs(self, xs: &[f64], ys: &[f64]) -> Option<Statistic<'static>> {
        if !matches!(self, Self::Pearson | Self::Spearman) {
            return None;
        }
        let pairs = Pairs::new(xs, ys);
        if pairs.constant() {
            return None;
        }
        Some(if self == Self::Pearson {
            Box::new(move |weights| pairs.pearson(weights))
        } else {
            Box::new(move |weights| pairs.spearman(weights))
        })
    }
}

fn mean_per_class<'a>(predicted: &'a [usize], gold: &[usize]) -> Statistic<'a> {
    let classes = grouped(gold);
    Box::new(move |weights| {
        let share = |(class, rows): (&usize, &Vec<usize>)| {
            let total: u32 = rows.iter().map(|&row| weights[row]).sum();
            let right = rows.iter().filter(|&&row| predicted[row] == *class);
            let right: u32 = right.map(|&row| weights[row]).sum();
            (total > 0).then(|| f64::from(right) / f64::from(total))
        };
        let shares: Vec<f64> = classes.iter().filter_map(share).collect();
        (!shares.is_empty()).then(|| shares.iter().sum::<f64>() / shares.len() as f64)
    })
}
