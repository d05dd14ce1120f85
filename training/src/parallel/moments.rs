//! The optimiser's moments: whole in files, whatever each process has of them.

use std::collections::BTreeMap;

use flava_model::runtime::copied;
use tch::{Device, Tensor};

use super::Parallel;
use crate::{AdamW, Error, Result};

/// The moments that are of a parameter's size.
const SIZED: [&str; 2] = ["mean", "square"];
/// Steps that a parameter has made.
const STEPS: &str = "steps";

impl Parallel {
    /// The optimiser's whole state, in the host's memory, as it is saved; all processes call this,
    /// and the state is process 0's.
    pub(crate) fn whole_state(&self, optimiser: &AdamW) -> Result<Vec<(String, Tensor)>> {
        if self.slices.is_none() {
            return Ok(optimiser.state());
        }
        let own: BTreeMap<String, Tensor> = optimiser.state().into_iter().collect();
        let steps = self.steps(&own)?;
        let mut whole = Vec::new();
        for part in SIZED {
            let named = |number: usize| format!("{part}.{}", self.parameters[number].0);
            let of = |number: usize| own.get(&named(number)).map(Tensor::shallow_clone);
            for unit in self.units() {
                self.gather(unit, &of, &mut |number, numbers| {
                    if steps[number] > 0.0 && self.group.leads() {
                        let shaped = numbers.f_view(&self.sizes[number][..])?;
                        let kept = copied(&shaped.f_to_device(Device::Cpu)?)?;
                        whole.push((named(number), kept));
                    }
                    Ok(())
                })?;
            }
        }
        let stepped = steps.iter().zip(&self.parameters);
        for (steps, (name, _)) in stepped.filter(|(steps, _)| **steps > 0.0) {
            whole.push((format!("{STEPS}.{name}"), Tensor::from(*steps as f32)));
        }
        Ok(whole)
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

    /// What of a whole state is this process's.
    ///
    /// # Errors
    /// If a moment is of another size than its parameter.
    pub(crate) fn own_state(&self, whole: Vec<(String, Tensor)>) -> Result<Vec<(String, Tensor)>> {
        if self.slices.is_none() {
            return Ok(whole);
        }
        let mut whole: BTreeMap<String, Tensor> = whole.into_iter().collect();
        let mut own = Vec::new();
        for (unit, slot) in self.slots() {
            let (name, size) = (
                &self.parameters[slot.parameter].0,
                &self.sizes[slot.parameter],
            );
            let slice = slot.within(&self.shard(unit));
            for part in SIZED.into_iter().chain([STEPS]) {
                let named = format!("{part}.{name}");
                let Some(tensor) = whole.remove(&named) else {
                    continue;
                };
                let Some(slice) = &slice else { continue };
                if part == STEPS {
                    own.push((named, tensor));
                    continue;
                }
                if tensor.size() != *size {
                    let reason = format!("the optimiser's state of {name} does not fit");
                    return Err(Error::Model(flava_model::Error::Input(reason)));
                }
                let (start, size) = (slice.of_parameter.start, slice.of_parameter.len());
                let numbers = tensor
                    .f_view([-1])?
                    .f_narrow(0, start as i64, size as i64)?;
                own.push((named, copied(&numbers)?));
            }
        }
        own.extend(whole); // of no parameter: the optimiser says so
        Ok(own)
    }
}
