//! Gradients: the sum over all processes, of all numbers or of this process's.

use std::collections::VecDeque;

use flava_model::runtime::set_gradient;
use tch::{Kind, Tensor};

use super::{
    Parallel,
    units::{Unit, move_gradient},
};
use crate::Result;

/// Units that are under way while the next is put together.
const AT_ONCE: usize = 2;

impl Parallel {
    /// Whether each parameter has a gradient here, in their order.
    pub(crate) fn reached(&self) -> Vec<f64> {
        let reached = |(_, parameter): &(String, Tensor)| f64::from(parameter.grad().defined());
        let mut all: Vec<f64> = self.parameters.iter().map(reached).collect();
        for (unit, slot) in self.slots() {
            if self.lent_gradient(unit).is_some() {
                all[slot.parameter] = 1.0;
            }
        }
        all
    }

    /// The summed gradient of this process's part of a block that is lent its weights.
    fn lent_gradient(&self, unit: &Unit) -> Option<Tensor> {
        self.blocks.as_ref()?.gradient(&unit.name)
    }

    /// Puts the sums over all processes into the gradients that the optimiser reads; `reached`
    /// says in how many processes each parameter has one. What no process reached has none.
    pub(crate) fn sum_gradients(&self, reached: &[f64]) -> Result<()> {
        let _guard = tch::no_grad_guard();
        let mut under_way = VecDeque::new();
        for unit in &self.units {
            if !unit.is_reached(reached) {
                continue;
            }
            if self.is_lent(unit) {
                if let Some(sum) = self.lent_gradient(unit) {
                    self.take(unit, &sum, reached)?;
                }
                continue;
            }
            let whole = self.gradients_of(unit)?;
            let (sum, work) = if self.slices.is_some() {
                let size = (unit.length / self.group.world()) as i64;
                let part = Tensor::f_empty([size], (Kind::Float, whole.device()))?;
                let work = self.group.reduce_scatter(&part, &whole)?;
                (part, work)
            } else {
                let work = self.group.sum(&whole)?;
                (whole, work)
            };
            under_way.push_back((unit, sum, work));
            if under_way.len() > AT_ONCE
                && let Some((unit, sum, work)) = under_way.pop_front()
            {
                work.wait()?;
                self.take(unit, &sum, reached)?;
            }
        }
        for (unit, sum, work) in under_way {
            work.wait()?;
            self.take(unit, &sum, reached)?;
        }
        Ok(())
    }

    /// The gradients of a unit side by side, zeros where there are none; they are taken away.
    fn gradients_of(&self, unit: &Unit) -> Result<Tensor> {
        let device = self.parameters[unit.slots[0].parameter].1.device();
        let whole = Tensor::f_zeros([unit.length as i64], (Kind::Float, device))?;
        for slot in &unit.slots {
            move_gradient(&self.parameters[slot.parameter].1, &whole, slot)?;
        }
        Ok(whole)
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
