//! Training rows and how they are divided for the choice of a probe's penalty.

use flava_model::runtime::{hex, stream};
use rand::seq::SliceRandom;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tch::{Device, Tensor};

use super::{Job, labels};
use crate::{
    Error, Result,
    features::{Extractor, Features},
};

/// One training row in so many is held out where there is no validation split.
const HELD_OUT: usize = 10;

/// Rows to fit on, and rows to choose settings on.
pub(super) struct Division {
    pub(super) fit: (Tensor, Tensor),
    pub(super) held_out: (Tensor, Tensor),
    pub(super) rows: usize,
    pub(super) skipped: usize,
    /// Which rows are held out, for the record.
    pub(super) described: Value,
}

impl Division {
    /// The validation split is held out; where there is none, a tenth of the training rows, whole pictures at a time.
    pub(super) fn new(job: &Job, extractor: &Extractor, device: Device) -> Result<Self> {
        let feature = job.assignment.method.feature().ok_or_else(|| Error::Other("the method reads no feature".into()))?;
        let train = extractor.features(job.train()?, feature)?;
        let place = |values: &Tensor| values.f_to_device(device);
        if let Some(rows) = &job.splits.validation {
            let held_out = extractor.features(rows, feature)?;
            return Ok(Self {
                rows: train.ids.len() + held_out.ids.len(),
                skipped: train.skipped + held_out.skipped,
                described: json!({ "split": rows.split.name, "rows": held_out.ids.len() }),
                fit: (place(&train.values)?, place(&labels(&train)?)?),
                held_out: (place(&held_out.values)?, place(&labels(&held_out)?)?),
            });
        }
        let (fit, out) = divide(&train, job.seed)?;
        let select = |rows: &[i64]| -> Result<(Tensor, Tensor)> {
            let rows = Tensor::from_slice(rows);
            Ok((place(&train.values.f_index_select(0, &rows)?)?, place(&labels(&train)?.f_index_select(0, &rows)?)?))
        };
        let ids: Vec<&str> = out.iter().map(|&row| train.ids[row as usize].as_str()).collect();
        let digest = hex(&Sha256::digest(ids.join("\n"))[..8]);
        Ok(Self {
            rows: train.ids.len(),
            skipped: train.skipped,
            described: json!({ "part_of_train": format!("1/{HELD_OUT}"), "rows": out.len(), "ids_sha256": digest, "seed": job.seed }),
            fit: select(&fit)?,
            held_out: select(&out)?,
        })
    }
}

fn divide(train: &Features, seed: u64) -> Result<(Vec<i64>, Vec<i64>)> {
    let mut clusters: Vec<usize> = train.clusters.clone();
    clusters.sort_unstable();
    clusters.dedup();
    if clusters.len() < 2 {
        return Err(Error::Other(format!("{} training rows are too few for a probe", train.ids.len())));
    }
    clusters.shuffle(&mut stream(seed, "probe: held out"));
    let held_out: std::collections::HashSet<usize> = clusters[..clusters.len().div_ceil(HELD_OUT)].iter().copied().collect();
    let rows = 0..train.clusters.len() as i64;
    Ok(rows.partition(|&row| !held_out.contains(&train.clusters[row as usize])))
}
