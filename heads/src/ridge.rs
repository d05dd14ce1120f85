//! Ridge regression on one-hot targets in closed form: about what a probe will give, in seconds.

use tch::{Kind, Tensor};

use crate::{Error, Labelled, LinearHead, Result, sweep::accuracy};

/// Penalties that are tried, in units of the number of examples times the mean variance of a
/// feature.
const PENALTIES: [f64; 7] = [1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0];
/// Rows whose products are made at once.
const ROWS: i64 = 1 << 13;

/// The best of some penalties.
#[derive(Debug)]
pub struct Ridge {
    /// Weight of the squared weights beside the sum of squared errors (scikit-learn's `alpha`).
    pub penalty: f64,
    /// Share of held-out rows that it gets right.
    pub accuracy: f64,
}

/// Sums over the training rows: what every penalty's solution follows from.
#[derive(Debug)]
pub struct Moments {
    /// \[features, features\] and \[features, classes\], centred; f64.
    products: Tensor,
    targets: Tensor,
    mean: Tensor,
    shares: Tensor,
}

impl Moments {
    /// Of features \[rows, features\] and labels \[rows\].
    pub fn new(features: &Tensor, labels: &Tensor, classes: i64) -> Result<Self> {
        let (rows, width) = features.size2()?;
        let double = (Kind::Double, features.device());
        let mean = mean(features)?;
        let centre = mean.f_to_kind(features.kind())?;
        let mut moments = Self {
            products: Tensor::f_zeros([width, width], double)?,
            targets: Tensor::f_zeros([width, classes], double)?,
            shares: Tensor::f_zeros([classes], double)?,
            mean,
        };
        for start in (0..rows).step_by(ROWS as usize) {
            let count = ROWS.min(rows - start);
            let xs = features.f_narrow(0, start, count)?.f_sub(&centre)?;
            let truth = labels.f_narrow(0, start, count)?.f_one_hot(classes)?;
            let truth = truth.f_to_kind(xs.kind())?; // [rows, classes]
            moments.add(&xs, &truth)?;
            moments.shares += truth.f_sum_dim_intlist(0, false, Kind::Double)?;
        }
        // The centre was rounded to the features' kind: what that left is taken out exactly.
        let left = (&moments.mean - centre.f_to_kind(Kind::Double)?) * rows as f64;
        moments.shares /= rows as f64;
        moments.targets -= left.f_outer(&moments.shares)?;
        Ok(moments)
    }

    /// Adds the products of centred rows \[rows, features\] with themselves and with one-hot
    /// targets \[rows, classes\].
    fn add(&mut self, xs: &Tensor, truth: &Tensor) -> Result<()> {
        let turned = xs.f_transpose(0, 1)?;
        self.products += turned.f_matmul(xs)?.f_to_kind(Kind::Double)?;
        self.targets += turned.f_matmul(truth)?.f_to_kind(Kind::Double)?;
        Ok(())
    }

    /// The mean variance of a feature, times the number of examples.
    fn unit(&self) -> Result<f64> {
        let variances = self.products.diagonal(0, 0, 1);
        Ok(variances.f_mean(Kind::Double)?.double_value(&[]))
    }

    /// The head that minimises the squared errors plus `penalty` times the squared weights; the
    /// bias is free.
    pub fn solve(&self, penalty: f64) -> Result<LinearHead> {
        let (width, _) = self.products.size2()?;
        let matrix = &self.products
            + Tensor::f_eye(width, (Kind::Double, self.products.device()))? * penalty;
        let factor = matrix.f_linalg_cholesky(false)?;
        let weight = self.targets.f_cholesky_solve(&factor, false)?.tr(); // [classes, features]
        let bias = &self.shares - weight.f_mv(&self.mean)?;
        Ok(LinearHead::new(weight, bias))
    }
}

impl Ridge {
    /// Fits on `examples`, and picks the penalty by the held-out ones.
    pub fn fit(examples: Labelled, classes: i64, held_out: Labelled) -> Result<Self> {
        let _guard = tch::no_grad_guard();
        let moments = Moments::new(examples.features, examples.labels, classes)?;
        let unit = moments.unit()?;
        let mut best: Option<Self> = None;
        for scale in PENALTIES {
            let penalty = scale * unit.max(f64::MIN_POSITIVE);
            // Too weak a penalty leaves a singular matrix where there are fewer rows than features.
            let Ok(head) = moments.solve(penalty) else {
                continue;
            };
            let accuracy = accuracy(&head, held_out.features, held_out.labels)?;
            if best.as_ref().is_none_or(|best| accuracy >= best.accuracy) {
                best = Some(Self { penalty, accuracy });
            }
        }
        best.ok_or_else(|| Error::Input("the features are constant".into()))
    }
}

/// The mean of each feature, f64.
fn mean(features: &Tensor) -> Result<Tensor> {
    let (rows, width) = features.size2()?;
    let mut sum = Tensor::f_zeros([width], (Kind::Double, features.device()))?;
    for start in (0..rows).step_by(ROWS as usize) {
        let count = ROWS.min(rows - start);
        let xs = features.f_narrow(0, start, count)?;
        sum += xs.f_sum_dim_intlist(0, false, Kind::Double)?;
    }
    Ok(sum / rows as f64)
}
