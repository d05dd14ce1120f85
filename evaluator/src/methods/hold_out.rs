//! Training rows and how they are divided for the choice of a probe's penalty.

use std::collections::{HashMap, HashSet};

use flava_base::{ID_RANK_RULE, id_rank};
use flava_heads::LinearHead;
use flava_tasks::{Metric, Outputs, Predictions, predictions::Logits};
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};

use super::method::{MethodInput, labels, listed_ids};
use crate::{Error, Result, features::Features};

/// One training row in so many is held out where there is no validation split.
const HELD_OUT: usize = 10;
/// Rows that are scored at once.
const ROWS: usize = 1 << 14;
/// What the ranks of rows are drawn for, which the held-out ones are chosen by.
const PURPOSE: &str = "held out";

/// Features \[rows, width\] and labels \[rows\] on the device.
pub(super) struct Labelled {
    pub(super) features: Tensor,
    pub(super) labels: Tensor,
}

impl Labelled {
    fn new(features: &Features, device: Device) -> Result<Self> {
        Ok(Self {
            features: features.values.f_to_device(device)?,
            labels: labels(features)?.f_to_device(device)?,
        })
    }

    /// As heads read them.
    pub(super) fn view(&self) -> flava_heads::Labelled<'_> {
        flava_heads::Labelled {
            features: &self.features,
            labels: &self.labels,
        }
    }

    fn select(features: &Features, rows: &[i64], device: Device) -> Result<Self> {
        let rows = Tensor::f_from_slice(rows)?;
        let values = features.values.f_index_select(0, &rows)?;
        let labels = labels(features)?.f_index_select(0, &rows)?;
        Ok(Self {
            features: values.f_to_device(device)?,
            labels: labels.f_to_device(device)?,
        })
    }
}

/// Rows to fit on, and rows to choose settings on.
pub(super) struct HoldOutSplit {
    pub(super) fit: Labelled,
    pub(super) held_out: Labelled,
    pub(super) held_out_rows: HeldOut,
    pub(super) rows: usize,
    pub(super) skipped: usize,
    /// Which rows are held out, for the record.
    pub(super) described: Value,
}

impl HoldOutSplit {
    /// The validation split is held out; where there is none, a tenth of the training rows, whole
    /// images at a time.
    pub(super) fn new(input: &MethodInput, device: Device) -> Result<Self> {
        let (feature, seed) = (input.feature()?, input.plan.seed);
        let train = input.source.features(input.train()?, feature)?;
        let train = in_rank_order(train, seed)?;
        if let Some(rows) = &input.splits.validation {
            let held_out = input.source.features(rows, feature)?;
            return Ok(Self {
                rows: train.ids.len() + held_out.ids.len(),
                skipped: train.skipped + held_out.skipped,
                described: json!({ "split": rows.split.name, "rows": held_out.ids.len() }),
                held_out_rows: HeldOut::new(&held_out, None)?,
                fit: Labelled::new(&train, device)?,
                held_out: Labelled::new(&held_out, device)?,
            });
        }
        let (fit, out) = divide(&train, seed)?;
        let ids: Vec<&str> = out
            .iter()
            .map(|&row| train.ids[row as usize].as_str())
            .collect();
        Ok(Self {
            rows: train.ids.len(),
            skipped: train.skipped,
            described: json!({
                "part_of_train": format!("1/{HELD_OUT}"),
                "rows": out.len(),
                "rule": ID_RANK_RULE,
                "seed": seed,
                "purpose": PURPOSE,
                "ids": listed_ids(&ids),
            }),
            held_out_rows: HeldOut::new(&train, Some(&out))?,
            fit: Labelled::select(&train, &fit, device)?,
            held_out: Labelled::select(&train, &out, device)?,
        })
    }
}

/// What is right for the rows that settings are chosen on.
pub(super) struct HeldOut {
    ids: Vec<String>,
    gold: Vec<usize>,
}

impl HeldOut {
    /// All rows, or those at `positions`.
    fn new(features: &Features, positions: Option<&[i64]>) -> Result<Self> {
        let classes = features.classes()?;
        let Some(positions) = positions else {
            return Ok(Self {
                ids: features.ids.clone(),
                gold: classes,
            });
        };
        let rows = || positions.iter().map(|&row| row as usize);
        Ok(Self {
            ids: rows().map(|row| features.ids[row].clone()).collect(),
            gold: rows().map(|row| classes[row]).collect(),
        })
    }

    /// A head's score on the features of these rows, \[rows, features\]; minus infinity where it is
    /// not defined.
    pub(super) fn score(
        &self,
        head: &LinearHead,
        features: &Tensor,
        metric: Metric,
        task: &str,
    ) -> Result<f64> {
        let logits = self.logits(head, features)?;
        let predictions = Predictions {
            ids: Vec::new(),
            clusters: None,
            outputs: Outputs::Classes {
                predicted: logits.best(),
                gold: self.gold.clone(),
                logits: Some(logits),
            },
        };
        let value = metric.value(&predictions, task);
        Ok(value.unwrap_or(f64::NEG_INFINITY))
    }

    fn logits(&self, head: &LinearHead, features: &Tensor) -> Result<Logits> {
        let (mut flat, mut classes) = (Vec::new(), 0);
        for start in (0..self.gold.len()).step_by(ROWS) {
            let count = ROWS.min(self.gold.len() - start);
            let some = features.f_narrow(0, start as i64, count as i64)?;
            let logits = head.forward(&some)?.f_to_kind(Kind::Float)?;
            classes = logits.size2()?.1 as usize;
            let logits = logits.f_to_device(Device::Cpu)?.f_flatten(0, -1)?;
            flat.extend(Vec::<f32>::try_from(logits)?);
        }
        Ok(Logits::new(flat, classes, &self.ids)?)
    }
}

/// The rows by the ranks of their ids: what is fitted does not depend on the order of the files
/// they came in.
pub(super) fn in_rank_order(features: Features, seed: u64) -> Result<Features> {
    let mut order: Vec<usize> = (0..features.ids.len()).collect();
    order.sort_by_cached_key(|&row| {
        (
            id_rank(seed, PURPOSE, &features.ids[row]),
            features.ids[row].clone(),
        )
    });
    features.picked(&order)
}

/// Rows to fit on and rows to hold out: the rank of an image's rows is the smallest of theirs.
fn divide(train: &Features, seed: u64) -> Result<(Vec<i64>, Vec<i64>)> {
    let mut ranks: HashMap<usize, u64> = HashMap::new();
    for (id, &cluster) in train.ids.iter().zip(&train.clusters) {
        let rank = id_rank(seed, PURPOSE, id);
        ranks
            .entry(cluster)
            .and_modify(|known| *known = rank.min(*known))
            .or_insert(rank);
    }
    let mut clusters: Vec<(u64, usize)> = ranks
        .into_iter()
        .map(|(cluster, rank)| (rank, cluster))
        .collect();
    if clusters.len() < 2 {
        return Err(Error::UnfitRows(format!(
            "{} training rows are too few for a probe",
            train.ids.len()
        )));
    }
    clusters.sort_unstable();
    let held_out: HashSet<usize> = clusters[..clusters.len().div_ceil(HELD_OUT)]
        .iter()
        .map(|(_, cluster)| *cluster)
        .collect();
    let rows = 0..train.clusters.len() as i64;
    Ok(rows.partition(|&row| !held_out.contains(&train.clusters[row as usize])))
}
