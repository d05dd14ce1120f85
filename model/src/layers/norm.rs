//! Layer normalisation over the last dimension.

use tch::Tensor;

use crate::{
    Result,
    runtime::{Vars, residual_norm, trace::TracePoint},
};

/// Layer norm with gain and bias.
#[derive(Debug)]
pub struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
    eps: f64,
    site: TracePoint,
}

impl LayerNorm {
    /// A norm over `size` features.
    pub fn new(vars: &Vars, size: i64, eps: f64) -> Self {
        Self {
            weight: vars.ones("weight", &[size]),
            bias: vars.zeros("bias", &[size]),
            eps,
            site: TracePoint::new(vars.name()),
        }
    }

    /// \[.., size\] to the same shape.
    pub fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        let size = self.weight.size();
        let ys = xs.f_layer_norm(size, Some(&self.weight), Some(&self.bias), self.eps, true)?;
        self.site.record(&ys);
        Ok(ys)
    }

    /// A residual stream \[.., size\] and what a branch adds to it: the sum, and the norm of it.
    /// Without a branch, the stream and its norm.
    pub fn forward_added(&self, xs: &Tensor, branch: Option<&Tensor>) -> Result<(Tensor, Tensor)> {
        let fused = residual_norm(xs, branch, &self.weight, &self.bias, self.eps)?;
        if let Some((sum, ys)) = fused {
            self.site.record(&ys);
            return Ok((sum, ys));
        }
        let sum = match branch {
            Some(branch) => branch.f_add(xs)?,
            None => xs.shallow_clone(),
        };
        let ys = self.forward(&sum)?;
        Ok((sum, ys))
    }
}
