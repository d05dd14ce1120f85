//! The head of masked image, language and multimodal modelling (FLAVA section 3.2): which word stood here?

use flava_model::{
    layers::{Activation, LayerNorm, Linear},
    runtime::{Vars, trace::Site},
};
use tch::Tensor;

use crate::{Error, Result};

/// Dense layer, activation and norm before the prediction.
#[derive(Debug)]
struct Transform {
    dense: Linear,
    layer_norm: LayerNorm,
    activation: Activation,
    site: Site,
    dense_site: Site,
}

/// `mim_head`, `mlm_head`, `mmm_image_head` and `mmm_text_head`.
#[derive(Debug)]
pub struct MaskedPredictionHead {
    transform: Transform,
    decoder: Tensor,
    bias: Tensor,
}

impl MaskedPredictionHead {
    /// A head over `vocab` words for states of `size`, with its encoder's activation and norm epsilon.
    pub fn new(vars: &Vars, size: i64, vocab: i64, activation: Activation, eps: f64) -> Self {
        let transform = vars / "transform";
        let dense = &transform / "dense";
        Self {
            transform: Transform {
                dense: Linear::new(&dense, size, size),
                layer_norm: LayerNorm::new(&(&transform / "LayerNorm"), size, eps),
                activation,
                site: Site::new(transform.name()),
                dense_site: Site::new(dense.name()),
            },
            decoder: (vars / "decoder").weight("weight", &[vocab, size]),
            // transformers ties `decoder.bias` to this.
            bias: vars.zeros("bias", &[vocab]),
        }
    }

    /// States \[.., size\] to logits \[.., vocab\].
    pub fn forward(&self, states: &Tensor) -> Result<Tensor> {
        let dense = self.transform.dense.forward(states)?;
        self.transform.dense_site.see(&dense);
        let hidden = self.transform.layer_norm.forward(&self.transform.activation.forward(&dense))?;
        self.transform.site.see(&hidden);
        Ok(hidden.f_linear(&self.decoder, Some(&self.bias))?)
    }
}

/// The rows of `states` \[batch, seq, size\] whose label \[batch, seq\] is not `ignore`, in order: states \[rows, size\]
/// and labels \[rows\].
pub fn labelled_rows(states: &Tensor, labels: &Tensor, ignore: i64) -> Result<(Tensor, Tensor)> {
    let (batch, seq, size) = states.size3()?;
    if labels.size() != [batch, seq] {
        return Err(Error::Input(format!("labels {:?} for states {:?}", labels.size(), states.size())));
    }
    let labels = labels.f_reshape([-1])?; // [batch * seq]
    let rows = labels.f_ne(ignore)?.f_nonzero()?.f_squeeze_dim(-1)?; // [rows]
    let states = states.f_reshape([-1, size])?.f_index_select(0, &rows)?; // [rows, size]
    Ok((states, labels.f_index_select(0, &rows)?))
}
