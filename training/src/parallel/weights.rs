//! Weights: the same in all processes.

use tch::{Device, Kind, Tensor};

use super::{
    Parallel,
    units::{Slot, Unit},
};
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
        let room = self.room()?;
        for unit in self.units().iter().filter(changed) {
            self.gather(&room, unit, &own, &mut |slot, numbers| {
                let mut parameter = self.parameters[slot.parameter].1.f_detach()?;
                parameter.f_copy_(numbers)?;
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Room for any unit that is gathered, and for this process's part of it, \[numbers\] each: what
    /// is taken and freed for each unit would leave holes.
    pub(super) fn room(&self) -> Result<[Tensor; 2]> {
        let lengths = self.units().iter().map(|unit| unit.length);
        let most = lengths.max().unwrap_or(0);
        let first = self.parameters.first();
        let device = first.map_or(Device::Cpu, |(_, parameter)| parameter.device());
        let room = |numbers: usize| Tensor::f_zeros([numbers as i64], (Kind::Float, device));
        Ok([room(most)?, room(most / self.group.world())?])
    }

    /// Puts together what each process has of a tensor of each parameter's size, of a unit's
    /// parameters, and gives each whole, as it is until the next is gathered.
    pub(super) fn gather(
        &self,
        [whole, part]: &[Tensor; 2],
        unit: &Unit,
        own: &dyn Fn(usize) -> Option<Tensor>,
        take: &mut dyn FnMut(&Slot, &Tensor) -> Result<()>,
    ) -> Result<()> {
        let whole = whole.f_narrow(0, 0, unit.length as i64)?;
        let part = part.f_narrow(0, 0, self.shard(unit).len() as i64)?;
        self.fill_part(&part, unit, own)?;
        self.group.all_gather(&whole, &part)?.wait()?;
        for slot in &unit.slots {
            let size = self.parameters[slot.parameter].1.size();
            take(slot, &slot.of_whole(&whole, &size)?)?;
        }
        Ok(())
    }

    /// Puts what this process has of a unit side by side.
    pub(super) fn fill_part(
        &self,
        part: &Tensor,
        unit: &Unit,
        own: &dyn Fn(usize) -> Option<Tensor>,
    ) -> Result<()> {
        let shard = self.shard(unit);
        let _zero = part.shallow_clone().f_zero_()?;
        for slot in &unit.slots {
            let (Some(slice), Some(own)) = (slot.within(&shard), own(slot.parameter)) else {
                continue;
            };
            let (start, size) = (slice.of_part as i64, slice.of_parameter.len() as i64);
            part.f_narrow(0, start, size)?.f_copy_(&own)?;
        }
        Ok(())
    }
}
