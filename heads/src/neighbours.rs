//! The classifier of the nearest neighbours (DINO's protocol): each of the nearest training rows
//! votes for its class, the nearer the more.

use flava_model::runtime::linear;
use tch::{Kind, Tensor};

use crate::{Error, Result};

/// Rows whose similarities are in memory at once.
const CHUNK: i64 = 256;
/// Norms below this are taken for it.
const SMALLEST_NORM: f64 = 1e-12;

/// Training rows of unit length with their classes.
#[derive(Debug)]
pub struct Neighbours {
    features: Tensor,
    labels: Tensor,
    classes: i64,
    temperature: f64,
}

/// The nearest training rows of some rows, the nearest first: \[rows, nearest\].
struct Nearest {
    classes: Tensor,
    /// Of their votes.
    weights: Tensor,
}

impl Neighbours {
    /// Over `features` \[rows, features\] and `labels` \[rows\]; a row of cosine s votes with exp(s
    /// / temperature).
    pub fn new(features: &Tensor, labels: &Tensor, classes: i64, temperature: f64) -> Result<Self> {
        let (rows, _) = features.size2()?;
        if labels.size() != [rows] || rows == 0 {
            return Err(Error::Input(format!(
                "{rows} rows with labels {:?}",
                labels.size()
            )));
        }
        Ok(Self {
            features: unit_length(features)?,
            labels: labels.f_to_device(features.device())?,
            classes,
            temperature,
        })
    }

    /// The classes' votes among the nearest k rows (or all, where there are fewer), for each k:
    /// \[rows, classes\] each.
    pub fn votes(&self, features: &Tensor, ks: &[i64]) -> Result<Vec<Tensor>> {
        let _guard = tch::no_grad_guard();
        let (rows, _) = features.size2()?;
        let most = ks.iter().max().copied().unwrap_or(0);
        let most = most.min(self.features.size()[0]);
        let mut votes: Vec<Vec<Tensor>> = ks.iter().map(|_| Vec::new()).collect();
        for start in (0..rows).step_by(CHUNK as usize) {
            let count = CHUNK.min(rows - start);
            let nearest = self.nearest(&features.f_narrow(0, start, count)?, most)?;
            for (votes, &k) in votes.iter_mut().zip(ks) {
                let k = k.min(most);
                let double = (Kind::Double, features.device());
                votes.push(
                    Tensor::f_zeros([count, self.classes], double)?.f_scatter_add(
                        1,
                        &nearest.classes.f_narrow(1, 0, k)?,
                        &nearest.weights.f_narrow(1, 0, k)?,
                    )?,
                );
            }
        }
        votes
            .iter()
            .map(|parts| Ok(Tensor::f_cat(parts, 0)?))
            .collect()
    }

    /// The nearest `most` training rows of each row.
    fn nearest(&self, features: &Tensor, most: i64) -> Result<Nearest> {
        let queries = unit_length(features)?;
        let (count, _) = queries.size2()?;
        let similarities = linear(&queries, &self.features, None)?; // [chunk, training rows]
        let (nearest, positions) = similarities.f_topk(most, 1, true, true)?;
        let classes = self
            .labels
            .f_index_select(0, &positions.f_flatten(0, -1)?)?;
        Ok(Nearest {
            classes: classes.f_view([count, most])?,
            weights: (nearest.f_to_kind(Kind::Double)? / self.temperature).f_exp()?,
        })
    }
}

fn unit_length(features: &Tensor) -> Result<Tensor> {
    let floats = if features.kind() == Kind::Double {
        features.shallow_clone()
    } else {
        features.f_to_kind(Kind::Float)?
    };
    let norms = floats
        .f_norm_scalaropt_dim(2.0, [-1], true)?
        .f_clamp_min(SMALLEST_NORM)?;
    Ok(floats.f_div(&norms)?)
}
