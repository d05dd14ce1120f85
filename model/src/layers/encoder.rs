//! A stack of blocks and the norm after it.

use std::rc::Rc;

use tch::{Device, Tensor};

use super::{AttentionKind, AttentionMask, Block, LayerNorm};
use crate::{
    Result,
    config::BlockConfig,
    runtime::{Vars, recomputed},
};

/// What an encoder gives: the same rows before and after its final norm.
///
/// The multimodal encoder reads the former, everything else the latter.
#[derive(Debug)]
pub struct EncoderOutput {
    /// Before the final norm, \[batch, rows, size\]; of [`Rows::At`], \[rows, size\].
    pub hidden_states: Tensor,
    /// After the final norm, of the same shape.
    pub last_hidden_state: Tensor,
    /// The CLS states after each block, before the final norm, \[batch, size\] each; of a model
    /// prepared for inference only.
    pub cls_of_layers: Vec<Tensor>,
}

impl EncoderOutput {
    /// The CLS state, row 0 of the normed sequence: \[batch, size\]. Neither pooled nor projected.
    pub fn cls(&self) -> Tensor {
        self.last_hidden_state.select(1, 0)
    }
}

/// Which rows of an encoder's output are asked for.
///
/// The last block computes no others, which saves most of it.
#[derive(Clone, Debug, Default)]
pub enum Rows {
    /// The whole sequence.
    #[default]
    All,
    /// Row 0 alone.
    Cls,
    /// Those at these places of all sequences one after another, \[rows\] int64 below batch * seq;
    /// for training.
    At(Rc<Tensor>),
}

impl Rows {
    /// These rows of a sequence of states \[batch, seq, size\].
    pub fn of(&self, states: &Tensor) -> Result<Tensor> {
        let (_, _, size) = states.size3()?;
        Ok(match self {
            Self::All => states.shallow_clone(),
            Self::Cls => states.f_narrow(1, 0, 1)?,
            Self::At(places) => states.f_reshape([-1, size])?.f_index_select(0, places)?,
        })
    }
}

/// Bytes of the widest activation of a block above which an inference batch is run in pieces on the
/// CPU: what fits the caches and the allocator's free lists is a fifth faster than 77 MB that are
/// mapped and unmapped each time.
const PIECE_BYTES: i64 = 20 << 20;

/// The blocks, `encoder.layer.N`, and `layernorm`.
#[derive(Debug)]
pub struct Encoder {
    layer: Vec<Rc<Block>>,
    layernorm: LayerNorm,
    intermediate_size: i64,
    packed: bool,
    recompute: bool,
}

impl Encoder {
    /// The blocks and norm under `vars`, the path of the encoder's module.
    pub fn new(vars: &Vars, config: &BlockConfig, kind: AttentionKind) -> Self {
        let layers = vars / "encoder" / "layer";
        Self {
            layer: (0..config.num_hidden_layers)
                .map(|i| Rc::new(Block::new(&(&layers / i), config, kind)))
                .collect(),
            layernorm: LayerNorm::new(
                &(vars / "layernorm"),
                config.hidden_size,
                config.layer_norm_eps,
            ),
            intermediate_size: config.intermediate_size,
            packed: false,
            recompute: false,
        }
    }

    /// Prepares for inference.
    pub fn pack(&mut self) {
        self.packed = true;
        self.layer
            .iter_mut()
            .filter_map(Rc::get_mut)
            .for_each(Block::pack);
    }

    /// Whether the blocks' activations are computed again in the backward pass instead of being
    /// kept.
    pub fn set_recompute(&mut self, recompute: bool) {
        self.recompute = recompute;
    }

    /// Embeddings \[batch, seq, size\] and a mask to the states of `rows`.
    pub fn forward(
        &self,
        embeddings: Tensor,
        mask: Option<&AttentionMask>,
        rows: &Rows,
        train: bool,
    ) -> Result<EncoderOutput> {
        let (batch, seq, _) = embeddings.size3()?;
        let one = seq * self.intermediate_size * embeddings.kind().elt_size_in_bytes() as i64;
        let piece = (PIECE_BYTES / one.max(1)).max(1);
        if !self.packed
            || matches!(rows, Rows::At(_))
            || embeddings.device() != Device::Cpu
            || batch <= piece
        {
            return self.forward_piece(embeddings, mask, rows, train);
        }
        let (mut hidden_states, mut last_hidden_state, mut layers) = (
            Vec::new(),
            Vec::new(),
            (0..self.layer.len())
                .map(|_| Vec::new())
                .collect::<Vec<_>>(),
        );
        for start in (0..batch).step_by(piece as usize) {
            let count = piece.min(batch - start);
            let mask = mask.map(|mask| mask.narrow(start, count)).transpose()?;
            let output = self.forward_piece(
                embeddings.f_narrow(0, start, count)?,
                mask.as_ref(),
                rows,
                train,
            )?;
            hidden_states.push(output.hidden_states);
            last_hidden_state.push(output.last_hidden_state);
            layers
                .iter_mut()
                .zip(output.cls_of_layers)
                .for_each(|(layer, cls)| layer.push(cls));
        }
        Ok(EncoderOutput {
            hidden_states: Tensor::f_cat(&hidden_states, 0)?,
            last_hidden_state: Tensor::f_cat(&last_hidden_state, 0)?,
            cls_of_layers: layers
                .iter()
                .map(|layer| Tensor::f_cat(layer, 0))
                .collect::<std::result::Result<_, _>>()?,
        })
    }

    fn forward_piece(
        &self,
        embeddings: Tensor,
        mask: Option<&AttentionMask>,
        rows: &Rows,
        train: bool,
    ) -> Result<EncoderOutput> {
        let mut hidden_states = embeddings;
        let mut cls_of_layers = Vec::new();
        for (i, block) in self.layer.iter().enumerate() {
            let asked = if i + 1 == self.layer.len() {
                rows
            } else {
                &Rows::All
            };
            hidden_states = if self.recompute && hidden_states.requires_grad() {
                let (block, mask, asked) = (Rc::clone(block), mask.cloned(), asked.clone());
                recomputed(&hidden_states, move |xs| {
                    block.forward(xs, mask.as_ref(), &asked, train)
                })?
            } else {
                block.forward(&hidden_states, mask, asked, train)?
            };
            if self.packed && !matches!(rows, Rows::At(_)) {
                cls_of_layers.push(hidden_states.select(1, 0).copy()); // a view would keep all rows of each block
            }
        }
        if self.layer.is_empty() {
            hidden_states = rows.of(&hidden_states)?;
        }
        let last_hidden_state = self.layernorm.forward(&hidden_states)?;
        Ok(EncoderOutput {
            hidden_states,
            last_hidden_state,
            cls_of_layers,
        })
    }
}
