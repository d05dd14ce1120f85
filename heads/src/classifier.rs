//! Heads that are trained with an encoder: from its CLS state to classes, answers or a number.

use flava_model::{
    layers::{Activation, LayerNorm, Linear},
    runtime::Vars,
};
use tch::Tensor;

use crate::Result;

/// What lies between the CLS state and the output layer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ClassifierKind {
    /// A dense layer of the state's width and tanh, `RoBERTa`'s.
    Pooled,
    /// A hidden layer of this width with GELU and layer norm; the paper's two-layer classifier.
    Mlp {
        /// Its width.
        hidden: i64,
    },
}

/// What a classifier is built from.
#[derive(Clone, Copy, Debug)]
pub struct ClassifierConfig {
    /// What lies before the output layer.
    pub kind: ClassifierKind,
    /// Width of the CLS state.
    pub size: i64,
    /// Numbers that come out.
    pub outputs: i64,
    /// Before either layer.
    pub dropout: f64,
    /// Epsilon of the layer norm.
    pub eps: f64,
}

/// `classifier`: dense, activation, output, with dropout before either layer.
#[derive(Debug)]
pub struct Classifier {
    dense: Linear,
    layer_norm: Option<LayerNorm>,
    out_proj: Linear,
    dropout: f64,
}

impl Classifier {
    /// A head from CLS states to outputs.
    pub fn new(vars: &Vars, config: &ClassifierConfig) -> Self {
        let size = config.size;
        let (width, norm) = match config.kind {
            ClassifierKind::Pooled => (size, false),
            ClassifierKind::Mlp { hidden } => (hidden, true),
        };
        Self {
            dense: Linear::new(&(vars / "dense"), size, width),
            layer_norm: norm.then(|| LayerNorm::new(&(vars / "layer_norm"), width, config.eps)),
            out_proj: Linear::new(&(vars / "out_proj"), width, config.outputs),
            dropout: config.dropout,
        }
    }

    /// CLS states \[batch, size\] to \[batch, outputs\].
    pub fn forward(&self, cls: &Tensor, train: bool) -> Result<Tensor> {
        let dropped = |xs: &Tensor| xs.f_dropout(self.dropout, train);
        let hidden = match &self.layer_norm {
            None => self
                .dense
                .forward_activated(&dropped(cls)?, Activation::Tanh)?,
            Some(norm) => norm.forward(
                &self
                    .dense
                    .forward_activated(&dropped(cls)?, Activation::Gelu)?,
            )?,
        };
        Ok(self.out_proj.forward(&dropped(&hidden)?)?)
    }
}
