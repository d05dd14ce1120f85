//! A stack of blocks and the norm after it.

use tch::Tensor;

use super::{AttentionKind, AttentionMask, Block, LayerNorm};
use crate::{Result, config::BlockConfig, runtime::Vars};

/// What an encoder gives: the same rows before and after its final norm.
///
/// The multimodal encoder reads the former, everything else the latter.
#[derive(Debug)]
pub struct EncoderOutput {
    /// Before the final norm, \[batch, rows, size\].
    pub hidden_states: Tensor,
    /// After the final norm, \[batch, rows, size\].
    pub last_hidden_state: Tensor,
}

impl EncoderOutput {
    /// The CLS state, row 0 of the normed sequence: \[batch, size\]. Neither pooled nor projected.
    pub fn cls(&self) -> Tensor {
        self.last_hidden_state.select(1, 0)
    }
}

/// Which rows of an encoder's output are asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rows {
    /// The whole sequence.
    #[default]
    All,
    /// Row 0 alone: the last block then computes no other, which saves most of it.
    Cls,
}

/// The blocks, `encoder.layer.N`, and `layernorm`.
#[derive(Debug)]
pub struct Encoder {
    layer: Vec<Block>,
    layernorm: LayerNorm,
}

impl Encoder {
    /// The blocks and norm under `vars`, the path of the encoder's module.
    pub fn new(vars: &Vars, config: &BlockConfig, kind: AttentionKind) -> Self {
        let layers = vars / "encoder" / "layer";
        Self {
            layer: (0..config.num_hidden_layers).map(|i| Block::new(&(&layers / i), config, kind)).collect(),
            layernorm: LayerNorm::new(&(vars / "layernorm"), config.hidden_size, config.layer_norm_eps),
        }
    }

    /// Prepares for inference.
    pub fn pack(&mut self) {
        self.layer.iter_mut().for_each(Block::pack);
    }

    /// Embeddings \[batch, seq, size\] and a mask to the states of `rows`.
    pub fn forward(&self, embeddings: Tensor, mask: Option<&AttentionMask>, rows: Rows, train: bool) -> Result<EncoderOutput> {
        let mut hidden_states = embeddings;
        for (i, block) in self.layer.iter().enumerate() {
            let last = i + 1 == self.layer.len();
            let rows = (last && rows == Rows::Cls).then_some(1);
            hidden_states = block.forward(&hidden_states, mask, rows, train)?;
        }
        if rows == Rows::Cls {
            hidden_states = hidden_states.f_narrow(1, 0, 1)?;
        }
        let last_hidden_state = self.layernorm.forward(&hidden_states)?;
        Ok(EncoderOutput { hidden_states, last_hidden_state })
    }
}
