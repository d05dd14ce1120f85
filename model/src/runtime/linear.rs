//! Linear layers with gradients, in the way that is fast for the device and the kind of number.

use tch::{Device, Kind, Tensor};

use super::{Autocast, half, onednn::differentiable_linear};
use crate::Result;

/// `xs` \[.., in\] times `weight` (out, in) transposed, plus `bias` (out): \[.., out\],
/// differentiable.
pub fn linear(xs: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    if xs.device() == Device::Cpu {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A row is the same by itself as among others, and so are its gradients.
    #[test]
    fn rows_do_not_depend_on_how_many_there_are() {
        for (input, output) in [(16, 24), (64, 16), (8, 32), (40, 3)] {
            let normal = |sizes: &[i64]| Tensor::randn(sizes, (Kind::Float, Device::Cpu));
            let xs = normal(&[20, input]).set_requires_grad(true);
            let (weight, bias) = (normal(&[output, input]), normal(&[output]));
            let ys = linear(&xs, &weight, Some(&bias)).unwrap();
            let gradient =
                |ys: &Tensor| Tensor::run_backward(&[ys.square().sum(None)], &[&xs], false, false);
            for rows in [1, 3, 8, 15, 16] {
                let part = xs.narrow(0, 4, rows);
                let alone = linear(&part.view([1, rows, input]), &weight, Some(&bias)).unwrap();
                assert_eq!(alone.size(), [1, rows, output]);
                assert!(
                    alone.view([rows, output]).equal(&ys.narrow(0, 4, rows)),
                    "{rows} of {input}"
                );
            }
            let whole = &gradient(&linear(&xs, &weight, Some(&bias)).unwrap())[0];
            let alone = linear(&xs.narrow(0, 4, 2), &weight, Some(&bias)).unwrap();
            assert!(
                gradient(&alone)[0]
                    .narrow(0, 4, 2)
                    .equal(&whole.narrow(0, 4, 2))
            );
        }
        let none = linear(
            &Tensor::zeros([0, 16], (Kind::Float, Device::Cpu)),
            &Tensor::zeros([16, 16], (Kind::Float, Device::Cpu)),
            None,
        );
        assert_eq!(none.unwrap().size(), [0, 16]);
    }
}
