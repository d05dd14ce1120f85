//! The activations that `hidden_act` can name.

use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::Result;

/// Activation function, by its name in transformers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// Exact GELU (erf).
    #[serde(alias = "gelu_python")]
    Gelu,
    /// GELU's tanh form.
    #[serde(
        alias = "gelu_pytorch_tanh",
        alias = "gelu_fast",
        alias = "gelu_accurate"
    )]
    GeluNew,
    /// x times sigmoid(1.702 x).
    QuickGelu,
    /// Rectified linear unit.
    Relu,
    /// x times sigmoid(x).
    #[serde(alias = "swish")]
    Silu,
    /// Hyperbolic tangent.
    Tanh,
}

impl Activation {
    /// Applies it elementwise.
    pub fn forward(self, xs: &Tensor) -> Result<Tensor> {
        Ok(match self {
            Self::Gelu => xs.f_gelu("none")?,
            Self::GeluNew => xs.f_gelu("tanh")?,
            Self::QuickGelu => xs.f_mul_scalar(1.702)?.f_sigmoid()?.f_mul(xs)?,
            Self::Relu => xs.f_relu()?,
            Self::Silu => xs.f_silu()?,
            Self::Tanh => xs.f_tanh()?,
        })
    }
}
