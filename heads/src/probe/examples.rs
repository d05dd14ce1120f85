//! The rows that a probe is fitted on, and one pass over them: their moments, or the losses and
//! gradients of many heads at once.

use flava_model::runtime::linear;
use tch::{Device, Kind, Tensor};

use crate::{Error, Result};

/// Rows that the covariance is estimated from, at least, and for each feature.
const COVARIANCE_ROWS: i64 = 4096;
const COVARIANCE_ROWS_A_FEATURE: i64 = 4;
/// Scores that are in memory at once.
const SCORES_AT_ONCE: i64 = 1 << 19;
const CHUNK_ROWS: std::ops::RangeInclusive<i64> = 512..=4096;

/// Features and their labels.
#[derive(Debug)]
pub(super) struct Examples {
    /// \[rows, features\] each, f32 or f64.
    pub(super) blocks: Vec<Tensor>,
    /// Of each block, int64.
    labels: Vec<Tensor>,
    pub(super) classes: i64,
    /// Rows of all blocks.
    pub(super) count: i64,
}

/// Objective and gradient of one problem at one place.
pub(super) struct Evaluation {
    pub(super) loss: f64,
    /// \[columns, features + 1\], f64: of the loss alone.
    pub(super) gradient: Tensor,
}

impl Examples {
    pub(super) fn new(blocks: Vec<Tensor>, labels: &Tensor, classes: i64) -> Result<Self> {
        let blocks = blocks
            .iter()
            .map(floats)
            .collect::<std::result::Result<Vec<_>, _>>()?;
        let count: i64 = blocks.iter().map(|block| block.size()[0]).sum();
        check_labels(labels, count, classes)?;
        let labels = labels.f_to_device(blocks[0].device())?;
        let mut split = Vec::with_capacity(blocks.len());
        let mut start = 0;
        for block in &blocks {
            let rows = block.size()[0];
            split.push(labels.f_narrow(0, start, rows)?);
            start += rows;
        }
        Ok(Self {
            labels: split,
            classes,
            count,
            blocks,
        })
    }

    /// Columns of scores: a class each, but one for two classes.
    pub(super) fn columns(&self) -> i64 {
        if self.classes == 2 { 1 } else { self.classes }
    }

    /// The mean of each feature, f64.
    ///
    /// # Errors
    /// If a feature is not finite.
    pub(super) fn mean(&self) -> Result<Tensor> {
        let double = (Kind::Double, self.blocks[0].device());
        let (mut sum, mut count) = (Tensor::f_zeros([self.blocks[0].size()[1]], double)?, 0);
        for block in &self.blocks {
            for (start, length) in pieces(block.size()[0], *CHUNK_ROWS.end()) {
                let rows = block.f_narrow(0, start, length)?;
                sum += rows.f_sum_dim_intlist(0, false, Kind::Double)?;
                count += length;
            }
            // A sum of f64 overflows for no f32, so it is finite if and only if all of it is.
            if sum.f_isfinite()?.f_all()?.int64_value(&[]) == 0 {
                return Err(Error::Input(format!(
                    "features of the first {count} rows are not all finite"
                )));
            }
        }
        Ok(sum / count as f64)
    }

    /// The covariance, \[features, features\], f64; of rows spread evenly where there are many.
    pub(super) fn covariance(&self, mean: &Tensor) -> Result<Tensor> {
        let features = self.blocks[0].size()[1];
        let wanted = COVARIANCE_ROWS.max(COVARIANCE_ROWS_A_FEATURE * features);
        let stride = (self.count / wanted).max(1);
        let double = (Kind::Double, self.blocks[0].device());
        let centre = mean.f_to_kind(self.blocks[0].kind())?;
        let (mut products, mut rows) = (Tensor::f_zeros([features, features], double)?, 0);
        for block in &self.blocks {
            for (start, length) in pieces(block.size()[0], stride * *CHUNK_ROWS.end()) {
                let piece = block
                    .f_slice(0, start, start + length, stride)?
                    .f_sub(&centre)?; // [rows, features]
                let product = piece.f_transpose(0, 1)?.f_matmul(&piece)?;
                products += product.f_to_kind(Kind::Double)?;
                rows += piece.size()[0];
            }
        }
        Ok(products / rows as f64)
    }

    /// Losses and gradients, divided by the number of examples, of all places in one pass over the
    /// features.
    pub(super) fn evaluate(&self, positions: &[Tensor], kind: Kind) -> Result<Vec<Evaluation>> {
        let mut pass = Pass::new(positions, self.columns(), kind)?;
        let rows = (SCORES_AT_ONCE / (pass.count * pass.columns))
            .clamp(*CHUNK_ROWS.start(), *CHUNK_ROWS.end());
        for (block, labels) in self.blocks.iter().zip(&self.labels) {
            for (start, length) in pieces(block.size()[0], rows) {
                let xs = block.f_narrow(0, start, length)?.f_to_kind(kind)?; // [rows, features]
                pass.add(&xs, &labels.f_narrow(0, start, length)?)?;
            }
        }
        pass.finish(self.count as f64)
    }
}

fn floats(block: &Tensor) -> std::result::Result<Tensor, tch::TchError> {
    block.f_to_kind(if block.kind() == Kind::Double {
        Kind::Double
    } else {
        Kind::Float
    })
}

fn check_labels(labels: &Tensor, examples: i64, classes: i64) -> Result<()> {
    if examples == 0 || labels.size() != [examples] {
        return Err(Error::Input(format!(
            "{examples} examples with labels {:?}",
            labels.size()
        )));
    }
    let below = labels.f_min()?.int64_value(&[]) < 0;
    if below || labels.f_max()?.int64_value(&[]) >= classes || classes < 2 {
        return Err(Error::Input(format!(
            "labels are not all in 0 to {}",
            classes - 1
        )));
    }
    Ok(())
}

/// Heads at several places, and the sums over the examples that were shown to them.
struct Pass {
    /// Number of places.
    count: i64,
    columns: i64,
    features: i64,
    /// \[problems * columns, features\].
    weight: Tensor,
    /// \[problems * columns\].
    bias: Tensor,
    /// \[problems\], f64.
    losses: Tensor,
    /// \[problems * columns, features + 1\], f64.
    gradient: Tensor,
}

impl Pass {
    fn new(positions: &[Tensor], columns: i64, kind: Kind) -> Result<Self> {
        let count = positions.len() as i64;
        let stacked = Tensor::f_cat(positions, 0)?; // [problems * columns, features + 1]
        let features = stacked.size()[1] - 1;
        let weight = stacked.narrow(1, 0, features).f_to_kind(kind)?;
        let double = (Kind::Double, stacked.device());
        Ok(Self {
            count,
            columns,
            features,
            weight: weight.f_contiguous()?,
            bias: stacked.select(1, features).f_to_kind(kind)?,
            losses: Tensor::f_zeros([count], double)?,
            gradient: Tensor::f_zeros([count * columns, features + 1], double)?,
        })
    }

    /// Adds the examples `xs` \[rows, features\].
    fn add(&mut self, xs: &Tensor, labels: &Tensor) -> Result<()> {
        let (length, _) = xs.size2()?;
        let scores = linear(xs, &self.weight, Some(&self.bias))?;
        let scores = scores.f_view([length, self.count, self.columns])?; // [rows, problems, columns]
        let (loss, residual) = if self.columns == 1 {
            sigmoid(scores, labels)?
        } else {
            softmax(&scores, labels)?
        };
        self.losses += loss;
        let residual = residual.f_view([length, self.count * self.columns])?;
        // [problems * columns, features]
        let of_weights = linear(&residual.f_transpose(0, 1)?, &xs.f_transpose(0, 1)?, None)?;
        let _added = self
            .gradient
            .narrow(1, 0, self.features)
            .f_add_(&of_weights.f_to_kind(Kind::Double)?)?;
        let _added = self
            .gradient
            .select(1, self.features)
            .f_add_(&residual.f_sum_dim_intlist(0, false, Kind::Double)?)?;
        Ok(())
    }

    /// The sums, divided by the number of examples.
    fn finish(self, examples: f64) -> Result<Vec<Evaluation>> {
        let losses = (self.losses / examples).f_to_device(Device::Cpu)?;
        let losses: Vec<f64> = losses.try_into()?;
        let shape = [self.count, self.columns, self.features + 1];
        let gradients = (self.gradient / examples).f_view(shape)?;
        let evaluation = |(loss, i)| Evaluation {
            loss,
            gradient: gradients.get(i),
        };
        Ok(losses.into_iter().zip(0..).map(evaluation).collect())
    }
}

/// Losses \[problems\], f64 sums, and residuals in the scores' shape, of scores \[rows, problems,
/// 1\] of class 1.
fn sigmoid(scores: Tensor, labels: &Tensor) -> Result<(Tensor, Tensor)> {
    let truth = labels.f_view([-1, 1, 1])?.f_to_kind(scores.kind())?;
    let losses = scores.f_softplus()? - &scores * &truth;
    let loss = losses.f_sum_dim_intlist([0i64, 2].as_slice(), false, Kind::Double)?;
    Ok((loss, scores.f_sigmoid()? - truth))
}

/// The same of scores \[rows, problems, classes\].
fn softmax(scores: &Tensor, labels: &Tensor) -> Result<(Tensor, Tensor)> {
    let (rows, problems, _) = scores.size3()?;
    let position = labels
        .f_view([rows, 1, 1])?
        .f_expand([rows, problems, 1], false)?;
    let mut log_probs = scores.f_log_softmax(-1, scores.kind())?;
    let right = log_probs.f_gather(2, &position, false)?; // [rows, problems, 1]
    let loss = right
        .f_sum_dim_intlist([0i64, 2].as_slice(), false, Kind::Double)?
        .f_neg()?;
    let mut residual = log_probs.f_exp_()?;
    let minus = Tensor::f_full([1, 1, 1], -1.0, (scores.kind(), scores.device()))?
        .f_expand([rows, problems, 1], false)?;
    Ok((loss, residual.f_scatter_add_(2, &position, &minus)?))
}

/// Starts and lengths of pieces of at most `most` rows.
fn pieces(rows: i64, most: i64) -> impl Iterator<Item = (i64, i64)> {
    (0..rows)
        .step_by(most as usize)
        .map(move |start| (start, most.min(rows - start)))
}
