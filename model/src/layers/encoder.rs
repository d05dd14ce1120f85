//! A stack of blocks and the norm after it.

use std::rc::Rc;

use tch::{Device, Tensor};

use super::{AttentionKind, AttentionMask, Block, LayerNorm, Linear, Rows, WeightLender};
use crate::{
    Result,
    config::BlockConfig,
    runtime::{Vars, copied, on_backward, recomputed},
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

    /// The outputs of consecutive sequences as one.
    fn joined(pieces: &[Self]) -> Result<Self> {
        let join = |of: &dyn Fn(&Self) -> Tensor| -> Result<Tensor> {
            let tensors: Vec<Tensor> = pieces.iter().map(of).collect();
            Ok(Tensor::f_cat(&tensors, 0)?)
        };
        let layers = pieces.first().map_or(0, |piece| piece.cls_of_layers.len());
        let cls = |layer: usize| join(&|piece| piece.cls_of_layers[layer].shallow_clone());
        Ok(Self {
            hidden_states: join(&|piece| piece.hidden_states.shallow_clone())?,
            last_hidden_state: join(&|piece| piece.last_hidden_state.shallow_clone())?,
            cls_of_layers: (0..layers).map(cls).collect::<Result<_>>()?,
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
    lender: Option<Rc<dyn WeightLender>>,
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
            lender: None,
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

    /// Does something with each projection of the blocks' attention, which is told by its name.
    pub fn each_projection<E>(
        &mut self,
        act: &mut impl FnMut(&str, &mut Linear) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let mut blocks = self.layer.iter_mut().filter_map(Rc::get_mut);
        blocks.try_for_each(|block| block.each_projection(act))
    }

    /// Whether the blocks' activations are computed again in the backward pass instead of being
    /// kept.
    pub fn set_recompute(&mut self, recompute: bool) {
        self.recompute = recompute;
    }

    /// Whose the blocks' weights are while they do not compute.
    pub fn set_lender(&mut self, lender: &Rc<dyn WeightLender>) {
        self.lender = Some(Rc::clone(lender));
    }

    /// Embeddings \[batch, seq, size\] and a mask to the states of `rows`; where they are
    /// differentiated, those of padding are zero.
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
        let at_once = batch <= piece || embeddings.device() != Device::Cpu;
        if at_once || !self.packed || matches!(rows, Rows::At(_)) {
            return self.forward_piece(embeddings, mask, rows, train);
        }
        let mut pieces = Vec::new();
        for start in (0..batch).step_by(piece as usize) {
            let count = piece.min(batch - start);
            let mask = mask.map(|mask| mask.narrow(start, count)).transpose()?;
            let part = embeddings.f_narrow(0, start, count)?;
            pieces.push(self.forward_piece(part, mask.as_ref(), rows, train)?);
        }
        EncoderOutput::joined(&pieces)
    }

    fn forward_piece(
        &self,
        embeddings: Tensor,
        mask: Option<&AttentionMask>,
        rows: &Rows,
        train: bool,
    ) -> Result<EncoderOutput> {
        let packing = mask.and_then(AttentionMask::packing);
        let (mut hidden_states, rows_to_compute) = match packing {
            Some(packing) => (packing.pack(&embeddings)?, &packing.rows_to_compute(rows)?),
            None => (embeddings, rows),
        };
        let mut cls_of_layers = Vec::new();
        for (i, block) in self.layer.iter().enumerate() {
            let asked = if i + 1 == self.layer.len() {
                rows_to_compute
            } else {
                &Rows::All
            };
            hidden_states = self.run(block, &hidden_states, mask, asked, train)?;
            if self.packed && !matches!(rows, Rows::At(_)) {
                cls_of_layers.push(copied(&hidden_states.f_select(1, 0)?)?); // a view would keep all rows
            }
        }
        if self.layer.is_empty() {
            hidden_states = rows_to_compute.of(&hidden_states)?;
        }
        let mut last_hidden_state = self.layernorm.forward(&hidden_states)?;
        if let Some(packing) = packing {
            hidden_states = packing.rows_computed(&hidden_states, rows)?;
            last_hidden_state = packing.rows_computed(&last_hidden_state, rows)?;
        }
        Ok(EncoderOutput {
            hidden_states,
            last_hidden_state,
            cls_of_layers,
        })
    }

    /// One block, whose activations are kept or computed again.
    fn run(
        &self,
        block: &Rc<Block>,
        xs: &Tensor,
        mask: Option<&AttentionMask>,
        rows: &Rows,
        train: bool,
    ) -> Result<Tensor> {
        if let Some(lender) = &self.lender {
            let block = LentBlock {
                block: Rc::clone(block),
                lender: Rc::clone(lender),
            };
            return if self.recompute && xs.requires_grad() {
                block.run_again(xs, mask, rows, train)
            } else {
                block.run(xs, mask, rows, train)
            };
        }
        if !self.recompute || !xs.requires_grad() {
            return block.forward(xs, mask, rows, train);
        }
        let (block, mask, rows) = (Rc::clone(block), mask.cloned(), rows.clone());
        let forward = move |xs: &Tensor| block.forward(xs, mask.as_ref(), &rows, train);
        recomputed(xs, forward, || Ok(()))
    }
}

/// A block whose weights are there only while it computes.
#[derive(Clone, Debug)]
struct LentBlock {
    block: Rc<Block>,
    lender: Rc<dyn WeightLender>,
}

impl LentBlock {
    /// Activations are kept; weights come again before the backward pass, and go after it.
    fn run(
        self,
        xs: &Tensor,
        mask: Option<&AttentionMask>,
        rows: &Rows,
        train: bool,
    ) -> Result<Tensor> {
        let (block, name) = (&self.block, self.block.name());
        if !xs.requires_grad() {
            self.lender.lend(name)?;
            let ys = tch::no_grad(|| block.forward(xs, mask, rows, train));
            self.lender.take_back(name)?;
            return ys;
        }
        let after = self.clone();
        let xs = on_backward(xs, move || after.lender.take_gradients(after.block.name()))?;
        self.lender.lend(name)?;
        let ys = block.forward(&xs, mask, rows, train);
        self.lender.take_back(name)?;
        let ys = ys?;
        on_backward(&ys, move || self.lender.lend(self.block.name()))
    }

    /// Activations are computed again in the backward pass.
    fn run_again(
        self,
        xs: &Tensor,
        mask: Option<&AttentionMask>,
        rows: &Rows,
        train: bool,
    ) -> Result<Tensor> {
        let (mask, rows, lent) = (mask.cloned(), rows.clone(), self.clone());
        let forward = move |xs: &Tensor| {
            let name = lent.block.name();
            lent.lender.lend(name)?;
            let ys = lent.block.forward(xs, mask.as_ref(), &rows, train)?;
            if !ys.requires_grad() {
                lent.lender.take_back(name)?; // else its backward pass follows at once
            }
            Ok(ys)
        };
        recomputed(xs, forward, move || {
            self.lender.take_gradients(self.block.name())
        })
    }
}
