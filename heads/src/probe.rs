//! The probe's solver: many penalties at once over features that stay where they are.
//!
//! All problems share each pass over the features, so that their products are one large one. Every
//! problem is minimised by L-BFGS in coordinates in which its curvature is about one: features are
//! centred (implicitly: the bias takes it up) and multiplied by the inverse Cholesky factor of `h
//! cov(X) + penalty / n`, `h` being the mean curvature of the loss. That is the same convex
//! objective; only the way to its minimum is shorter.

use tch::{Device, Kind, Tensor};

use crate::{Error, Fit, FitOptions, LinearHead, Result, minimise::Minimiser};

/// Steps that shape the next one.
const MEMORY: usize = 8;
/// Rows that the covariance is estimated from, at least, and for each feature.
const COVARIANCE_ROWS: i64 = 4096;
const COVARIANCE_ROWS_A_FEATURE: i64 = 4;
/// Scores that are in memory at once.
const SCORES_AT_ONCE: i64 = 1 << 19;
const CHUNK_ROWS: std::ops::RangeInclusive<i64> = 512..=4096;
/// Share of the objective that may be left to gain.
const GAIN: f64 = 1e-2;
/// Share of the tolerance at which nothing is left to gain.
const VERY_NEAR: f64 = 1e-3;
/// Share of the covariance's mean diagonal below which a direction counts as empty.
const EMPTY: f64 = 1e-7;

/// Features and labels to fit heads on.
#[derive(Debug)]
pub struct Probe {
    /// \[rows, features\] each, f32 or f64.
    blocks: Vec<Tensor>,
    /// Of each block, int64.
    labels: Vec<Tensor>,
    classes: i64,
    examples: i64,
    /// \[features\], f64.
    mean: Tensor,
    /// \[features, features\], f64.
    covariance: Tensor,
}

/// One penalty's problem.
struct Problem {
    /// Penalty divided by the number of examples.
    decay: f64,
    /// \[features, features\]: coordinates times this are weights; f64.
    scale: Tensor,
    bias_scale: f64,
    search: Minimiser,
    /// Objective and largest entry of the gradient where the search has come to.
    loss: f64,
    gradient: f64,
    /// Weights \[columns, features + 1\] there, the last column the bias of uncentred features.
    weights: Tensor,
    done: bool,
}

/// Objective and gradient of one problem at one place.
struct Evaluation {
    loss: f64,
    /// \[columns, features + 1\], f64: of the loss alone.
    gradient: Tensor,
}

impl Probe {
    /// Over blocks of features \[rows, features\] of one device, and labels \[all rows\] in 0 ..
    /// `classes`.
    pub fn new(blocks: Vec<Tensor>, labels: &Tensor, classes: i64) -> Result<Self> {
        let floats = |block: &Tensor| {
            block.f_to_kind(if block.kind() == Kind::Double {
                Kind::Double
            } else {
                Kind::Float
            })
        };
        let blocks = blocks
            .iter()
            .map(floats)
            .collect::<std::result::Result<Vec<_>, _>>()?;
        let examples: i64 = blocks.iter().map(|block| block.size()[0]).sum();
        if examples == 0 || labels.size() != [examples] {
            return Err(Error::Input(format!(
                "{examples} examples with labels {:?}",
                labels.size()
            )));
        }
        if labels.min().int64_value(&[]) < 0
            || labels.max().int64_value(&[]) >= classes
            || classes < 2
        {
            return Err(Error::Input(format!(
                "labels are not all in 0 to {}",
                classes - 1
            )));
        }
        let labels = labels.f_to_device(blocks[0].device())?;
        let mut split = Vec::with_capacity(blocks.len());
        let mut start = 0;
        for block in &blocks {
            let rows = block.size()[0];
            split.push(labels.f_narrow(0, start, rows)?);
            start += rows;
        }
        let mut probe = Self {
            labels: split,
            classes,
            examples,
            mean: Tensor::new(),
            covariance: Tensor::new(),
            blocks,
        };
        probe.describe()?;
        Ok(probe)
    }

    /// Mean and covariance, of rows spread evenly where there are many.
    fn describe(&mut self) -> Result<()> {
        let features = self.blocks[0].size()[1];
        let wanted = COVARIANCE_ROWS.max(COVARIANCE_ROWS_A_FEATURE * features);
        let stride = (self.examples / wanted).max(1);
        let device = self.blocks[0].device();
        let double = (Kind::Double, device);
        let (mut sum, mut count) = (Tensor::f_zeros([features], double)?, 0);
        for block in &self.blocks {
            for (start, length) in pieces(block.size()[0], *CHUNK_ROWS.end()) {
                sum +=
                    block
                        .f_narrow(0, start, length)?
                        .f_sum_dim_intlist(0, false, Kind::Double)?;
                count += length;
            }
            // A sum of f64 overflows for no f32, so it is finite if and only if all of it is.
            if sum.isfinite().all().int64_value(&[]) == 0 {
                return Err(Error::Input(format!(
                    "features of the first {count} rows are not all finite"
                )));
            }
        }
        let mean = sum / count as f64;
        let centre = mean.f_to_kind(self.blocks[0].kind())?;
        let (mut products, mut rows) = (Tensor::f_zeros([features, features], double)?, 0);
        for block in &self.blocks {
            for (start, length) in pieces(block.size()[0], stride * *CHUNK_ROWS.end()) {
                let piece = block
                    .f_slice(0, start, start + length, stride)?
                    .f_sub(&centre)?; // [rows, features]
                products += piece
                    .f_transpose(0, 1)?
                    .f_matmul(&piece)?
                    .f_to_kind(Kind::Double)?;
                rows += piece.size()[0];
            }
        }
        (self.mean, self.covariance) = (mean, products / rows as f64);
        Ok(())
    }

    /// Its features back.
    pub fn into_blocks(self) -> Vec<Tensor> {
        self.blocks
    }

    /// Columns of scores: a class each, but one for two classes.
    pub(crate) fn columns(&self) -> i64 {
        if self.classes == 2 { 1 } else { self.classes }
    }

    /// Fits a head for each penalty (scikit-learn's 1 / C), from a start or from zero.
    pub fn fit(
        &self,
        wanted: &[(f64, Option<&LinearHead>)],
        options: &FitOptions,
    ) -> Result<Vec<(LinearHead, Fit)>> {
        let _guard = tch::no_grad_guard();
        let mut problems = wanted
            .iter()
            .map(|(penalty, start)| self.problem(*penalty, *start))
            .collect::<Result<Vec<_>>>()?;
        // f32 first; what rounding stops short of the tolerance goes on in f64, and f64 says what
        // was reached.
        for kind in [Kind::Float, Kind::Double] {
            loop {
                let mut open: Vec<&mut Problem> = problems.iter_mut().filter(|p| !p.done).collect();
                if open.is_empty() {
                    break;
                }
                self.advance(&mut open, kind, options)?;
            }
            if kind == Kind::Float {
                self.check(&mut problems, options)?;
            }
        }
        let finish = |problem: Problem| {
            let features = self.mean.size()[0];
            let converged = problem.gradient <= options.tolerance;
            let fit = Fit {
                loss: problem.loss,
                gradient: problem.gradient,
                iterations: problem.search.iterations,
                converged,
            };
            (
                LinearHead {
                    weight: problem.weights.narrow(1, 0, features),
                    bias: problem.weights.select(1, features),
                },
                fit,
            )
        };
        Ok(problems.into_iter().map(finish).collect())
    }

    fn problem(&self, penalty: f64, start: Option<&LinearHead>) -> Result<Problem> {
        let decay = penalty / self.examples as f64;
        let features = self.mean.size()[0];
        // The loss's curvature in a score where all classes are as likely: p (1 - p).
        let share = 1.0 / self.classes as f64;
        let curvature = share * (1.0 - share);
        let identity = Tensor::f_eye(features, (Kind::Double, self.mean.device()))?;
        let factor = self.factor(curvature, decay, &identity)?; // L
        let scale = factor.f_linalg_solve_triangular(&identity, false, true, false)?; // L^-1: weights are coordinates times this
        let bias_scale = 1.0 / curvature.sqrt();
        let columns = self.columns();
        let weights = match start {
            None => Tensor::f_zeros([columns, features + 1], (Kind::Double, self.mean.device()))?,
            Some(head) => {
                let place = |t: &Tensor| t.f_to_device(self.mean.device())?.f_to_kind(Kind::Double);
                Tensor::f_cat(
                    &[place(&head.weight)?, place(&head.bias)?.f_unsqueeze(1)?],
                    1,
                )?
            }
        };
        let (weight, bias) = (weights.narrow(1, 0, features), weights.select(1, features));
        let centred = &bias + weight.f_mv(&self.mean)?;
        let coordinates = Tensor::f_cat(
            &[
                weight.f_matmul(&factor)?,
                (centred / bias_scale).f_unsqueeze(1)?,
            ],
            1,
        )?;
        let search = Minimiser::new(to_vec(&coordinates)?, MEMORY);
        Ok(Problem {
            decay,
            scale,
            bias_scale,
            search,
            loss: f64::INFINITY,
            gradient: f64::INFINITY,
            weights,
            done: false,
        })
    }

    /// The Cholesky factor of `curvature` cov(X) + `decay`. Of fewer rows than features the
    /// covariance is singular, and by rounding worse; as it only shapes the way, its empty
    /// directions are filled up until there is a factor.
    fn factor(&self, curvature: f64, decay: f64, identity: &Tensor) -> Result<Tensor> {
        let scale = curvature
            * self
                .covariance
                .diagonal(0, 0, 1)
                .f_mean(Kind::Double)?
                .double_value(&[]);
        let mut floor = EMPTY;
        loop {
            let matrix = self.covariance.f_mul_scalar(curvature)?
                + identity * (decay + floor * scale.max(f64::MIN_POSITIVE));
            match matrix.f_linalg_cholesky(false) {
                Err(_) if floor < 1.0 => floor *= 30.0,
                factor => return Ok(factor?),
            }
        }
    }

    /// One evaluation of every problem, and what follows from it.
    fn advance(&self, open: &mut [&mut Problem], kind: Kind, options: &FitOptions) -> Result<()> {
        let asked: Vec<Tensor> = open
            .iter()
            .map(|problem| self.weights_at(&problem.search.ask(), problem))
            .collect::<Result<_>>()?;
        let evaluations = self.evaluate(&asked, kind)?;
        for ((problem, weights), evaluation) in open.iter_mut().zip(asked).zip(evaluations) {
            let (loss, raw) = self.with_penalty(problem.decay, &weights, &evaluation)?;
            let coordinates = self.gradient_of_coordinates(problem, &raw)?;
            if problem.search.tell(loss, coordinates) {
                (problem.loss, problem.gradient, problem.weights) = (loss, largest(&raw), weights);
            }
            let spent = problem.search.iterations >= options.max_iterations;
            // A weak penalty's gradient is small long before its minimum.
            let near = problem.gradient <= VERY_NEAR * options.tolerance
                || problem.search.expected_gain() <= GAIN * problem.loss;
            problem.done =
                (problem.gradient <= options.tolerance && near) || spent || problem.search.stuck;
        }
        Ok(())
    }

    /// Looks at the ends of the f32 searches in f64, where that is asked for or rounding stopped
    /// them; those that fall short go on from there.
    fn check(&self, problems: &mut [Problem], options: &FitOptions) -> Result<()> {
        let features = self.mean.size()[0];
        let fell_short = |p: &Problem| {
            p.gradient > options.tolerance && p.search.iterations < options.max_iterations
        };
        for problem in problems
            .iter_mut()
            .filter(|p| options.verify || fell_short(p))
        {
            let evaluation = self
                .evaluate(&[problem.weights.shallow_clone()], Kind::Double)?
                .remove(0);
            let (loss, raw) = self.with_penalty(problem.decay, &problem.weights, &evaluation)?;
            (problem.loss, problem.gradient) = (loss, largest(&raw));
            if fell_short(problem) {
                let made = problem.search.iterations;
                let head = LinearHead {
                    weight: problem.weights.narrow(1, 0, features),
                    bias: problem.weights.select(1, features),
                };
                *problem = self.problem(problem.decay * self.examples as f64, Some(&head))?;
                problem.search.iterations = made;
            }
        }
        Ok(())
    }

    /// Coordinates to weights \[columns, features + 1\] with the bias of uncentred features.
    fn weights_at(&self, coordinates: &[f64], problem: &Problem) -> Result<Tensor> {
        let features = self.mean.size()[0];
        let all = Tensor::f_from_slice(coordinates)?
            .f_to_device(self.mean.device())?
            .f_view([self.columns(), features + 1])?;
        let weight = all.narrow(1, 0, features).f_matmul(&problem.scale)?;
        let bias = all.select(1, features) * problem.bias_scale - weight.f_mv(&self.mean)?;
        Ok(Tensor::f_cat(&[weight, bias.f_unsqueeze(1)?], 1)?)
    }

    /// Value and gradient with the penalty on the weights.
    fn with_penalty(
        &self,
        decay: f64,
        weights: &Tensor,
        evaluation: &Evaluation,
    ) -> Result<(f64, Tensor)> {
        let features = self.mean.size()[0];
        let weight = weights.narrow(1, 0, features);
        let loss = evaluation.loss
            + 0.5 * decay * weight.f_square()?.f_sum(Kind::Double)?.double_value(&[]);
        let gradient = evaluation.gradient.copy();
        let _penalised = gradient.narrow(1, 0, features).f_add_(&(weight * decay))?;
        Ok((loss, gradient))
    }

    fn gradient_of_coordinates(&self, problem: &Problem, raw: &Tensor) -> Result<Vec<f64>> {
        let features = self.mean.size()[0];
        let bias = raw.select(1, features);
        let weight = raw.narrow(1, 0, features) - bias.f_outer(&self.mean)?; // of centred features
        let weight = weight.f_matmul(&problem.scale.tr())?;
        to_vec(&Tensor::f_cat(
            &[weight, (bias * problem.bias_scale).f_unsqueeze(1)?],
            1,
        )?)
    }

    /// Losses and gradients, divided by the number of examples, of all places in one pass over the
    /// features.
    fn evaluate(&self, places: &[Tensor], kind: Kind) -> Result<Vec<Evaluation>> {
        let (count, columns, features) = (places.len() as i64, self.columns(), self.mean.size()[0]);
        let stacked = Tensor::f_cat(places, 0)?; // [problems * columns, features + 1]
        let weight = stacked
            .narrow(1, 0, features)
            .f_to_kind(kind)?
            .f_transpose(0, 1)?;
        let bias = stacked.select(1, features).f_to_kind(kind)?;
        let double = (Kind::Double, self.mean.device());
        let mut losses = Tensor::f_zeros([count], double)?;
        let gradient = Tensor::f_zeros([count * columns, features + 1], double)?;
        let rows =
            (SCORES_AT_ONCE / (count * columns)).clamp(*CHUNK_ROWS.start(), *CHUNK_ROWS.end());
        for (block, labels) in self.blocks.iter().zip(&self.labels) {
            for (start, length) in pieces(block.size()[0], rows) {
                let xs = block.f_narrow(0, start, length)?.f_to_kind(kind)?; // [rows, features]
                let labels = labels.f_narrow(0, start, length)?;
                let scores = bias
                    .f_addmm(&xs, &weight)?
                    .f_view([length, count, columns])?; // [rows, problems, columns]
                let (loss, residual) = if columns == 1 {
                    sigmoid(scores, &labels)?
                } else {
                    softmax(&scores, &labels)?
                };
                losses += loss;
                let residual = residual.f_view([length, count * columns])?;
                let of_weights = residual.f_transpose(0, 1)?.f_matmul(&xs)?; // [problems * columns, features]
                let _added = gradient
                    .narrow(1, 0, features)
                    .f_add_(&of_weights.f_to_kind(Kind::Double)?)?;
                let _added = gradient
                    .select(1, features)
                    .f_add_(&residual.f_sum_dim_intlist(0, false, Kind::Double)?)?;
            }
        }
        let examples = self.examples as f64;
        let losses: Vec<f64> = (losses / examples).f_to_device(Device::Cpu)?.try_into()?;
        let gradients = (gradient / examples).f_view([count, columns, features + 1])?;
        Ok(losses
            .into_iter()
            .zip(0..)
            .map(|(loss, i)| Evaluation {
                loss,
                gradient: gradients.get(i),
            })
            .collect())
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
    let place = labels
        .f_view([rows, 1, 1])?
        .f_expand([rows, problems, 1], false)?;
    let mut log_probs = scores.f_log_softmax(-1, scores.kind())?;
    let right = log_probs.f_gather(2, &place, false)?; // [rows, problems, 1]
    let loss = right
        .f_sum_dim_intlist([0i64, 2].as_slice(), false, Kind::Double)?
        .f_neg()?;
    let mut residual = log_probs.f_exp_()?;
    let minus = Tensor::f_full([1, 1, 1], -1.0, (scores.kind(), scores.device()))?
        .f_expand([rows, problems, 1], false)?;
    Ok((loss, residual.f_scatter_add_(2, &place, &minus)?))
}

/// Starts and lengths of pieces of at most `most` rows.
fn pieces(rows: i64, most: i64) -> impl Iterator<Item = (i64, i64)> {
    (0..rows)
        .step_by(most as usize)
        .map(move |start| (start, most.min(rows - start)))
}

fn largest(t: &Tensor) -> f64 {
    t.abs().max().double_value(&[])
}

fn to_vec(t: &Tensor) -> Result<Vec<f64>> {
    Ok(t.f_to_device(Device::Cpu)?.f_flatten(0, -1)?.try_into()?)
}
