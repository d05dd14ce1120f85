//! Gradients: the sum over all processes, of all numbers or of this process's.

use std::collections::{BTreeMap, VecDeque};

use flava_model::runtime::set_gradient;
use tch::Tensor;

use super::{
    Parallel,
    sums::UnderWay,
    units::{AT_ONCE, Unit, with_more},
};
use crate::{EarlySums, Result};

/// What a step's gradients are in all processes together.
pub(crate) struct SummedGradients {
    /// In how many processes each parameter has one, in their order.
    pub(crate) reached: Vec<f64>,
    /// The loss.
    pub(crate) loss: f64,
}

impl Parallel {
    /// The sums that can begin while the backward pass still computes: where blocks are lent their
    /// weights, theirs alone.
    pub(crate) fn early_sums(&self) -> EarlySums {
        EarlySums {
            sums: self.sums.clone().filter(|_| !self.lends()),
            of_blocks: self.blocks.clone(),
        }
    }

    /// Puts the sums over all processes into the gradients that the optimiser reads, and sums the
    /// loss. What no process reached has none.
    pub(crate) fn sum_gradients(&self, loss: f64) -> Result<SummedGradients> {
        let _guard = tch::no_grad_guard();
        if let Some(blocks) = &self.blocks {
            blocks.sum_all()?;
        }
        let mut early = self
            .sums
            .as_ref()
            .map(|sums| sums.take())
            .unwrap_or_default();
        let (mut reached, is_left) = self.reached(&early);
        let (parameters, units) = (reached.len(), is_left.len());
        reached.extend(is_left);
        reached.push(loss);
        let mut all = self.group.sums(&reached)?;
        let loss = all.pop().unwrap_or(f64::NAN);
        let is_left = all.split_off(parameters);
        let summed = SummedGradients { reached: all, loss };
        let mut under_way = VecDeque::new();
        for (number, unit) in self.units().iter().enumerate() {
            if self.is_lent(unit) {
                if let Some(sum) = self.lent_gradient(unit) {
                    self.take(unit, &sum, &summed.reached)?;
                }
                continue;
            }
            let mut of_unit: Vec<UnderWay> = early.remove(&number).into_iter().collect();
            if let Some(sums) = &self.sums
                && is_left[number] > 0.0
            {
                of_unit.push(sums.send(number)?);
            }
            under_way.push_back((unit, of_unit));
            if under_way.len() > AT_ONCE
                && let Some((unit, of_unit)) = under_way.pop_front()
            {
                self.end(unit, of_unit, &summed.reached)?;
            }
        }
        for (unit, of_unit) in under_way {
            self.end(unit, of_unit, &summed.reached)?;
        }
        if let Some(sums) = self.early_sums().sums {
            let late = (0..units).filter(|unit| is_left[*unit] > 0.0);
            sums.learn_order(&late.collect::<Vec<_>>())?;
        }
        Ok(summed)
    }

    /// Whether each parameter has a gradient here, in their order; whether any of a unit's is still
    /// to be summed.
    fn reached(&self, early: &BTreeMap<usize, UnderWay>) -> (Vec<f64>, Vec<f64>) {
        let is_there = |(_, parameter): &(String, Tensor)| f64::from(parameter.grad().defined());
        let mut reached: Vec<f64> = self.parameters.iter().map(is_there).collect();
        let left = |unit: &Unit| {
            let mut slots = unit.slots.iter();
            f64::from(slots.any(|slot| reached[slot.parameter] > 0.0))
        };
        let left = self.units().iter().map(left).collect();
        for (unit, slot) in self.slots() {
            if self.lent_gradient(unit).is_some() {
                reached[slot.parameter] = 1.0;
            }
        }
        for parameter in early.values().flat_map(|under_way| &under_way.reached) {
            reached[*parameter] = 1.0;
        }
        (reached, left)
    }

    /// The summed gradient of this process's part of a block that is lent its weights.
    fn lent_gradient(&self, unit: &Unit) -> Option<Tensor> {
        self.blocks.as_ref()?.gradient(&unit.name)
    }

    /// Waits for the sums of a unit, of which there may be a second, of what came late.
    fn end(&self, unit: &Unit, of_unit: Vec<UnderWay>, reached: &[f64]) -> Result<()> {
        let mut whole: Option<Tensor> = None;
        for UnderWay { sum, work, .. } in of_unit {
            work.wait()?;
            whole = Some(with_more(whole, sum)?);
        }
        whole.map_or(Ok(()), |sum| self.take(unit, &sum, reached))
    }

    /// Gives the parameters of a unit, or the slices of them that are this process's, their sums.
    fn take(&self, unit: &Unit, sum: &Tensor, reached: &[f64]) -> Result<()> {
        let part = if self.slices.is_some() {
            self.shard(unit)
        } else {
            0..unit.length
        };
        for slot in &unit.slots {
            if reached[slot.parameter] == 0.0 {
                continue;
            }
            let Some(slice) = slot.within(&part) else {
                continue;
            };
            let (start, size) = (slice.of_part as i64, slice.of_parameter.len() as i64);
            let gradient = sum.f_narrow(0, start, size)?;
            if let Some(own) = self.own(slot.parameter) {
                set_gradient(&own, Some(&gradient.f_view_as(&own)?))?;
            }
        }
        Ok(())
    }
}
