//! Training rows and how they are divided for the choice of a probe's penalty.

use std::collections::{HashMap, HashSet};

use flava_base::{ID_RANK_RULE, id_rank};
use flava_heads::LinearHead;
use flava_tasks::{Metric, Outputs, Predictions, predictions::Logits};
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};

use super::{Job, labels, listed_ids};
use crate::{
    Error, Result,
    features::{Extractor, Features},
};

/// One training row in so many is held out where there is no validation split.
const HELD_OUT: usize = 10;
/// Rows that are scored at once.
const ROWS: usize = 1 << 14;
/// What the ranks of rows are drawn for, which the held-out ones are chosen by.
const PURPOSE: &str = "held out";

/// Rows to fit on, and rows to choose settings on.
pub(super) struct Division {
    pub(super) fit: (Tensor, Tensor),
    pub(super) held_out: (Tensor, Tensor),
    pub(super) held_out_rows: HeldOut,
    pub(super) rows: usize,
    pub(super) skipped: usize,
    /// Which rows are held out, for the record.
    pub(super) described: Value,
}

impl Division {
    /// The validation split is held out; where there is none, a tenth of the training rows, whole
    /// pictures at a time.
    pub(super) fn new(job: &Job, extractor: &Extractor, device: Device) -> Result<Self> {
        let feature = job
            .assignment
            .method
            .feature()
            .ok_or_else(|| Error::Other("the method reads no feature".into()))?;
        let train = in_rank_order(extractor.features(job.train()?, feature)?, job.seed)?;
        let place = |values: &Tensor| values.f_to_device(device);
        if let Some(rows) = &job.splits.validation {
            let held_out = extractor.features(rows, feature)?;
            return Ok(Self {
                rows: train.ids.len() + held_out.ids.len(),
                skipped: train.skipped + held_out.skipped,
                described: json!({ "split": rows.split.name, "rows": held_out.ids.len() }),
                held_out_rows: HeldOut::new(&held_out, None)?,
                fit: (place(&train.values)?, place(&labels(&train)?)?),
                held_out: (place(&held_out.values)?, place(&labels(&held_out)?)?),
            });
        }
        let (fit, out) = divide(&train, job.seed)?;
        let select = |rows: &[i64]| -> Result<(Tensor, Tensor)> {
            let rows = Tensor::from_slice(rows);
            Ok((
                place(&train.values.f_index_select(0, &rows)?)?,
                place(&labels(&train)?.f_index_select(0, &rows)?)?,
            ))
        };
        let ids: Vec<&str> = out
            .iter()
            .map(|&row| train.ids[row as usize].as_str())
            .collect();
        Ok(Self {
            rows: train.ids.len(),
            skipped: train.skipped,
            described: json!({
                "part_of_train": format!("1/{HELD_OUT}"), "rows": out.len(), "rule": ID_RANK_RULE, "seed": job.seed, "purpose": PURPOSE,
                "ids": listed_ids(&ids),
            }),
            held_out_rows: HeldOut::new(&train, Some(&out))?,
            fit: select(&fit)?,
            held_out: select(&out)?,
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
        Ok(match positions {
            None => Self {
                ids: features.ids.clone(),
                gold: classes,
            },
            Some(positions) => Self {
                ids: positions
                    .iter()
                    .map(|&row| features.ids[row as usize].clone())
                    .collect(),
                gold: positions.iter().map(|&row| classes[row as usize]).collect(),
            },
        })
    }

    /// A head's score on the features of these rows, \[rows, features\]; minus infinity where it is
    /// not defined.
    pub(super) fn score(
        &self,
        head: &LinearHead,
        features: &Tensor,
        (metric, task): (Metric, &str),
    ) -> Result<f64> {
        let (mut flat, mut classes) = (Vec::new(), 0);
        for start in (0..self.gold.len()).step_by(ROWS) {
            let count = ROWS.min(self.gold.len() - start);
            let logits = head
                .forward(&features.f_narrow(0, start as i64, count as i64)?)?
                .f_to_kind(Kind::Float)?;
            classes = logits.size2()?.1 as usize;
            flat.extend(Vec::<f32>::try_from(
                logits.f_to_device(Device::Cpu)?.f_flatten(0, -1)?,
            )?);
        }
        let logits = Logits::new(flat, classes, &self.ids)?;
        let outputs = Outputs::Classes {
            predicted: logits.best(),
            gold: self.gold.clone(),
            logits: Some(logits),
        };
        let predictions = Predictions {
            ids: Vec::new(),
            clusters: None,
            outputs,
        };
        Ok(metric
            .value(&predictions, task)
            .unwrap_or(f64::NEG_INFINITY))
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

/// Rows to fit on and rows to hold out: the rank of a picture's rows is the smallest of theirs.
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
        return Err(Error::Other(format!(
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
