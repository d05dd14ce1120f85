//! Image-text matching (FLAVA section 3.2): do this image and this text belong together?

use flava_model::{
    layers::{Linear, Pooler},
    runtime::{Vars, trace::TracePoint},
};
use tch::Tensor;

use crate::Result;

/// `itm_head`: a pooler of its own over the multimodal CLS state and two classes, 1 for a match.
#[derive(Debug)]
pub struct ItmHead {
    pooler: Pooler,
    seq_relationship: Linear,
    site: TracePoint,
}

impl ItmHead {
    /// A head for states of `size`.
    pub fn new(vars: &Vars, size: i64) -> Self {
        let relation = vars / "seq_relationship";
        Self {
            pooler: Pooler::new(&(vars / "pooler"), size),
            seq_relationship: Linear::new(&relation, size, 2),
            site: TracePoint::new(relation.name()),
        }
    }

    /// CLS states \[batch, size\] to logits \[batch, 2\].
    pub fn forward(&self, cls: &Tensor) -> Result<Tensor> {
        let logits = self.seq_relationship.forward(&self.pooler.forward(cls)?)?;
        self.site.record(&logits);
        Ok(logits)
    }
}
