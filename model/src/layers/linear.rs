//! A linear layer with the two ways it is run: differentiable, and packed for inference.

use tch::Tensor;

use super::{Activation, Lora};
use crate::{
    Result,
    runtime::{self, Fused, PackedLinear, Vars, trace},
};

/// xs weight^T + bias.
#[derive(Debug)]
pub struct Linear {
    pub(super) weight: Tensor,
    pub(super) bias: Option<Tensor>,
    packed: Option<PackedLinear>,
    lora: Option<Lora>,
}

impl Linear {
    /// A layer from `input` to `output` features.
    pub fn new(vars: &Vars, input: i64, output: i64) -> Self {
        Self::with_bias(vars, input, output, true)
    }

    /// A layer with or without a bias.
    pub fn with_bias(vars: &Vars, input: i64, output: i64, bias: bool) -> Self {
        let weight = vars.weight("weight", &[output, input]);
        let bias = bias.then(|| vars.zeros("bias", &[output]));
        Self {
            weight,
            bias,
            packed: None,
            lora: None,
        }
    }

    /// Features that it takes, and that it gives.
    pub fn sizes(&self) -> Result<(i64, i64)> {
        let (output, input) = self.weight.size2()?;
        Ok((input, output))
    }

    /// Adds something to what it gives, until it is packed.
    pub fn set_lora(&mut self, lora: Lora) {
        self.lora = Some(lora);
    }

    /// Makes what is added a part of the weight.
    ///
    /// # Errors
    /// If it does not fit.
    pub fn merge_lora(&mut self) -> Result<()> {
        if let Some(lora) = self.lora.take() {
            let _guard = tch::no_grad_guard();
            let mut weight = self.weight.detach();
            let _sum = weight.f_add_(&lora.weight()?)?;
        }
        Ok(())
    }

    /// Prepares for inference; from then on the layer keeps the weights it has now and gives no
    /// gradient.
    pub fn pack(&mut self) {
        self.packed = PackedLinear::new(&self.weight, self.bias.as_ref());
    }

    /// \[.., input\] to \[.., output\].
    pub fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        if let Some(packed) = &self.packed {
            return packed.forward(xs, Fused::Nothing);
        }
        let ys = runtime::linear(xs, &self.weight, self.bias.as_ref())?;
        match &self.lora {
            Some(lora) => Ok(ys.f_add(&lora.forward(xs)?)?),
            None => Ok(ys),
        }
    }

    /// Three layers of the same input, side by side, where one product is faster.
    pub(super) fn joined(layers: [&Self; 3], xs: &Tensor) -> Result<Option<Tensor>> {
        if layers.iter().any(|layer| layer.lora.is_some()) {
            return Ok(None);
        }
        let biases: Option<Vec<&Tensor>> = layers.iter().map(|layer| layer.bias.as_ref()).collect();
        runtime::joined_linear(xs, layers.map(|layer| &layer.weight), biases.as_deref())
    }

    /// The layer and an activation after it.
    pub fn forward_activated(&self, xs: &Tensor, activation: Activation) -> Result<Tensor> {
        match &self.packed {
            Some(packed) if activation == Activation::Gelu => packed.forward(xs, Fused::Gelu),
            _ => activation.forward(&self.forward(xs)?),
        }
    }

    /// The layer and a residual sum after it, if the two can be one operation here.
    pub(super) fn forward_added(&self, xs: &Tensor, residual: &Tensor) -> Option<Result<Tensor>> {
        let packed = self.packed.as_ref().filter(|_| !trace::is_recording())?;
        Some(packed.forward(xs, Fused::Add(residual)))
    }
}
