//! Layer normalisation over the last dimension.

use tch::Tensor;

use crate::{
    Result,
    runtime::{Vars, trace::TracePoint},
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
}
