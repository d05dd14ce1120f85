//! Image and text states to joint states (FLAVA section 3.1).
//!
//! Rows of the sequence: its own CLS token, the image CLS, the patches, the text.

use std::rc::Rc;

use tch::Tensor;

use crate::{
    Result,
    config::MultimodalConfig,
    layers::{AttentionKind, AttentionMask, Encoder, EncoderOutput, Pooler, Rows, WeightLender},
    runtime::Vars,
};

/// `flava.multimodal_model`.
#[derive(Debug)]
pub struct MultimodalEncoder {
    cls_token: Option<Tensor>,
    encoder: Encoder,
    pooler: Pooler,
}

impl MultimodalEncoder {
    /// The encoder under `vars`.
    pub fn new(vars: &Vars, config: &MultimodalConfig, kind: AttentionKind) -> Self {
        Self {
            cls_token: config
                .use_cls_token
                .then(|| vars.zeros("cls_token", &[1, 1, config.hidden_size])),
            encoder: Encoder::new(vars, &config.block(), kind),
            pooler: Pooler::new(&(vars / "pooler"), config.hidden_size),
        }
    }

    /// Prepares for inference.
    pub fn pack(&mut self) {
        self.encoder.pack();
    }

    /// Does something with each projection of the blocks' attention, which is told by its name.
    pub fn each_projection<E>(
        &mut self,
        act: &mut impl FnMut(&str, &mut crate::layers::Linear) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        self.encoder.each_projection(act)
    }

    /// Whether activations are computed again in the backward pass.
    pub fn set_recompute(&mut self, recompute: bool) {
        self.encoder.set_recompute(recompute);
    }

    /// Whose the blocks' weights are while they do not compute.
    pub fn set_lender(&mut self, lender: &Rc<dyn WeightLender>) {
        self.encoder.set_lender(lender);
    }

    /// Projected image states \[batch, images, size\] and text states \[batch, seq, size\] to
    /// \[batch, 1 + images + seq, size\]; `text_mask` \[batch, seq\] hides the text's padding.
    pub fn forward(
        &self,
        image: &Tensor,
        text: &Tensor,
        text_mask: Option<&Tensor>,
        rows: &Rows,
        train: bool,
    ) -> Result<EncoderOutput> {
        let (batch, _, size) = image.size3()?;
        let mut parts = vec![image.shallow_clone(), text.shallow_clone()];
        if let Some(cls_token) = &self.cls_token {
            parts.insert(0, cls_token.f_expand([batch, 1, size], false)?);
        }
        let states = Tensor::f_cat(&parts, 1)?; // [batch, 1 + images + seq, size]
        let mask = text_mask
            .map(|text_mask| Self::mask(text_mask, &states))
            .transpose()?;
        self.encoder.forward(states, mask.as_ref(), rows, train)
    }

    /// transformers' `pooler_output`, \[batch, size\]; read by no loss and no task of the paper.
    pub fn pool(&self, output: &EncoderOutput) -> Result<Tensor> {
        self.pooler.forward(&output.cls())
    }

    fn mask(text_mask: &Tensor, states: &Tensor) -> Result<AttentionMask> {
        let ((batch, seq), (_, all, _)) = (text_mask.size2()?, states.size3()?);
        let ones = Tensor::f_ones([batch, all - seq], (text_mask.kind(), text_mask.device()))?;
        AttentionMask::new(&Tensor::f_cat(&[&ones, text_mask], 1)?, states)
    }
}
