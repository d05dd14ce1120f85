//! Blocks whose weights each process has a part of: gathered while a block computes, and their
//! gradients summed as soon as it has them.

use std::{cell::RefCell, collections::BTreeMap};

use flava_model::{layers::WeightLender, runtime::distributed::Group};
use tch::{Kind, Tensor};

use super::units::{Slot, move_gradient};

type ModelResult<T> = flava_model::Result<T>;

/// The blocks of a training.
#[derive(Debug)]
pub(super) struct Blocks {
    pub(super) group: Group,
    pub(super) blocks: BTreeMap<String, Block>,
}

/// A block's weights.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) parameters: Vec<Lent>,
    /// This process's part, \[numbers\].
    pub(super) own: Tensor,
    /// The sum of the gradients of this process's part, \[numbers\]; none before the block's first
    /// backward pass in a step.
    pub(super) gradient: RefCell<Option<Tensor>>,
}

/// A parameter, which holds nothing while its block does not compute.
#[derive(Debug)]
pub(super) struct Lent {
    pub(super) tensor: Tensor,
    pub(super) size: Vec<i64>,
    pub(super) slot: Slot,
}

impl Lent {
    /// Has it hold its numbers of a whole unit, or none.
    fn hold(&self, whole: Option<&Tensor>) -> ModelResult<()> {
        let numbers = match whole {
            Some(whole) => {
                let (start, size) = (self.slot.range.start as i64, self.slot.range.len() as i64);
                whole.f_narrow(0, start, size)?.f_view(&self.size[..])?
            }
            None => Tensor::f_empty([0], (self.tensor.kind(), self.tensor.device()))?,
        };
        Ok(self.tensor.shallow_clone().f_set_data(&numbers)?)
    }
}

impl Block {
    /// The weights of all processes' parts.
    pub(super) fn whole(&self, group: &Group) -> ModelResult<Tensor> {
        let size = [self.own.size()[0] * group.world() as i64];
        let whole = Tensor::f_empty(size, (self.own.kind(), self.own.device()))?;
        group.all_gather(&whole, &self.own)?.wait()?;
        Ok(whole)
    }

    pub(super) fn hold(&self, whole: Option<&Tensor>) -> ModelResult<()> {
        self.parameters.iter().try_for_each(|lent| lent.hold(whole))
    }

    /// The gradients that were added, side by side; they are taken away.
    fn gradients(&self, group: &Group) -> ModelResult<Tensor> {
        let size = [self.own.size()[0] * group.world() as i64];
        let whole = Tensor::f_zeros(size, (Kind::Float, self.own.device()))?;
        for lent in &self.parameters {
            move_gradient(&lent.tensor, &whole, &lent.slot)?;
        }
        Ok(whole)
    }
}

impl WeightLender for Blocks {
    fn lend(&self, block: &str) -> ModelResult<()> {
        let _guard = tch::no_grad_guard();
        let Some(block) = self.blocks.get(block) else {
            return Ok(()); // it is not trained
        };
        let whole = block.whole(&self.group)?;
        block.hold(Some(&whole))
    }

    fn take_back(&self, block: &str) -> ModelResult<()> {
        let _guard = tch::no_grad_guard();
        self.blocks
            .get(block)
            .map_or(Ok(()), |block| block.hold(None))
    }

    fn take_gradients(&self, block: &str) -> ModelResult<()> {
        let _guard = tch::no_grad_guard();
        let Some(block) = self.blocks.get(block) else {
            return Ok(());
        };
        let whole = block.gradients(&self.group)?;
        block.hold(None)?;
        let own = block.own.f_zeros_like()?;
        self.group.reduce_scatter(&own, &whole)?.wait()?;
        let mut sum = block.gradient.borrow_mut();
        *sum = Some(match sum.take() {
            Some(mut sum) => sum.f_add_(&own)?,
            None => own,
        });
        Ok(())
    }
}

impl Blocks {
    /// The summed gradient of a block's part, if it has one in this step.
    pub(super) fn gradient(&self, block: &str) -> Option<Tensor> {
        let gradient = self.blocks.get(block)?.gradient.borrow();
        gradient.as_ref().map(Tensor::shallow_clone)
    }

    /// Whether a block is one of them.
    pub(super) fn has(&self, block: &str) -> bool {
        self.blocks.contains_key(block)
    }

    pub(super) fn clear_gradients(&self) {
        for block in self.blocks.values() {
            block.gradient.replace(None);
        }
    }
}
