//! Weights: the same in all processes.

use tch::{Kind, Tensor};

use super::{Parallel, units::Unit};
use crate::{Error, Result};

/// What weights of the same file or seed may differ by, relatively, where processors round
/// differently.
const SAME: f64 = 1e-3;

impl Parallel {
    /// Brings all processes to process 0's weights.
    ///
    /// # Errors
    /// Where those of another are something else: it has read another file.
    pub(crate) fn agree_on_weights(&mut self) -> Result<()> {
        let _guard = tch::no_grad_guard();
        if !self.group.has_others() {
            return Ok(());
        }
        self.slice_again()?;
        let mut size = 0.0;
        for (_, parameter) in &self.parameters {
            size += parameter.f_abs()?.f_sum(Kind::Double)?.double_value(&[]);
        }
        let sizes = self.group.exchange(&[size])?;
        let of_leader = sizes[0][0];
        let other = |size: &Vec<f64>| (size[0] - of_leader).abs() > SAME * of_leader.abs();
        if let Some(rank) = sizes.iter().position(other) {
            return Err(Error::OtherProcess {
                rank,
                what: "weights",
                reason: format!(
                    "the sum of their sizes is {}, not {of_leader}",
                    sizes[rank][0]
                ),
            });
        }
        for (_, parameter) in &self.parameters {
            self.group.broadcast(&parameter.detach())?.wait()?;
        }
        Ok(())
    }

    /// Brings what each process's optimiser changed to all others: `reached` says which parameters
    /// had gradients.
    pub(crate) fn gather_weights(&self, reached: &[f64]) -> Result<()> {
        if self.slices.is_none() {
            return Ok(()); // each has changed all of them
        }
        let own = |number: usize| self.own(number);
        let _guard = tch::no_grad_guard();
        let changed = |unit: &&Unit| !self.is_lent(unit) && unit.is_reached(reached);
        for unit in self.units().iter().filter(changed) {
            self.gather(unit, &own, &mut |number, numbers| {
                let mut parameter = self.parameters[number].1.f_detach()?;
                parameter.f_copy_(&numbers.f_view_as(&parameter)?)?;
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Puts together what each process has of a tensor of each parameter's size, of a unit's
    /// parameters, and gives each whole, \[numbers\].
    pub(super) fn gather(
        &self,
        unit: &Unit,
        own: &dyn Fn(usize) -> Option<Tensor>,
        take: &mut dyn FnMut(usize, &Tensor) -> Result<()>,
    ) -> Result<()> {
        let whole = self.whole(unit, own)?;
        for slot in &unit.slots {
            let (start, size) = (slot.range.start as i64, slot.range.len() as i64);
            take(slot.parameter, &whole.f_narrow(0, start, size)?)?;
        }
        Ok(())
    }

    /// What all processes have of a unit, side by side.
    pub(super) fn whole(
        &self,
        unit: &Unit,
        own: &dyn Fn(usize) -> Option<Tensor>,
    ) -> Result<Tensor> {
        let part = self.part_of(unit, own)?;
        let whole = Tensor::f_zeros([unit.length as i64], (Kind::Float, part.device()))?;
        self.group.all_gather(&whole, &part)?.wait()?;
        Ok(whole)
    }

    /// What this process has of a unit, side by side.
    pub(super) fn part_of(
        &self,
        unit: &Unit,
        own: &dyn Fn(usize) -> Option<Tensor>,
    ) -> Result<Tensor> {
        let device = self.parameters[unit.slots[0].parameter].1.device();
        let shard = self.shard(unit);
        let part = Tensor::f_zeros([shard.len() as i64], (Kind::Float, device))?;
        for slot in &unit.slots {
            let (Some(slice), Some(own)) = (slot.within(&shard), own(slot.parameter)) else {
                continue;
            };
            let (start, size) = (slice.of_part as i64, slice.of_parameter.len() as i64);
            part.f_narrow(0, start, size)?.f_copy_(&own)?;
        }
        Ok(part)
    }
}
