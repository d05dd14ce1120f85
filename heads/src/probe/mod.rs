//! The probe's solver: many penalties at once over features that stay where they are.
//!
//! All problems share each pass over the features, so that their products are one large one. Every
//! problem is minimised by L-BFGS in coordinates in which its curvature is about one: features are
//! centred (implicitly: the bias takes it up) and multiplied by the inverse Cholesky factor of `h
//! cov(X) + penalty / n`, `h` being the mean curvature of the loss. That is the same convex
//! objective; only the way to its minimum is shorter.

mod examples;

use flava_model::runtime::copied;
use tch::{Device, Kind, Tensor};

use crate::{Fit, FitOptions, Labelled, LinearHead, Result, lbfgs::Minimiser};
use examples::{Evaluation, Examples};

/// Steps that shape the next one.
const MEMORY: usize = 8;
/// Share of the objective that may be left to gain.
const GAIN: f64 = 1e-2;
/// Share of the tolerance at which nothing is left to gain.
const VERY_NEAR: f64 = 1e-3;
/// Share of the covariance's mean diagonal below which a direction counts as empty.
const EMPTY: f64 = 1e-7;

/// Features and labels to fit heads on.
#[derive(Debug)]
pub struct Probe {
    examples: Examples,
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

impl Probe {
    /// Over blocks of features \[rows, features\] of one device, and labels \[all rows\] in 0 ..
    /// `classes`.
    pub fn new(blocks: Vec<Tensor>, labels: &Tensor, classes: i64) -> Result<Self> {
        let examples = Examples::new(blocks, labels, classes)?;
        let mean = examples.mean()?;
        let covariance = examples.covariance(&mean)?;
        Ok(Self {
            examples,
            mean,
            covariance,
        })
    }

    /// Its features back.
    pub fn into_blocks(self) -> Vec<Tensor> {
        self.examples.blocks
    }

    /// Columns of scores: a class each, but one for two classes.
    pub(crate) fn columns(&self) -> i64 {
        self.examples.columns()
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
        self.search(&mut problems, Kind::Float, options)?;
        self.check(&mut problems, options)?;
        self.search(&mut problems, Kind::Double, options)?;
        let fitted = |problem: &Problem| {
            let fit = Fit {
                loss: problem.loss,
                gradient: problem.gradient,
                iterations: problem.search.iterations,
                converged: problem.gradient <= options.tolerance,
            };
            (self.head(&problem.weights), fit)
        };
        Ok(problems.iter().map(fitted).collect())
    }

    /// Goes on with all problems until each is done.
    fn search(&self, problems: &mut [Problem], kind: Kind, options: &FitOptions) -> Result<()> {
        loop {
            let mut open: Vec<&mut Problem> = problems.iter_mut().filter(|p| !p.done).collect();
            if open.is_empty() {
                return Ok(());
            }
            self.advance(&mut open, kind, options)?;
        }
    }

    /// The head of weights \[columns, features + 1\].
    fn head(&self, weights: &Tensor) -> LinearHead {
        let features = self.mean.size()[0];
        LinearHead {
            weight: weights.narrow(1, 0, features),
            bias: weights.select(1, features),
        }
    }

    fn problem(&self, penalty: f64, start: Option<&LinearHead>) -> Result<Problem> {
        let decay = penalty / self.examples.count as f64;
        let features = self.mean.size()[0];
        // The loss's curvature in a score where all classes are as likely: p (1 - p).
        let share = 1.0 / self.examples.classes as f64;
        let curvature = share * (1.0 - share);
        let identity = Tensor::f_eye(features, (Kind::Double, self.mean.device()))?;
        let factor = self.factor(curvature, decay, &identity)?; // L
        let scale = factor.f_linalg_solve_triangular(&identity, false, true, false)?; // L^-1: weights are coordinates times this
        let bias_scale = 1.0 / curvature.sqrt();
        let weights = self.start(start)?;
        let (weight, bias) = (weights.narrow(1, 0, features), weights.select(1, features));
        let centred = &bias + weight.f_mv(&self.mean)?;
        let scaled = [
            weight.f_matmul(&factor)?,
            (centred / bias_scale).f_unsqueeze(1)?,
        ];
        Ok(Problem {
            decay,
            scale,
            bias_scale,
            search: Minimiser::new(to_vec(&Tensor::f_cat(&scaled, 1)?)?, MEMORY),
            loss: f64::INFINITY,
            gradient: f64::INFINITY,
            weights,
            done: false,
        })
    }

    /// The weights \[columns, features + 1\] of a head, or zeros.
    fn start(&self, head: Option<&LinearHead>) -> Result<Tensor> {
        let double = (Kind::Double, self.mean.device());
        let Some(head) = head else {
            return Ok(Tensor::f_zeros(
                [self.columns(), self.mean.size()[0] + 1],
                double,
            )?);
        };
        let position = |t: &Tensor| t.f_to_device(double.1)?.f_to_kind(double.0);
        let parts = [
            position(&head.weight)?,
            position(&head.bias)?.f_unsqueeze(1)?,
        ];
        Ok(Tensor::f_cat(&parts, 1)?)
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
        let evaluations = self.examples.evaluate(&asked, kind)?;
        for ((problem, weights), evaluation) in open.iter_mut().zip(asked).zip(evaluations) {
            let (loss, raw) = self.with_penalty(problem.decay, &weights, &evaluation)?;
            let coordinates = self.gradient_of_coordinates(problem, &raw)?;
            if problem.search.tell(loss, coordinates) {
                (problem.loss, problem.gradient, problem.weights) = (loss, largest(&raw)?, weights);
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
        let fell_short = |p: &Problem| {
            p.gradient > options.tolerance && p.search.iterations < options.max_iterations
        };
        for problem in problems
            .iter_mut()
            .filter(|p| options.verify || fell_short(p))
        {
            let evaluation = self
                .examples
                .evaluate(&[problem.weights.shallow_clone()], Kind::Double)?
                .remove(0);
            let (loss, raw) = self.with_penalty(problem.decay, &problem.weights, &evaluation)?;
            (problem.loss, problem.gradient) = (loss, largest(&raw)?);
            if fell_short(problem) {
                let made = problem.search.iterations;
                let penalty = problem.decay * self.examples.count as f64;
                *problem = self.problem(penalty, Some(&self.head(&problem.weights)))?;
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
        let gradient = copied(&evaluation.gradient)?;
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
}

impl LinearHead {
    /// Fits a head to `examples` of `classes` classes, from `start` or from zero. The sum of the
    /// examples' losses plus `penalty` / 2 (scikit-learn's 1 / C) times the squared weights is
    /// minimised; the bias is free.
    pub fn fit(
        examples: Labelled,
        classes: i64,
        penalty: f64,
        options: &FitOptions,
        start: Option<&Self>,
    ) -> Result<(Self, Fit)> {
        let features = vec![examples.features.shallow_clone()];
        let probe = Probe::new(features, examples.labels, classes)?;
        Ok(probe.fit(&[(penalty, start)], options)?.remove(0))
    }
}

fn largest(t: &Tensor) -> Result<f64> {
    Ok(t.f_abs()?.f_max()?.double_value(&[]))
}

fn to_vec(t: &Tensor) -> Result<Vec<f64>> {
    Ok(t.f_to_device(Device::Cpu)?.f_flatten(0, -1)?.try_into()?)
}
