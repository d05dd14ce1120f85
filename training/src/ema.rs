//! The exponential moving average of the weights, which is often better than the weights.

use std::path::Path;

use flava_model::{
    checkpoint::{load_exactly, read_tensors, write_tensors},
    runtime::copied,
};
use tch::Tensor;

use crate::{ParameterSet, Result};

/// The average, beside the weights that it follows.
#[derive(Debug)]
pub struct Ema {
    decay: f64,
    /// Average and weight, by name.
    pairs: Vec<(String, Tensor, Tensor)>,
}

impl Ema {
    /// Begins at the weights as they are.
    ///
    /// # Errors
    /// If the device has no room for another copy of the weights.
    pub fn new(sets: Vec<ParameterSet>, decay: f64) -> Result<Self> {
        let pairs = sets
            .into_iter()
            .flat_map(|set| set.parameters)
            .map(|p| Ok((p.name, copied(&p.tensor.detach())?, p.tensor)))
            .collect::<Result<_>>()?;
        Ok(Self { decay, pairs })
    }

    /// Takes a step towards the weights.
    pub fn update(&mut self) -> Result<()> {
        let _guard = tch::no_grad_guard();
        for (_, average, weight) in &mut self.pairs {
            let _moved = average.f_lerp_(weight, 1.0 - self.decay)?;
        }
        Ok(())
    }

    /// Exchanges average and weights; a second call exchanges them back.
    pub fn swap(&mut self) -> Result<()> {
        let _guard = tch::no_grad_guard();
        for (_, average, weight) in &mut self.pairs {
            let kept = copied(weight)?;
            weight.f_copy_(average)?;
            average.f_copy_(&kept)?;
        }
        Ok(())
    }

    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let named =
            |(name, average, _): &(String, Tensor, Tensor)| (name.clone(), average.shallow_clone());
        Ok(write_tensors(path, self.pairs.iter().map(named).collect())?)
    }

    pub(crate) fn read(&mut self, path: &Path) -> Result<()> {
        let averages = self
            .pairs
            .iter()
            .map(|(name, average, _)| (name.clone(), average.shallow_clone()));
        Ok(load_exactly(averages, read_tensors(path)?, path)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_average_follows_and_is_exchanged() {
        let weight = Tensor::from_slice(&[1.0f32, 2.0]);
        let set = || ParameterSet::new([("x".to_owned(), weight.shallow_clone())]);
        let mut ema = Ema::new(vec![set()], 0.75).unwrap();
        let numbers = || Vec::<f32>::try_from(&weight).unwrap();
        let _changed = weight.shallow_clone().f_add_scalar_(4.0).unwrap();
        ema.update().unwrap();
        ema.swap().unwrap();
        assert_eq!(numbers(), [2.0, 3.0]);
        ema.swap().unwrap();
        assert_eq!(numbers(), [5.0, 6.0]);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ema.safetensors");
        ema.write(&path).unwrap();
        let mut other = Ema::new(vec![set()], 0.75).unwrap();
        other.read(&path).unwrap();
        other.swap().unwrap();
        assert_eq!(numbers(), [2.0, 3.0]);
    }
}
