//! The linear probe (FLAVA section 4.1, CLIP's recipe): logistic regression on frozen CLS states by L-BFGS, the penalty
//! chosen on the validation split, or on a held-out part of the training split where there is none, by a search from two
//! decades down to an eighth of one, then fitted on all of it.

use std::collections::BTreeMap;

use flava_heads::{FitOptions, LinearHead};
use flava_model::runtime::stream;
use flava_tasks::{Feature, Predictions};
use rand::seq::SliceRandom;
use serde_json::{Map, Value, json};
use tch::{Kind, Tensor};

use super::{Answer, Job, probe_features};
use crate::{
    Error, Result,
    features::{Extractor, Features},
};

/// Penalties are ten to the power of an eighth of these; CLIP's 96 steps over twelve decades.
const EIGHTHS: (i32, i32) = (-48, 48);
/// First spacing: two decades, seven points.
const FIRST_SPACING: i32 = 16;
/// Steps of L-BFGS at most, the paper's.
const MAX_ITERATIONS: usize = 1000;
/// Largest entry of the gradient of the mean objective.
const TOLERANCE: f64 = 1e-5;
/// One training row in so many is held out.
const HELD_OUT: usize = 5;

pub(super) fn run(job: &Job, feature: Feature, extractor: &Extractor) -> Result<Answer> {
    let (task, splits) = (job.task, job.splits);
    let rows = splits.train.as_ref().ok_or_else(|| Error::Other(format!("{} has no training split", task.name)))?;
    let train = probe_features(feature, rows, extractor)?;
    let validation = splits.validation.as_ref().map(|rows| probe_features(feature, rows, extractor)).transpose()?;
    let test = probe_features(feature, &splits.test, extractor)?;
    let probe = match &validation {
        Some(validation) => Probe::with_validation(&train, validation, task.classes as i64)?,
        None => Probe::new(&train, task.classes as i64, job.seed)?,
    };
    let (exponent, tried) = probe.search()?;
    let (head, fit) = LinearHead::fit(&probe.features, &probe.labels, probe.classes, options(exponent), None)?;
    let predicted: Vec<i64> = head.forward(&test.values)?.f_argmax(1, false)?.try_into()?;
    let shared = test.clusters.windows(2).any(|pair| pair[0] == pair[1]);
    let gold = test.classes()?;
    let mut details = Map::new();
    details.insert("penalty".into(), json!(penalty(exponent)));
    details.insert("iterations".into(), json!(fit.iterations));
    details.insert("gradient".into(), json!(fit.gradient));
    details.insert("converged".into(), json!(fit.converged));
    details.insert("train_loss".into(), json!(fit.loss));
    details.insert("search".into(), Value::Array(tried));
    Ok(Answer {
        predictions: Predictions::Classes {
            predicted: predicted.into_iter().map(|class| class as usize).collect(),
            gold,
            clusters: shared.then_some(test.clusters),
            ids: test.ids,
        },
        skipped: train.skipped + validation.as_ref().map_or(0, |v| v.skipped) + test.skipped,
        train_rows: train.ids.len() + validation.as_ref().map_or(0, |v| v.ids.len()),
        details,
    })
}

fn penalty(exponent: i32) -> f64 {
    10f64.powf(f64::from(exponent) / 8.0)
}

fn options(exponent: i32) -> FitOptions {
    FitOptions { penalty: penalty(exponent), tolerance: TOLERANCE, max_iterations: MAX_ITERATIONS }
}

/// Training features and how they are divided for the choice of the penalty.
struct Probe {
    features: Tensor,
    labels: Tensor,
    classes: i64,
    fit: Tensor,
    held_out: Tensor,
}

impl Probe {
    fn new(train: &Features, classes: i64, seed: u64) -> Result<Self> {
        let labels: Vec<i64> = train.classes()?.into_iter().map(|class| class as i64).collect();
        // Whole clusters are held out: rows about one picture do not stand on both sides.
        let mut clusters: Vec<usize> = train.clusters.clone();
        clusters.dedup();
        if clusters.len() < HELD_OUT {
            return Err(Error::Other(format!("{} training rows are too few for a probe", labels.len())));
        }
        clusters.shuffle(&mut stream(seed, "probe: held out"));
        let held_out: std::collections::HashSet<usize> = clusters[..clusters.len() / HELD_OUT].iter().copied().collect();
        let (out, fit): (Vec<i64>, Vec<i64>) = (0..labels.len() as i64).partition(|&row| held_out.contains(&train.clusters[row as usize]));
        Ok(Self {
            features: train.values.shallow_clone(),
            labels: Tensor::from_slice(&labels),
            classes,
            fit: Tensor::from_slice(&fit),
            held_out: Tensor::from_slice(&out),
        })
    }

    /// The penalty is chosen on all rows of `validation`, and on none other.
    fn with_validation(train: &Features, validation: &Features, classes: i64) -> Result<Self> {
        let labels: Vec<i64> = train.classes()?.into_iter().chain(validation.classes()?).map(|class| class as i64).collect();
        let (first, all) = (train.ids.len() as i64, labels.len() as i64);
        Ok(Self {
            features: Tensor::f_cat(&[&train.values, &validation.values], 0)?, // [train + validation, width]
            labels: Tensor::from_slice(&labels),
            classes,
            fit: Tensor::from_slice(&(0..first).collect::<Vec<i64>>()),
            held_out: Tensor::from_slice(&(first..all).collect::<Vec<i64>>()),
        })
    }

    /// The best penalty's exponent, in eighths of a decade, and what was tried.
    ///
    /// Of equal accuracies the stronger penalty wins; which is the mildest claim that the data support.
    fn search(&self) -> Result<(i32, Vec<Value>)> {
        let select = |t: &Tensor, rows: &Tensor| t.f_index_select(0, rows);
        let fit = (select(&self.features, &self.fit)?, select(&self.labels, &self.fit)?);
        let held_out = (select(&self.features, &self.held_out)?, select(&self.labels, &self.held_out)?);
        let mut tried: BTreeMap<i32, (f64, LinearHead, Value)> = BTreeMap::new();
        let mut spacing = FIRST_SPACING;
        let mut wanted: Vec<i32> = (0..=(EIGHTHS.1 - EIGHTHS.0) / spacing).map(|i| EIGHTHS.1 - i * spacing).collect();
        loop {
            for &exponent in &wanted {
                // The objective is convex: the fit at the next stronger penalty is as good a start as any, and a near one.
                let start = tried.range(exponent + 1..).next().map(|(_, (_, head, _))| head);
                let (head, fit) = LinearHead::fit(&fit.0, &fit.1, self.classes, options(exponent), start)?;
                let right = head.forward(&held_out.0)?.f_argmax(1, false)?.f_eq_tensor(&held_out.1)?;
                let accuracy = right.f_mean(Kind::Double)?.double_value(&[]);
                let report = json!({
                    "penalty": penalty(exponent), "accuracy": accuracy, "train_loss": fit.loss, "iterations": fit.iterations,
                    "gradient": fit.gradient, "converged": fit.converged,
                });
                tried.insert(exponent, (accuracy, head, report));
            }
            let best = tried.iter().max_by(|a, b| a.1.0.total_cmp(&b.1.0).then(a.0.cmp(b.0)));
            let (&best, _) = best.expect("seven penalties were tried");
            if spacing == 1 {
                return Ok((best, tried.into_values().map(|(.., report)| report).collect()));
            }
            spacing /= 2;
            let near = [best + spacing, best - spacing];
            wanted = near.into_iter().filter(|e| (EIGHTHS.0..=EIGHTHS.1).contains(e) && !tried.contains_key(e)).collect();
        }
    }
}
