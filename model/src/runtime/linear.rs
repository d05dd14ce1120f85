//! Linear layers with gradients, in the way that is fast for the device and the kind of number.

use tch::{Kind, Tensor};

use super::{
    Autocast, half,
    onednn::{differentiable_linear, is_for},
};
use crate::Result;

/// `xs` \[.., in\] times `weight` (out, in) transposed, plus `bias` (out): \[.., out\],
/// differentiable.
pub fn linear(xs: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    if is_for(xs) && is_for(weight) {
        return differentiable_linear(xs, weight, bias);
    }
    let bias = bias.map(|bias| vec![bias]);
    match halves_for(xs)? {
        Some(kind) => half::linear(xs, &[weight], bias.as_deref(), kind),
        None => Ok(xs.f_linear(weight, bias.as_ref().map(|bias| bias[0]))?),
    }
}

/// Three layers of the same input by one product, side by side: \[.., outs\]. None where that is
/// no faster than one after the other.
pub fn joined_linear(
    xs: &Tensor,
    weights: [&Tensor; 3],
    biases: Option<&[&Tensor]>,
) -> Result<Option<Tensor>> {
    let halves = halves_for(xs)?;
    halves
        .map(|kind| half::linear(xs, &weights, biases, kind))
        .transpose()
}

/// The kind that products are of where mixed precision is on, on a GPU.
fn halves_for(xs: &Tensor) -> Result<Option<Kind>> {
    if !xs.device().is_cuda() {
        return Ok(None);
    }
    Autocast::now(xs.device())
}
