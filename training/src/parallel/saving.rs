//! What is saved of a training whose processes have parts of it: whole tensors, each by one of them.

use std::collections::BTreeMap;

use flava_model::runtime::copied;
use tch::{Device, Tensor};

use super::{
    Parallel,
    units::{Slot, Unit},
};
use crate::{AdamW, Error, Result};

/// The moments that are of a parameter's size.
const SIZED: [&str; 2] = ["mean", "square"];
/// Steps that a parameter has made.
const STEPS: &str = "steps";

/// Tensors by name.
type Named = Vec<(String, Tensor)>;

impl Parallel {
    /// Whether each process has only a part of what is saved: of the optimiser's state.
    pub(crate) fn is_in_parts(&self) -> bool {
        self.slices.is_some()
    }

    /// The weights of blocks that are lent theirs, those that this process saves of so many that
    /// save, whole and in the host's memory. All processes call this.
    pub(crate) fn saved_blocks(&self, savers: usize) -> Result<Named> {
        let _guard = tch::no_grad_guard();
        let own = |number: usize| self.own(number);
        let (room, mut saved) = (self.room()?, Vec::new());
        let units = self.units().iter().enumerate();
        for (number, unit) in units.filter(|(_, unit)| self.is_lent(unit)) {
            let is_own = number % savers == self.group.rank();
            self.gather(&room, unit, &own, &mut |slot, whole| {
                if is_own {
                    let name = self.parameters[slot.parameter].0.clone();
                    saved.push((name, in_host(whole)?));
                }
                Ok(())
            })?;
        }
        Ok(saved)
    }

    /// What of the optimiser's state this process saves of so many that save: whole tensors in the
    /// host's memory. All processes call this; where each has all of it, all of it is process 0's.
    pub(crate) fn saved_state(&self, optimiser: &AdamW, savers: usize) -> Result<Named> {
        if !self.is_in_parts() {
            return Ok(optimiser.state());
        }
        let own: BTreeMap<String, Tensor> = optimiser.state().into_iter().collect();
        let steps = self.steps(&own)?;
        let (room, mut saved) = (self.room()?, Vec::new());
        for (number, unit) in self.units().iter().enumerate() {
            let is_own = number % savers == self.group.rank();
            for part in SIZED {
                let named = |number: usize| format!("{part}.{}", self.parameters[number].0);
                let of = |number: usize| own.get(&named(number)).map(Tensor::shallow_clone);
                self.gather(&room, unit, &of, &mut |slot, whole| {
                    if is_own && steps[slot.parameter] > 0.0 {
                        saved.push((named(slot.parameter), in_host(whole)?));
                    }
                    Ok(())
                })?;
            }
            if is_own {
                let numbers = unit.slots.iter().map(|slot| slot.parameter);
                let stepped = numbers.filter(|number| steps[*number] > 0.0);
                saved.extend(stepped.map(|number| {
                    let name = format!("{STEPS}.{}", self.parameters[number].0);
                    (name, Tensor::from(steps[number] as f32))
                }));
            }
        }
        Ok(saved)
    }

    /// The steps that each parameter has made, in their order: a process knows those of what it
    /// has a part of.
    fn steps(&self, own: &BTreeMap<String, Tensor>) -> Result<Vec<f64>> {
        let known = |(name, _): &(String, Tensor)| {
            let steps = own.get(&format!("{STEPS}.{name}"));
            steps.map_or(0.0, |steps| steps.double_value(&[]))
        };
        let known: Vec<f64> = self.parameters.iter().map(known).collect();
        let mut most = vec![0.0f64; known.len()];
        for steps in self.group.exchange(&known)? {
            for (most, steps) in most.iter_mut().zip(steps) {
                *most = most.max(steps);
            }
        }
        Ok(most)
    }

    /// What of a tensor of the optimiser's whole state is this process's: all of it, or of a moment
    /// what there is here of its parameter, if anything is.
    ///
    /// # Errors
    /// If a moment is of another size than its parameter.
    pub(crate) fn own_state(&self, name: &str, tensor: Tensor) -> Result<Option<Tensor>> {
        let of = name.split_once('.').filter(|_| self.is_in_parts());
        let found = of.and_then(|(part, parameter)| Some((part, self.slot_of(parameter)?)));
        let Some((part, (unit, slot))) = found else {
            return Ok(Some(tensor)); // of no parameter: the optimiser says so
        };
        let Some(slice) = slot.within(&self.shard(unit)) else {
            return Ok(None);
        };
        if !SIZED.contains(&part) {
            return Ok(Some(tensor));
        }
        let (parameter, values) = &self.parameters[slot.parameter];
        if tensor.size() != values.size() {
            let reason = format!("the optimiser's state of {parameter} does not fit");
            return Err(Error::Model(flava_model::Error::Input(reason)));
        }
        let (start, size) = (slice.of_parameter.start, slice.of_parameter.len());
        let numbers = tensor.f_view([-1])?;
        let own = numbers.f_narrow(0, start as i64, size as i64)?;
        Ok(Some(copied(&own)?))
    }

    /// Where a parameter is.
    fn slot_of(&self, name: &str) -> Option<(&Unit, &Slot)> {
        let number = self
            .parameters
            .iter()
            .position(|(known, _)| known == name)?;
        self.slots().find(|(_, slot)| slot.parameter == number)
    }
}

/// A copy in the host's memory.
fn in_host(tensor: &Tensor) -> Result<Tensor> {
    Ok(copied(&tensor.f_to_device(Device::Cpu)?)?)
}
