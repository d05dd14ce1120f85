//! The linear probe's head: multinomial logistic regression with an L2 penalty, the objective of
//! scikit-learn's `LogisticRegression`.

use tch::{Kind, Tensor};

use crate::Result;

/// One linear layer from features to classes; of two classes one score, of class 1 against class 0.
#[derive(Debug)]
pub struct LinearHead {
    /// \[classes, features\], of two classes \[1, features\]; f64.
    pub(crate) weight: Tensor,
    /// \[classes\] or \[1\].
    pub(crate) bias: Tensor,
}

/// Rows of features with their labels.
#[derive(Clone, Copy, Debug)]
pub struct Labelled<'a> {
    /// \[examples, features\].
    pub features: &'a Tensor,
    /// \[examples\], in 0 .. the number of classes.
    pub labels: &'a Tensor,
}

/// When a fit counts as done.
#[derive(Clone, Copy, Debug)]
pub struct FitOptions {
    /// Largest entry of the gradient of the objective divided by the number of examples.
    pub tolerance: f64,
    /// Steps of L-BFGS at most.
    pub max_iterations: usize,
    /// Whether what f32 reached is evaluated in f64, and gone on from where it falls short.
    pub verify: bool,
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
    /// The head of these weights \[classes, features\] and biases \[classes\]; of two classes \[1,
    /// features\] and \[1\].
    pub fn new(weight: Tensor, bias: Tensor) -> Self {
        Self { weight, bias }
    }

    /// Features \[examples, features\] to logits \[examples, classes\] in f32, on the features'
    /// device; of two classes the first is 0.
    pub fn forward(&self, features: &Tensor) -> Result<Tensor> {
        let (device, kind) = (features.device(), Kind::Float);
        let position = |t: &Tensor| t.f_to_device(device)?.f_to_kind(kind);
        let (weight, bias) = (position(&self.weight)?, position(&self.bias)?);
        let scores = features
            .f_to_kind(kind)?
            .f_matmul(&weight.tr())?
            .f_add(&bias)?; // [examples, classes] or [examples, 1]
        let (_, columns) = scores.size2()?;
        Ok(if columns == 1 {
            Tensor::f_cat(&[scores.f_zeros_like()?, scores], 1)?
        } else {
            scores
        })
    }

    /// Weights \[classes, features\] and biases \[classes\]; of two classes \[1, features\] and
    /// \[1\], as scikit-learn's `coef_` and `intercept_`.
    pub fn parts(&self) -> (&Tensor, &Tensor) {
        (&self.weight, &self.bias)
    }
}
