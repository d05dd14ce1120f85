//! The head of masked image, language and multimodal modelling (FLAVA section 3.2): which word
//! stood here?

use flava_model::{
    layers::{Activation, LayerNorm, Linear},
    runtime::{Vars, linear, trace::TracePoint},
};
use tch::Tensor;

use crate::Result;

/// Dense layer, activation and norm before the prediction.
#[derive(Debug)]
struct Transform {
    dense: Linear,
    layer_norm: LayerNorm,
    activation: Activation,
    site: TracePoint,
    dense_site: TracePoint,
}

/// `mim_head`, `mlm_head`, `mmm_image_head` and `mmm_text_head`.
#[derive(Debug)]
pub struct MaskedPredictionHead {
    transform: Transform,
    decoder: Tensor,
    bias: Tensor,
}

impl MaskedPredictionHead {
    /// A head over `vocab` words for states of `size`, with its encoder's activation and norm
    /// epsilon.
    pub fn new(vars: &Vars, size: i64, vocab: i64, activation: Activation, eps: f64) -> Self {
        let transform = vars / "transform";
        let dense = &transform / "dense";
        Self {
            transform: Transform {
                dense: Linear::new(&dense, size, size),
                layer_norm: LayerNorm::new(&(&transform / "LayerNorm"), size, eps),
                activation,
                site: TracePoint::new(transform.name()),
                dense_site: TracePoint::new(dense.name()),
            },
            decoder: (vars / "decoder").weight("weight", &[vocab, size]),
            // transformers ties `decoder.bias` to this.
            bias: vars.zeros("bias", &[vocab]),
        }
    }

    /// States \[.., size\] to logits \[.., vocab\].
    pub fn forward(&self, states: &Tensor) -> Result<Tensor> {
        let dense = self.transform.dense.forward(states)?;
        self.transform.dense_site.record(&dense);
        let hidden = self
            .transform
            .layer_norm
            .forward(&self.transform.activation.forward(&dense)?)?;
        self.transform.site.record(&hidden);
        Ok(linear(&hidden, &self.decoder, Some(&self.bias))?)
    }
}
