//! Whether confidence says how often an answer is right (Guo et al. 2017, arXiv 1706.04599).

use flava_tasks::{Outputs, Predictions, predictions::Logits};

use crate::report::figures::ReliabilityBin;

/// Bins of equal width, as the literature has it.
pub(crate) const BINS: usize = 15;
/// Rows that the temperature is fitted on, evenly spread over all.
const FITTED_ON: usize = 1000;
/// Powers of ten that the temperature is looked for between.
const POWERS: [f64; 2] = [-4.0, 2.0];

/// A wrong answer and how sure it was.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SureAndWrong {
    pub(crate) id: String,
    pub(crate) gold: usize,
    pub(crate) predicted: usize,
    pub(crate) confidence: f64,
}

/// How confidence and accuracy go together.
#[derive(Clone, Debug)]
pub(crate) struct Calibration {
    pub(crate) bins: Vec<ReliabilityBin>,
    /// The mean gap between confidence and accuracy of the bins, weighted by their rows.
    pub(crate) error: f64,
    pub(crate) confidence: f64,
    pub(crate) accuracy: f64,
    /// What the numbers were divided by, where they have no scale of their own.
    pub(crate) temperature: Option<f64>,
    /// The wrong answers that were the surest.
    pub(crate) surest_wrong: Vec<SureAndWrong>,
}

/// A row's answer, whether it is right, and how sure it is.
struct Sure {
    row: usize,
    right: bool,
    confidence: f64,
}

impl Calibration {
    /// `cosines` says that the numbers have no scale of their own, so that one must be fitted.
    pub(super) fn of(
        predictions: &Predictions,
        logits: &Logits,
        cosines: bool,
        most: usize,
    ) -> Option<Self> {
        let Outputs::Classes {
            predicted, gold, ..
        } = &predictions.outputs
        else {
            return None;
        };
        let temperature = cosines.then(|| fitted_temperature(logits, gold));
        let scale = 1.0 / temperature.unwrap_or(1.0);
        let rows = logits.rows().zip(predicted.iter().zip(gold)).enumerate();
        let sure: Vec<Sure> = rows
            .filter_map(|(row, (logits, (&predicted, &gold)))| {
                let confidence = log_share(logits, predicted, scale)?.exp();
                Some(Sure {
                    row,
                    right: predicted == gold,
                    confidence,
                })
            })
            .collect();
        if sure.is_empty() {
            return None;
        }
        let mean =
            |value: &dyn Fn(&Sure) -> f64| sure.iter().map(value).sum::<f64>() / sure.len() as f64;
        let confidence = mean(&|one| one.confidence);
        let accuracy = mean(&|one| f64::from(u8::from(one.right)));
        let bins = bins(&sure);
        Some(Self {
            error: expected_error(&bins),
            bins,
            confidence,
            accuracy,
            temperature,
            surest_wrong: surest_wrong(sure, predictions, most),
        })
    }
}

/// Bins of equal width, each open below and closed above.
fn bins(sure: &[Sure]) -> Vec<ReliabilityBin> {
    let mut bins = vec![ReliabilityBin::default(); BINS];
    for one in sure {
        let bin = (one.confidence * BINS as f64).ceil() as usize;
        let bin = &mut bins[bin.clamp(1, BINS) - 1];
        bin.rows += 1;
        bin.confidence += one.confidence;
        bin.accuracy += f64::from(u8::from(one.right));
    }
    for bin in &mut bins {
        let rows = bin.rows.max(1) as f64;
        (bin.confidence, bin.accuracy) = (bin.confidence / rows, bin.accuracy / rows);
    }
    bins
}

fn expected_error(bins: &[ReliabilityBin]) -> f64 {
    let rows: usize = bins.iter().map(|bin| bin.rows).sum();
    let gap = |bin: &ReliabilityBin| bin.rows as f64 * (bin.accuracy - bin.confidence).abs();
    bins.iter().map(gap).sum::<f64>() / rows.max(1) as f64
}

fn surest_wrong(mut sure: Vec<Sure>, predictions: &Predictions, most: usize) -> Vec<SureAndWrong> {
    let Outputs::Classes {
        predicted, gold, ..
    } = &predictions.outputs
    else {
        return Vec::new();
    };
    sure.retain(|one| !one.right);
    let id = |row: usize| predictions.ids.get(row).cloned().unwrap_or_default();
    sure.sort_by(|a, b| {
        let by_confidence = b.confidence.total_cmp(&a.confidence);
        by_confidence.then_with(|| id(a.row).cmp(&id(b.row)))
    });
    let told = sure.iter().take(most).map(|one| SureAndWrong {
        id: id(one.row),
        gold: gold[one.row],
        predicted: predicted[one.row],
        confidence: one.confidence,
    });
    told.collect()
}

/// The logarithm of a class's share of the exponentials; None where no class has any.
fn log_share(logits: &[f32], class: usize, scale: f64) -> Option<f64> {
    let own = f64::from(*logits.get(class)?) * scale;
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    if !most.is_finite() {
        return None;
    }
    let most = f64::from(most) * scale;
    let exponentials = logits
        .iter()
        .map(|one| (f64::from(*one) * scale - most).exp());
    Some(own - most - exponentials.sum::<f64>().ln())
}

/// The temperature with the smallest mean loss, by golden sections over its logarithm: the loss has
/// one valley there.
fn fitted_temperature(logits: &Logits, gold: &[usize]) -> f64 {
    const GOLDEN: f64 = 0.618_033_988_749_895;
    let every = gold.len().div_ceil(FITTED_ON).max(1);
    let rows: Vec<(&[f32], usize)> = logits
        .rows()
        .zip(gold.iter().copied())
        .step_by(every)
        .collect();
    let loss = |power: f64| {
        let scale = 10f64.powf(-power);
        let losses = rows.iter().filter_map(|(row, gold)| {
            let loss = -log_share(row, *gold, scale)?;
            Some(loss.min(1e3)) // a class without any share
        });
        losses.sum::<f64>()
    };
    let [mut low, mut high] = POWERS;
    let (mut a, mut b) = (high - GOLDEN * (high - low), low + GOLDEN * (high - low));
    let (mut at_a, mut at_b) = (loss(a), loss(b));
    for _ in 0..25 {
        if at_a <= at_b {
            (high, b, at_b) = (b, a, at_a);
            a = high - GOLDEN * (high - low);
            at_a = loss(a);
        } else {
            (low, a, at_a) = (a, b, at_b);
            b = low + GOLDEN * (high - low);
            at_b = loss(b);
        }
    }
    10f64.powf(f64::midpoint(low, high))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn predictions(logits: &[f32], gold: &[usize]) -> Predictions {
        let ids: Vec<String> = (0..gold.len()).map(|row| format!("row-{row}")).collect();
        let logits = Logits::new(logits.to_vec(), 2, &ids).unwrap();
        Predictions {
            ids,
            clusters: None,
            outputs: Outputs::Classes {
                predicted: logits.best(),
                gold: gold.to_vec(),
                logits: Some(logits),
            },
        }
    }

    fn seen(predictions: &Predictions, cosines: bool) -> Calibration {
        let Outputs::Classes { logits, .. } = &predictions.outputs else {
            panic!("classes");
        };
        Calibration::of(predictions, logits.as_ref().unwrap(), cosines, 5).unwrap()
    }

    /// Shares of 3/4, of which three in four are right: nothing is off. All right: a quarter is.
    #[test]
    fn the_error_is_the_gap_between_confidence_and_accuracy() {
        let sure = [3f32.ln(), 0.0].repeat(4);
        let calibrated = seen(&predictions(&sure, &[0, 0, 0, 1]), false);
        assert!(calibrated.error.abs() < 1e-6, "{}", calibrated.error);
        assert_eq!(calibrated.bins.iter().map(|bin| bin.rows).sum::<usize>(), 4);
        assert_eq!(calibrated.surest_wrong[0].id, "row-3");
        let timid = seen(&predictions(&sure, &[0; 4]), false);
        assert!((timid.error - 0.25).abs() < 1e-6);
        assert!(timid.surest_wrong.is_empty());
    }

    /// Numbers a hundred times too small have the temperature 0.01.
    #[test]
    fn a_scale_is_fitted_where_there_is_none() {
        let cosines = [3f32.ln() / 100.0, 0.0].repeat(4);
        let found = seen(&predictions(&cosines, &[0, 0, 0, 1]), true);
        assert!((found.temperature.unwrap() - 0.01).abs() < 1e-4);
        assert!(found.error < 1e-3);
    }
}
