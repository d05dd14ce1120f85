//! A low-rank addition to a linear layer (Hu et al. 2021, LoRA).

use tch::Tensor;

use crate::{Result, runtime};

/// What is added to a layer's output: `scale` times xs a^T b^T.
#[derive(Debug)]
pub struct Lora {
    /// \[rank, input\].
    pub a: Tensor,
    /// \[output, rank\].
    pub b: Tensor,
    /// What the product is multiplied by: alpha through rank.
    pub scale: f64,
}

impl Lora {
    /// \[.., input\] to \[.., output\].
    pub(super) fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        let low = runtime::linear(xs, &self.a, None)?; // [.., rank]
        Ok(runtime::linear(&low, &self.b, None)?.f_mul_scalar(self.scale)?)
    }

    /// What it adds to the layer's weight, \[output, input\].
    pub(super) fn weight(&self) -> Result<Tensor> {
        Ok(self.b.f_matmul(&self.a)?.f_mul_scalar(self.scale)?)
    }
}
