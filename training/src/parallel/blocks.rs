//! Blocks whose weights each process has a part of: gathered while a block computes, and their
//! gradients summed as soon as it has them.

use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
};

use flava_model::{
    layers::WeightLender,
    runtime::distributed::{Group, Work},
};
use tch::{Kind, Tensor};

use super::units::{AT_ONCE, Slot, move_gradient, with_more};

type ModelResult<T> = flava_model::Result<T>;

/// The blocks of a training.
#[derive(Debug)]
pub(super) struct Blocks {
    group: Group,
    pub(super) blocks: BTreeMap<String, Block>,
    traffic: RefCell<Traffic>,
}

/// What is exchanged while a block computes. All processes come to the same blocks in the same
/// order, and so to the same exchanges.
#[derive(Debug, Default)]
struct Traffic {
    /// The block that was lent its weights last.
    last: String,
    /// The weights of the block that comes next.
    ahead: Option<Ahead>,
    sums: VecDeque<Sum>,
}

/// A block's weights on their way.
#[derive(Debug)]
struct Ahead {
    block: String,
    whole: Tensor,
    work: Work,
}

/// A block's gradients on their way to their sum.
#[derive(Debug)]
struct Sum {
    block: String,
    own: Tensor,
    work: Work,
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
    /// Begins to gather the weights of all processes' parts.
    fn gather(&self, group: &Group) -> ModelResult<(Tensor, Work)> {
        let size = [self.own.size()[0] * group.world() as i64];
        let whole = Tensor::f_empty(size, (self.own.kind(), self.own.device()))?;
        let work = group.all_gather(&whole, &self.own)?;
        Ok((whole, work))
    }

    /// The weights of all processes' parts.
    fn whole(&self, group: &Group) -> ModelResult<Tensor> {
        let (whole, work) = self.gather(group)?;
        work.wait()?;
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
        let Some(lent) = self.blocks.get(block) else {
            return Ok(()); // it is not trained
        };
        let mut traffic = self.traffic.borrow_mut();
        let whole = match traffic.take_ahead(block)? {
            Some(whole) => whole,
            None => lent.whole(&self.group)?,
        };
        let next = next(&traffic.last, block);
        block.clone_into(&mut traffic.last);
        if let Some(next) = next
            && let Some(coming) = self.blocks.get(&next)
        {
            let (whole, work) = coming.gather(&self.group)?;
            let block = next;
            traffic.ahead = Some(Ahead { block, whole, work });
        }
        lent.hold(Some(&whole))
    }

    fn take_back(&self, block: &str) -> ModelResult<()> {
        let _guard = tch::no_grad_guard();
        self.blocks
            .get(block)
            .map_or(Ok(()), |block| block.hold(None))
    }

    fn take_gradients(&self, block: &str) -> ModelResult<()> {
        let _guard = tch::no_grad_guard();
        let Some(lent) = self.blocks.get(block) else {
            return Ok(());
        };
        let whole = lent.gradients(&self.group)?;
        lent.hold(None)?;
        let own = lent.own.f_zeros_like()?;
        let work = self.group.reduce_scatter(&own, &whole)?;
        let sums = &mut self.traffic.borrow_mut().sums;
        sums.push_back(Sum {
            block: block.to_owned(),
            own,
            work,
        });
        while sums.len() > AT_ONCE {
            self.end_first(sums)?;
        }
        Ok(())
    }
}

impl Traffic {
    /// The weights that were gathered ahead, if they are those of this block.
    fn take_ahead(&mut self, block: &str) -> ModelResult<Option<Tensor>> {
        let Some(ahead) = self.ahead.take() else {
            return Ok(None);
        };
        ahead.work.wait()?;
        Ok((ahead.block == block).then_some(ahead.whole))
    }
}

/// The block that follows: up in a forward pass, down in a backward pass, which begins with the
/// block that the forward pass ended with.
fn next(last: &str, block: &str) -> Option<String> {
    let (stack, number) = block.rsplit_once('.')?;
    let number: usize = number.parse().ok()?;
    let at = |number: usize| format!("{stack}.{number}");
    let above = last == at(number + 1);
    let below = number.checked_sub(1).map(at);
    let is_forward = !above && below.as_ref().is_none_or(|below| last == below);
    if is_forward {
        return Some(at(number + 1));
    }
    below
}

impl Blocks {
    pub(super) fn new(group: Group, blocks: BTreeMap<String, Block>) -> Self {
        Self {
            group,
            blocks,
            traffic: RefCell::default(),
        }
    }

    /// Brings all weights, of which process 0 has every block hold its own.
    pub(super) fn bring(&self) -> ModelResult<()> {
        for block in self.blocks.values() {
            let whole = block.whole(&self.group)?;
            if self.group.leads() {
                block.hold(Some(&whole))?;
            }
        }
        Ok(())
    }

    /// Waits for the sums of gradients that are under way.
    pub(super) fn end_sums(&self) -> ModelResult<()> {
        let sums = &mut self.traffic.borrow_mut().sums;
        while !sums.is_empty() {
            self.end_first(sums)?;
        }
        Ok(())
    }

    fn end_first(&self, sums: &mut VecDeque<Sum>) -> ModelResult<()> {
        let Some(Sum { block, own, work }) = sums.pop_front() else {
            return Ok(());
        };
        work.wait()?;
        let Some(block) = self.blocks.get(&block) else {
            return Ok(());
        };
        let mut gradient = block.gradient.borrow_mut();
        let whole = with_more(gradient.take(), own)?;
        *gradient = Some(whole);
        Ok(())
    }

    /// The summed gradient of a block's part, if it has one in this step.
    pub(super) fn gradient(&self, block: &str) -> Option<Tensor> {
        let gradient = self.blocks.get(block)?.gradient.borrow();
        gradient.as_ref().map(Tensor::shallow_clone)
    }

    /// Whether a block is one of them.
    pub(super) fn has(&self, block: &str) -> bool {
        self.blocks.contains_key(block)
    }

    /// Takes all gradients away, and what a pass that failed has left under way.
    pub(super) fn clear_gradients(&self) -> ModelResult<()> {
        self.end_sums()?;
        self.traffic.borrow_mut().take_ahead("")?;
        for block in self.blocks.values() {
            block.gradient.replace(None);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever guessed wrong would gather what nobody asks for.
    #[test]
    fn blocks_that_follow_are_known_but_for_the_first_of_a_pass() {
        let pass = |stack: &str, numbers: &[usize]| -> Vec<String> {
            let named = numbers.iter().map(|number| format!("{stack}.{number}"));
            named.collect()
        };
        let mut visits = Vec::new();
        for _ in 0..2 {
            for (stack, numbers) in [("image", [0, 1, 2]), ("text", [0, 1, 2])] {
                visits.push(pass(stack, &numbers));
            }
            for (stack, numbers) in [("text", [2, 1, 0]), ("image", [2, 1, 0])] {
                visits.push(pass(stack, &numbers));
            }
        }
        let mut last = String::new();
        for visited in visits {
            for (place, block) in visited.iter().enumerate() {
                let told = next(&last, block).filter(|next| !next.ends_with(".3"));
                assert_eq!(told.as_ref(), visited.get(place + 1), "{last} {block}");
                block.clone_into(&mut last);
            }
        }
    }
}
