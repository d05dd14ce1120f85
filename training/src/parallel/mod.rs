//! Training in several processes: gradients that are summed over all of them, unit by unit, and an
//! optimiser whose state each has whole or a part of.

mod blocks;
mod fitting;
mod gradients;
mod lending;
mod saving;
mod schedule;
mod sums;
mod units;
mod weights;

use std::{collections::BTreeMap, ops::Range, rc::Rc};

use flava_model::runtime::{clear_gradients, distributed::Group};
use tch::{Kind, Tensor};

use crate::{AdamW, AdamWConfig, ParameterSet, Result};
pub(crate) use blocks::Blocks;
pub(crate) use fitting::fitting;
pub(crate) use gradients::SummedGradients;
pub use schedule::{BlockExchanges, Schedule};
pub(crate) use sums::Sums;

use units::{Slice, Slot, Unit};

/// What of a training each process has only a part of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sharding {
    /// Nothing: each has all weights, gradients and moments.
    #[default]
    None,
    /// The optimiser's moments, and the gradients that it reads (`ZeRO`, stage 2).
    Optimiser,
    /// Besides, the weights of blocks, which come while a block computes (`ZeRO`, stage 3).
    Full(Reduction),
}

/// When the gradients of blocks that are lent their weights are summed over all processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reduction {
    /// After each backward pass: a process keeps a part of their sum.
    #[default]
    Pass,
    /// Once a step, as all other gradients: a process keeps all of its own until then, and less is
    /// sent where rows go through in parts.
    Step,
}

impl Sharding {
    /// As it is asked for.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Optimiser => "optimiser",
            Self::Full(_) => "full",
        }
    }

    /// The kind that matrices of blocks are gathered in, where products read `products`.
    fn gathers_in(self, products: Kind) -> Kind {
        match self {
            Self::None | Self::Optimiser => Kind::Float,
            Self::Full(_) => products,
        }
    }
}

/// The parameters of a training as its processes exchange them.
#[derive(Debug)]
pub(crate) struct Parallel {
    group: Group,
    /// By name, in the order of the optimiser's sets.
    parameters: Vec<(String, Tensor)>,
    /// By units; none of a process alone, which exchanges nothing.
    sums: Option<Rc<Sums>>,
    /// What of each parameter this process's optimiser changes, \[numbers\]; none where the
    /// optimiser has all of them.
    slices: Option<Vec<Option<Tensor>>>,
    /// Whose weights each process has only a part of.
    blocks: Option<Rc<Blocks>>,
}

impl Parallel {
    /// Of parameters that products read in a kind of number.
    pub(crate) fn new(
        group: &Group,
        sharding: Sharding,
        products: Kind,
        sets: &[ParameterSet],
    ) -> Result<Self> {
        let all = sets.iter().flat_map(|set| &set.parameters);
        let parameters: Vec<(String, Tensor)> = all
            .map(|parameter| (parameter.name.clone(), parameter.tensor.shallow_clone()))
            .collect();
        let sizes: Vec<Vec<i64>> = parameters.iter().map(|(_, tensor)| tensor.size()).collect();
        let sized = parameters.iter().zip(&sizes);
        let sized = sized.map(|((name, _), size)| (name.as_str(), &size[..]));
        let is_sliced = sharding != Sharding::None;
        let sums = if group.has_others() {
            let units = units::units(sized, group.world(), sharding.gathers_in(products));
            Some(Sums::new(group, &parameters, units, is_sliced)?)
        } else {
            None
        };
        let mut parallel = Self {
            sums,
            group: group.clone(),
            parameters,
            slices: None,
            blocks: None,
        };
        if group.has_others() && is_sliced {
            parallel.slices = Some(parallel.slice()?);
        }
        Ok(parallel)
    }

    /// What of each parameter is this process's.
    fn slice(&self) -> Result<Vec<Option<Tensor>>> {
        let mut slices: Vec<Option<Tensor>> = self.parameters.iter().map(|_| None).collect();
        for (unit, slot) in self.slots() {
            if let Some(Slice { of_parameter, .. }) = slot.within(&self.shard(unit)) {
                let (start, size) = (of_parameter.start as i64, of_parameter.len() as i64);
                let numbers = self.parameters[slot.parameter].1.f_detach()?.f_view([-1])?;
                // A view would keep what it is one of, also once it holds other numbers.
                let mut slice = Tensor::f_empty([0], (numbers.kind(), numbers.device()))?;
                slice.f_set_data(&numbers.f_narrow(0, start, size)?)?;
                slices[slot.parameter] = Some(slice);
            }
        }
        Ok(slices)
    }

    /// Has the slices be of the parameters' numbers as they are now: a state that is loaded may have
    /// brought others.
    pub(super) fn slice_again(&mut self) -> Result<()> {
        let now = match &self.slices {
            Some(_) => self.slice()?,
            None => return Ok(()),
        };
        for (slice, now) in self.slices.iter_mut().flatten().zip(&now) {
            if let (Some(slice), Some(now)) = (slice, now) {
                slice.f_set_data(now)?; // the optimiser has the same tensor
            }
        }
        Ok(())
    }

    fn units(&self) -> &[Unit] {
        self.sums.as_ref().map_or(&[], |sums| &sums.units)
    }

    fn slots(&self) -> impl Iterator<Item = (&Unit, &Slot)> {
        let units = self.units().iter();
        units.flat_map(|unit| unit.slots.iter().map(move |slot| (unit, slot)))
    }

    /// What of a unit is this process's.
    fn shard(&self, unit: &Unit) -> Range<usize> {
        let (rank, size) = (self.group.rank(), unit.length / self.group.world());
        rank * size..(rank + 1) * size
    }

    /// What of a parameter this process's optimiser changes: all of it, or a slice, or nothing.
    pub(crate) fn own(&self, number: usize) -> Option<Tensor> {
        match &self.slices {
            None => Some(self.parameters[number].1.shallow_clone()),
            Some(slices) => slices[number].as_ref().map(Tensor::shallow_clone),
        }
    }

    /// An optimiser of what is this process's of some parameters.
    pub(crate) fn optimiser(&self, sets: Vec<ParameterSet>, config: &AdamWConfig) -> AdamW {
        let numbers = self.parameters.iter().enumerate();
        let own: BTreeMap<&str, Option<Tensor>> = numbers
            .map(|(number, (name, _))| (name.as_str(), self.own(number)))
            .collect();
        AdamW::of(sets, config).of_own(|name| own.get(name)?.as_ref().map(Tensor::shallow_clone))
    }

    /// Whether blocks are lent their weights: every process must then come to every block.
    pub(crate) fn lends(&self) -> bool {
        self.blocks.is_some()
    }

    /// Whether each process has only a part of a unit's weights.
    fn is_lent(&self, unit: &Unit) -> bool {
        let blocks = self.blocks.as_ref();
        blocks.is_some_and(|blocks| blocks.has(&unit.name))
    }

    /// What this process's optimiser changes, by name.
    pub(crate) fn owned(&self) -> impl Iterator<Item = (&str, Tensor)> {
        let numbered = self.parameters.iter().enumerate();
        numbered.filter_map(|(number, (name, _))| Some((name.as_str(), self.own(number)?)))
    }

    /// Takes away the gradients that the optimiser does not read.
    pub(crate) fn clear_own_gradients(&self) -> Result<()> {
        if self.slices.is_none() {
            return Ok(());
        }
        if let Some(blocks) = &self.blocks {
            blocks.clear_gradients()?;
        }
        let all = self.parameters.iter();
        let all: Vec<Tensor> = all
            .map(|(_, parameter)| parameter.shallow_clone())
            .collect();
        Ok(clear_gradients(&all)?)
    }

    /// The norms of whole parameters' gradients, by the norms of what is here of each.
    pub(crate) fn norms_of_parameters(&self, own: Vec<(&str, f64)>) -> Result<Vec<f64>> {
        if self.slices.is_none() {
            return Ok(own.into_iter().map(|(_, norm)| norm).collect());
        }
        let squares: BTreeMap<&str, f64> = own
            .iter()
            .map(|(name, norm)| (*name, norm * norm))
            .collect();
        let names = self.parameters.iter().map(|(name, _)| name.as_str());
        let here: Vec<f64> = names
            .clone()
            .map(|name| squares.get(name).copied().unwrap_or(0.0))
            .collect();
        let sums = self.group.sums(&here)?;
        let whole: BTreeMap<&str, f64> = names.zip(sums).collect();
        Ok(own.iter().map(|(name, _)| whole[name].sqrt()).collect())
    }

    /// The norm of all processes' gradients together, of what each has of it.
    pub(crate) fn gradient_norm(&self, optimiser: &AdamW) -> Result<f64> {
        let own = optimiser.gradient_norm()?;
        if self.slices.is_none() {
            return Ok(own); // the same everywhere
        }
        Ok(self.group.sums(&[own * own])?[0].sqrt())
    }
}
