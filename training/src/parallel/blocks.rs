//! Blocks whose weights each process has a part of: gathered while a block computes, and their
//! gradients summed as soon as it has them.

use std::{cell::RefCell, collections::BTreeMap};

use flava_model::{
    layers::WeightLender,
    runtime::distributed::{Group, Work},
};
use tch::{Kind, Tensor};

use super::units::{Slot, move_gradient, with_more};

type ModelResult<T> = flava_model::Result<T>;

/// The blocks of a training.
#[derive(Debug)]
pub(super) struct Blocks {
    group: Group,
    pub(super) blocks: BTreeMap<String, Block>,
    traffic: RefCell<Traffic>,
    /// Memory for a block's numbers that was used and will be again: what is taken and freed for each
    /// block would leave holes.
    spare: RefCell<Vec<Tensor>>,
}

/// What is exchanged while a block computes. All processes come to the same blocks in the same
/// order, and so to the same exchanges.
#[derive(Debug, Default)]
struct Traffic {
    /// The block that was lent its weights last.
    last: String,
    /// The weights of the block that comes next.
    ahead: Option<Ahead>,
    sum: Option<Sum>,
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
    /// The gradients that are summed, which are read until `work` is done.
    whole: Tensor,
    work: Work,
}

/// A block's weights.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) parameters: Vec<Lent>,
    /// This process's part, \[numbers\].
    pub(super) own: Tensor,
    /// The weights of all, while the block computes.
    pub(super) whole: RefCell<Option<Tensor>>,
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
    pub(super) fn hold(&self, whole: Option<&Tensor>) -> ModelResult<()> {
        self.parameters.iter().try_for_each(|lent| lent.hold(whole))
    }

    /// Puts the gradients that were added side by side into `whole`; they are taken away.
    fn take_gradients(&self, whole: &Tensor) -> ModelResult<()> {
        let _zero = whole.shallow_clone().f_zero_()?;
        for lent in &self.parameters {
            move_gradient(&lent.tensor, whole, &lent.slot)?;
        }
        Ok(())
    }
}

impl WeightLender for Blocks {
    fn lend(&self, block: &str) -> ModelResult<()> {
        let _guard = tch::no_grad_guard();
        let Some(lent) = self.blocks.get(block) else {
            return Ok(()); // it is not trained
        };
        let mut traffic = self.traffic.borrow_mut();
        let whole = match self.take_ahead(&mut traffic, block)? {
            Some(whole) => whole,
            None => self.whole(lent)?,
        };
        let next = next(&traffic.last, block);
        block.clone_into(&mut traffic.last);
        if let Some(next) = next
            && let Some(coming) = self.blocks.get(&next)
        {
            let (whole, work) = self.gather(coming)?;
            let block = next;
            traffic.ahead = Some(Ahead { block, whole, work });
        }
        lent.hold(Some(&whole))?;
        lent.whole.replace(Some(whole));
        Ok(())
    }

    fn take_back(&self, block: &str) -> ModelResult<()> {
        let _guard = tch::no_grad_guard();
        let Some(lent) = self.blocks.get(block) else {
            return Ok(());
        };
        lent.hold(None)?;
        self.spare.borrow_mut().extend(lent.whole.take());
        Ok(())
    }

    fn take_gradients(&self, block: &str) -> ModelResult<()> {
        let _guard = tch::no_grad_guard();
        let Some(lent) = self.blocks.get(block) else {
            return Ok(());
        };
        // One sum was under way while this block computed; memory for two there is not.
        self.end_sum()?;
        let whole = self.memory(lent)?;
        lent.take_gradients(&whole)?;
        self.take_back(block)?;
        let own = lent.own.f_zeros_like()?;
        let work = self.group.reduce_scatter(&own, &whole)?;
        self.traffic.borrow_mut().sum = Some(Sum {
            block: block.to_owned(),
            own,
            whole,
            work,
        });
        Ok(())
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
            spare: RefCell::default(),
        }
    }

    /// Memory for the numbers of a block, whatever they are now.
    fn memory(&self, block: &Block) -> ModelResult<Tensor> {
        let size = [block.own.size()[0] * self.group.world() as i64];
        let mut spare = self.spare.borrow_mut();
        let known = spare.iter().position(|memory| memory.size() == size);
        Ok(match known {
            Some(known) => spare.swap_remove(known),
            None => Tensor::f_empty(size, (Kind::Float, block.own.device()))?,
        })
    }

    /// Begins to gather the weights of all processes' parts.
    fn gather(&self, block: &Block) -> ModelResult<(Tensor, Work)> {
        let whole = self.memory(block)?;
        let work = self.group.all_gather(&whole, &block.own)?;
        Ok((whole, work))
    }

    /// The weights of all processes' parts.
    fn whole(&self, block: &Block) -> ModelResult<Tensor> {
        let (whole, work) = self.gather(block)?;
        work.wait()?;
        Ok(whole)
    }

    /// The weights that were gathered ahead, if they are those of this block.
    fn take_ahead(&self, traffic: &mut Traffic, block: &str) -> ModelResult<Option<Tensor>> {
        let Some(ahead) = traffic.ahead.take() else {
            return Ok(None);
        };
        ahead.work.wait()?;
        if ahead.block == block {
            return Ok(Some(ahead.whole));
        }
        self.spare.borrow_mut().push(ahead.whole);
        Ok(None)
    }

    /// Brings all weights, of which process 0 has every block hold its own.
    pub(super) fn bring(&self) -> ModelResult<()> {
        for block in self.blocks.values() {
            let whole = self.whole(block)?;
            if self.group.leads() {
                block.hold(Some(&whole))?; // it holds it until it is told to hold nothing
            } else {
                self.spare.borrow_mut().push(whole);
            }
        }
        Ok(())
    }

    /// Waits for the sum of gradients that is under way.
    pub(super) fn end_sum(&self) -> ModelResult<()> {
        let Some(sum) = self.traffic.borrow_mut().sum.take() else {
            return Ok(());
        };
        let Sum {
            block,
            own,
            whole,
            work,
        } = sum;
        work.wait()?;
        self.spare.borrow_mut().push(whole);
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
        self.end_sum()?;
        self.take_ahead(&mut self.traffic.borrow_mut(), "")?;
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
