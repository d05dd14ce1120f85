//! Token ids to states: BERT's embeddings under FLAVA's pre-norm blocks (FLAVA section 3.1).

use std::rc::Rc;

use tch::{Kind, Tensor};

use crate::{
    Error, Result,
    config::TextConfig,
    layers::{
        AttentionKind, AttentionMask, Embedding, Encoder, EncoderOutput, LayerNorm, Pooler, Rows,
        WeightLender,
    },
    runtime::{Vars, trace::TracePoint},
};

/// What the text encoder reads, all \[batch, seq\] and int64.
#[derive(Debug, Default)]
pub struct TextInputs {
    /// Word-piece ids.
    pub input_ids: Tensor,
    /// 1 for tokens, 0 for padding; on any device. Without it nothing is padding: it is never inferred from the
    /// ids.
    pub attention_mask: Option<Tensor>,
    /// Segment of each token; zero without it.
    pub token_type_ids: Option<Tensor>,
    /// Position of each token, also \[1, seq\]; 0, 1, 2, .. without it.
    pub position_ids: Option<Tensor>,
}

impl TextInputs {
    /// Ids without padding.
    pub fn new(input_ids: Tensor) -> Self {
        Self {
            input_ids,
            ..Self::default()
        }
    }
}

#[derive(Debug)]
struct TokenEmbeddings {
    word_embeddings: Embedding,
    position_embeddings: Embedding,
    token_type_embeddings: Embedding,
    layer_norm: LayerNorm,
    dropout: f64,
    site: TracePoint,
}

impl TokenEmbeddings {
    fn new(vars: &Vars, config: &TextConfig) -> Self {
        let size = config.hidden_size;
        let table = |name, rows, padding| Embedding::new(&(vars / name), rows, size, padding);
        Self {
            word_embeddings: table("word_embeddings", config.vocab_size, config.pad_token_id),
            position_embeddings: table("position_embeddings", config.max_position_embeddings, None),
            token_type_embeddings: table("token_type_embeddings", config.type_vocab_size, None),
            layer_norm: LayerNorm::new(&(vars / "LayerNorm"), size, config.layer_norm_eps),
            dropout: config.hidden_dropout_prob,
            site: TracePoint::new(vars.name()),
        }
    }

    fn forward(&self, inputs: &TextInputs, train: bool) -> Result<Tensor> {
        let (batch, seq) = inputs.input_ids.size2()?;
        let ids = &inputs.input_ids;
        let most = self.position_embeddings.rows();
        if seq > most {
            let reason = format!("{seq} tokens for a model of {most}");
            return Err(Error::Input(reason));
        }
        let types = match &inputs.token_type_ids {
            Some(types) => types.shallow_clone(),
            None => ids.f_zeros_like()?,
        };
        let positions = match &inputs.position_ids {
            Some(positions) => positions.f_expand([batch, seq], false)?,
            None => Tensor::f_arange(seq, (Kind::Int64, ids.device()))?.f_unsqueeze(0)?,
        };
        let words = self.word_embeddings.forward(ids)?;
        let sum = words.f_add(&self.token_type_embeddings.forward(&types)?)?;
        let sum = sum.f_add(&self.position_embeddings.forward(&positions)?)?; // [batch, seq, size]
        let normed = self.layer_norm.forward(&sum)?;
        let states = normed.f_dropout(self.dropout, train)?;
        self.site.record(&states);
        Ok(states)
    }
}

/// `flava.text_model`.
#[derive(Debug)]
pub struct TextEncoder {
    embeddings: TokenEmbeddings,
    encoder: Encoder,
    pooler: Pooler,
}

impl TextEncoder {
    /// The encoder under `vars`.
    pub fn new(vars: &Vars, config: &TextConfig, kind: AttentionKind) -> Self {
        Self {
            embeddings: TokenEmbeddings::new(&(vars / "embeddings"), config),
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

    /// Tokens to \[batch, seq, size\], row 0 the `[CLS]` token.
    pub fn forward(&self, inputs: &TextInputs, rows: &Rows, train: bool) -> Result<EncoderOutput> {
        let states = self.embeddings.forward(inputs, train)?;
        let mask = inputs
            .attention_mask
            .as_ref()
            .map(|m| AttentionMask::new(m, &states))
            .transpose()?;
        self.encoder.forward(states, mask.as_ref(), rows, train)
    }

    /// transformers' `pooler_output`, \[batch, size\]; read by no loss and no task of the paper.
    pub fn pool(&self, output: &EncoderOutput) -> Result<Tensor> {
        self.pooler.forward(&output.cls())
    }
}
