//! The linear probe's head: multinomial logistic regression with an L2 penalty, the objective of scikit-learn's
//! `LogisticRegression`.

use tch::{Device, Kind, Tensor};

use crate::{Error, Lbfgs, Result};

/// One linear layer from features to classes.
#[derive(Debug)]
pub struct LinearHead {
    /// \[classes, features + 1\], the last column the bias; f64.
    weight: Tensor,
}

/// The strength of a fit and when it counts as done.
#[derive(Clone, Copy, Debug)]
pub struct FitOptions {
    /// Weight of the penalty, scikit-learn's 1 / C: the sum of the examples' losses plus penalty / 2 times the squared
    /// weights is minimised. The bias is free.
    pub penalty: f64,
    /// Largest entry of the gradient of that objective divided by the number of examples.
    pub tolerance: f64,
    /// Steps of L-BFGS at most.
    pub max_iterations: usize,
}

/// What a fit reports.
#[derive(Clone, Copy, Debug)]
pub struct Fit {
    /// The objective, divided by the number of examples.
    pub loss: f64,
    /// Largest entry of its gradient.
    pub gradient: f64,
    /// Steps of L-BFGS.
    pub iterations: usize,
    /// Whether the gradient met the tolerance.
    pub converged: bool,
}

impl LinearHead {
    /// Fits `features` \[examples, features\] to `labels` \[examples\] in 0 .. `classes`, from `start` or from zero.
    pub fn fit(features: &Tensor, labels: &Tensor, classes: i64, options: FitOptions, start: Option<&Self>) -> Result<(Self, Fit)> {
        let (examples, _) = features.size2()?;
        if examples == 0 || labels.size() != [examples] {
            return Err(Error::Input(format!("{examples} examples with labels {:?}", labels.size())));
        }
        let xs = with_ones(features)?; // [examples, features + 1]
        let truth = labels.f_one_hot(classes)?.f_to_kind(Kind::Double)?; // [examples, classes]
        // Two classes are one sigmoid in scikit-learn; two columns reach the same solution at twice the penalty.
        let penalty = options.penalty * if classes == 2 { 2.0 } else { 1.0 } / examples as f64;
        let decay = Tensor::ones([1, xs.size()[1]], (Kind::Double, Device::Cpu)) * penalty;
        let _free = decay.narrow(1, xs.size()[1] - 1, 1).zero_();
        let objective = |weight: &Tensor| -> Result<(f64, Tensor)> {
            let logits = xs.f_matmul(&weight.tr())?; // [examples, classes]
            let log_probs = logits.f_log_softmax(-1, Kind::Double)?;
            let shrunk = weight * &decay; // [classes, features + 1]
            let loss = (&log_probs * &truth).sum(Kind::Double) / -(examples as f64) + (weight * &shrunk).sum(Kind::Double) * 0.5;
            let residual = (log_probs.exp() - &truth) / examples as f64;
            Ok((loss.double_value(&[]), residual.tr().f_matmul(&xs)? + shrunk))
        };
        let zero = || Tensor::zeros([classes, xs.size()[1]], (Kind::Double, Device::Cpu));
        let start = start.map_or_else(zero, |head| head.weight.copy());
        let search = Lbfgs { tolerance: options.tolerance, max_iterations: options.max_iterations, memory: 10 };
        let minimum = search.minimise(start, objective)?;
        let fit = Fit { loss: minimum.value, gradient: minimum.gradient, iterations: minimum.iterations, converged: minimum.converged };
        Ok((Self { weight: minimum.point }, fit))
    }

    /// Features \[examples, features\] to logits \[examples, classes\], f64.
    pub fn forward(&self, features: &Tensor) -> Result<Tensor> {
        Ok(with_ones(features)?.f_matmul(&self.weight.tr())?)
    }

    /// Weights \[classes, features\] and biases \[classes\].
    pub fn parts(&self) -> (Tensor, Tensor) {
        let features = self.weight.size()[1] - 1;
        (self.weight.narrow(1, 0, features), self.weight.select(1, features))
    }
}

fn with_ones(features: &Tensor) -> Result<Tensor> {
    let (examples, _) = features.size2()?;
    let features = features.f_to_device(Device::Cpu)?.f_to_kind(Kind::Double)?;
    let ones = Tensor::f_ones([examples, 1], (Kind::Double, Device::Cpu))?;
    Ok(Tensor::f_cat(&[features, ones], 1)?)
}
