//! Ridge regression on one-hot targets in closed form: about what a probe will give, in seconds.

use tch::{Kind, Tensor};

use crate::{Error, LinearHead, Result, sweep::accuracy};

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
        let (mut products, mut targets) = (
            Tensor::f_zeros([width, width], double)?,
            Tensor::f_zeros([width, classes], double)?,
        );
        let (mut sum, mut counts) = (
            Tensor::f_zeros([width], double)?,
            Tensor::f_zeros([classes], double)?,
        );
        for start in (0..rows).step_by(ROWS as usize) {
            let count = ROWS.min(rows - start);
            let xs = features.f_narrow(0, start, count)?;
            sum += xs.f_sum_dim_intlist(0, false, Kind::Double)?;
        }
        let mean = sum / rows as f64;
        let centre = mean.f_to_kind(features.kind())?;
        for start in (0..rows).step_by(ROWS as usize) {
            let count = ROWS.min(rows - start);
            let xs = features.f_narrow(0, start, count)?.f_sub(&centre)?;
            let truth = labels
                .f_narrow(0, start, count)?
                .f_one_hot(classes)?
                .f_to_kind(xs.kind())?; // [rows, classes]
            products += xs
                .f_transpose(0, 1)?
                .f_matmul(&xs)?
                .f_to_kind(Kind::Double)?;
            targets += xs
                .f_transpose(0, 1)?
                .f_matmul(&truth)?
                .f_to_kind(Kind::Double)?;
            counts += truth.f_sum_dim_intlist(0, false, Kind::Double)?;
        }
        // The centre was rounded to the features' kind: what that left is taken out exactly.
        let left = (&mean - centre.f_to_kind(Kind::Double)?) * rows as f64;
        let shares = counts / rows as f64;
        targets -= left.f_outer(&shares)?;
        Ok(Self {
            products,
            targets,
            mean,
            shares,
        })
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
    /// Fits on `features` \[rows, features\] and `labels`, and picks the penalty by the held-out
    /// rows.
    pub fn fit(
        features: &Tensor,
        labels: &Tensor,
        classes: i64,
        held_out: (&Tensor, &Tensor),
    ) -> Result<Self> {
        let _guard = tch::no_grad_guard();
        let moments = Moments::new(features, labels, classes)?;
        let unit = moments
            .products
            .diagonal(0, 0, 1)
            .f_mean(Kind::Double)?
            .double_value(&[]);
        let mut best: Option<Self> = None;
        for scale in PENALTIES {
            let penalty = scale * unit.max(f64::MIN_POSITIVE);
            // Too weak a penalty leaves a singular matrix where there are fewer rows than features.
            let Ok(head) = moments.solve(penalty) else {
                continue;
            };
            let accuracy = accuracy(&head, held_out)?;
            if best.as_ref().is_none_or(|best| accuracy >= best.accuracy) {
                best = Some(Self { penalty, accuracy });
            }
        }
        best.ok_or_else(|| Error::Input("the features are constant".into()))
    }
}
