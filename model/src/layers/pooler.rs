//! The pooler: a dense layer and tanh over the first row. Pretraining trains none of the encoders'
//! poolers, only ITM's.

use tch::Tensor;

use super::{Activation, Linear};
use crate::{
    Result,
    runtime::{Vars, trace::TracePoint},
};

/// tanh(dense(row 0)).
#[derive(Debug)]
pub struct Pooler {
    dense: Linear,
    site: TracePoint,
}

impl Pooler {
    /// A pooler of width `size`.
    pub fn new(vars: &Vars, size: i64) -> Self {
        Self {
            dense: Linear::new(&(vars / "dense"), size, size),
            site: TracePoint::new(vars.name()),
        }
    }

    /// CLS states \[batch, size\] to the same shape.
    pub fn forward(&self, cls: &Tensor) -> Result<Tensor> {
        let ys = self.dense.forward_activated(cls, Activation::Tanh)?;
        self.site.record(&ys);
        Ok(ys)
    }
}
