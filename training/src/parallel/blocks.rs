//! Blocks whose weights each process has a part of: gathered while a block computes, and their
//! gradients summed as soon as it has them, or once a step.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet, VecDeque},
};

use flava_model::{
    layers::WeightLender,
    runtime::{
        distributed::{Group, Work},
        exchange_memory,
    },
};
use tch::{Kind, Tensor};

use super::{
    Reduction,
    units::{AT_ONCE, Slot, Unit, move_gradient, with_more},
};

type ModelResult<T> = flava_model::Result<T>;

/// The blocks of a training.
#[derive(Debug)]
pub(crate) struct Blocks {
    group: Group,
    reduction: Reduction,
    blocks: BTreeMap<String, FlatParameter>,
    /// Of what is lent.
    names: BTreeSet<String>,
    traffic: RefCell<Traffic>,
    /// Memory for a block's numbers that was used and will be again: what is taken and freed for each
    /// block would leave holes.
    spare: RefCell<Vec<Tensor>>,
    /// Whether the step's last backward pass has begun.
    is_last: Cell<bool>,
}

/// What is exchanged while a block computes. All processes come to the same blocks in the same
/// order, and so to the same exchanges.
#[derive(Debug, Default)]
struct Traffic {
    /// The block that was lent its weights last.
    last: String,
    /// The weights of the block that comes next.
    ahead: Option<Ahead>,
    /// Gradients on their way to their sum, of one block after the other.
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
    /// The gradients that are summed, which are read until `work` is done.
    whole: Tensor,
    work: Work,
}

/// The parameters of a block side by side.
#[derive(Debug)]
pub(super) struct FlatParameter {
    /// Views of `whole`.
    parameters: Vec<(Tensor, Slot)>,
    /// This process's part, \[numbers\] of f32.
    own: Tensor,
    /// The weights of all, \[numbers\]; it has memory while the block computes.
    whole: Tensor,
    /// What gave `whole` its memory.
    hollow: RefCell<Option<Tensor>>,
    /// Gradients of this process that are not yet summed, \[numbers\] of f32.
    unsummed: RefCell<Option<Tensor>>,
    /// The sum of the gradients of this process's part, \[numbers\]; none before the first sum of a
    /// step.
    gradient: RefCell<Option<Tensor>>,
}

impl FlatParameter {
    /// Of a unit's parameters, which from now on have no memory; `own` is this process's part of
    /// them.
    ///
    /// # Errors
    /// If memory is short.
    pub(super) fn new(
        unit: &Unit,
        parameters: &[(String, Tensor)],
        own: Tensor,
    ) -> ModelResult<Self> {
        let options = (unit.kind, own.device());
        let whole = Tensor::f_empty([unit.length as i64], options)?;
        let lent = unit.slots.iter().map(|slot| {
            let mut tensor = parameters[slot.parameter].1.shallow_clone();
            tensor.f_set_data(&slot.of_whole(&whole, &tensor.size())?)?;
            Ok((tensor, slot.clone()))
        });
        let flat = Self {
            parameters: lent.collect::<ModelResult<_>>()?,
            own,
            hollow: RefCell::default(),
            unsummed: RefCell::default(),
            gradient: RefCell::default(),
            whole,
        };
        exchange_memory(&flat.whole, &Tensor::f_empty([0], options)?)?;
        Ok(flat)
    }

    /// Moves the gradients that parameters have to `whole`, as the first there or added to those that
    /// are.
    fn move_gradients(&self, whole: &Tensor, is_first: bool) -> ModelResult<()> {
        if is_first {
            let _zero = whole.shallow_clone().f_zero_()?;
        }
        let mut all = self.parameters.iter();
        all.try_for_each(|(tensor, slot)| move_gradient(tensor, whole, slot, is_first))
    }

    fn has_gradients(&self) -> bool {
        let mut all = self.parameters.iter();
        all.any(|(tensor, _)| tensor.grad().defined())
    }
}

impl WeightLender for Blocks {
    fn is_lent(&self, variable: &str) -> bool {
        self.names.contains(variable)
    }

    fn lend(&self, block: &str) -> ModelResult<()> {
        let _guard = tch::no_grad_guard();
        let Some(lent) = self.blocks.get(block) else {
            return Ok(()); // it is not trained
        };
        let mut traffic = self.traffic.borrow_mut();
        let come = self.take_ahead(&mut traffic, block)?;
        let whole = come.map_or_else(|| self.gathered(lent), Ok)?;
        let next = next(&traffic.last, block);
        block.clone_into(&mut traffic.last);
        if let Some(next) = next
            && let Some(following) = self.blocks.get(&next)
        {
            let (whole, work) = self.gather(following)?;
            let block = next;
            traffic.ahead = Some(Ahead { block, whole, work });
        }
        self.release(lent)?; // what failed may not have given it back
        exchange_memory(&lent.whole, &whole)?;
        lent.hollow.replace(Some(whole));
        Ok(())
    }

    fn take_back(&self, block: &str) -> ModelResult<()> {
        let lent = self.blocks.get(block);
        lent.map_or(Ok(()), |lent| self.release(lent))
    }

    fn take_gradients(&self, block: &str) -> ModelResult<()> {
        let _guard = tch::no_grad_guard();
        let Some(lent) = self.blocks.get(block) else {
            return Ok(());
        };
        // One block's sum was under way while this one computed; memory for two there is not.
        let is_due = self.reduction == Reduction::Pass || self.is_last.get();
        if is_due {
            self.end_sums(0)?;
        }
        // They may come with another pass.
        if lent.has_gradients() {
            let before = lent.unsummed.take();
            let is_first = before.is_none();
            let whole = before.map_or_else(|| self.memory(lent, Kind::Float), Ok)?;
            lent.move_gradients(&whole, is_first)?;
            lent.unsummed.replace(Some(whole));
        }
        self.release(lent)?;
        if is_due {
            self.begin_sum(block, lent)?;
        }
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
    pub(super) fn new(
        group: Group,
        reduction: Reduction,
        blocks: BTreeMap<String, FlatParameter>,
        names: BTreeSet<String>,
    ) -> Self {
        Self {
            group,
            reduction,
            blocks,
            names,
            traffic: RefCell::default(),
            spare: RefCell::default(),
            is_last: Cell::new(false),
        }
    }

    /// Memory for the numbers of a block, whatever they are now.
    fn memory(&self, block: &FlatParameter, kind: Kind) -> ModelResult<Tensor> {
        let size = block.whole.size();
        let mut spare = self.spare.borrow_mut();
        let fits = |memory: &Tensor| memory.kind() == kind && memory.size() == size;
        let known = spare.iter().position(fits);
        Ok(match known {
            Some(known) => spare.swap_remove(known),
            None => Tensor::f_empty(&size[..], (kind, block.own.device()))?,
        })
    }

    /// Takes a block's memory away, if it has any.
    fn release(&self, block: &FlatParameter) -> ModelResult<()> {
        if let Some(hollow) = block.hollow.take() {
            exchange_memory(&block.whole, &hollow)?;
            self.spare.borrow_mut().push(hollow);
        }
        Ok(())
    }

    /// Begins to gather the weights of all processes' parts.
    fn gather(&self, block: &FlatParameter) -> ModelResult<(Tensor, Work)> {
        let kind = block.whole.kind();
        let whole = self.memory(block, kind)?;
        let work = self.group.all_gather(&whole, &block.own.f_to_kind(kind)?)?;
        Ok((whole, work))
    }

    /// The weights of all processes' parts.
    fn gathered(&self, block: &FlatParameter) -> ModelResult<Tensor> {
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

    /// Begins to sum what is not yet summed of a block.
    fn begin_sum(&self, name: &str, block: &FlatParameter) -> ModelResult<()> {
        let Some(whole) = block.unsummed.take() else {
            return Ok(());
        };
        let own = block.own.f_zeros_like()?;
        let work = self.group.reduce_scatter(&own, &whole)?;
        self.traffic.borrow_mut().sums.push_back(Sum {
            block: name.to_owned(),
            own,
            whole,
            work,
        });
        Ok(())
    }

    /// Waits for sums of gradients that are under way, but for the last `left` of them.
    fn end_sums(&self, left: usize) -> ModelResult<()> {
        loop {
            let mut traffic = self.traffic.borrow_mut();
            if traffic.sums.len() <= left {
                return Ok(());
            }
            let Some(sum) = traffic.sums.pop_front() else {
                return Ok(());
            };
            drop(traffic);
            sum.work.wait()?;
            self.spare.borrow_mut().push(sum.whole);
            let mut gradient = self.blocks[&sum.block].gradient.borrow_mut();
            let whole = with_more(gradient.take(), sum.own)?;
            *gradient = Some(whole);
        }
    }

    /// Before the backward passes of a step.
    pub(crate) fn begin(&self) {
        self.is_last.set(false);
    }

    /// The next backward pass is the step's last, in all processes.
    pub(crate) fn begin_last(&self) {
        self.is_last.set(true);
    }

    /// After the backward passes of a step: sums what is left, and waits for all.
    pub(super) fn sum_all(&self) -> ModelResult<()> {
        for (name, block) in &self.blocks {
            self.begin_sum(name, block)?;
            self.end_sums(AT_ONCE)?;
        }
        self.end_sums(0)
    }

    /// The summed gradient of this process's part of a block, if it has one in this step.
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
        self.end_sums(0)?;
        self.take_ahead(&mut self.traffic.borrow_mut(), "")?;
        for block in self.blocks.values() {
            block.gradient.replace(None);
            self.spare.borrow_mut().extend(block.unsummed.take());
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
