//! Layers whose activations are not kept: the backward pass computes them again, at a third more
//! time for a fraction of the memory.
#![allow(unsafe_code, reason = "the shim knows the random numbers' states")]

use std::ffi::c_int;

use tch::{Device, Tensor};
use torch_sys::C_tensor;

use super::{
    Autocast,
    graph::attach,
    onednn::{call, check},
};
use crate::Result;

unsafe extern "C" {
    fn flava_random_state(device: c_int, out: *mut *mut C_tensor) -> c_int;
    fn flava_set_random_state(device: c_int, state: *const C_tensor) -> c_int;
    fn flava_backward(output: *const C_tensor, gradient: *const C_tensor) -> c_int;
}

/// `layer(xs)`, without keeping what it computes on the way. Dropout draws the same numbers again;
/// the gradients of the layer's parameters are added to theirs, and then `done` is called. `xs` must
/// be part of the graph.
pub fn recomputed(
    xs: &Tensor,
    layer: impl Fn(&Tensor) -> Result<Tensor> + 'static,
    done: impl Fn() -> Result<()> + 'static,
) -> Result<Tensor> {
    let device = match xs.device() {
        Device::Cuda(index) => index as c_int,
        _ => -1,
    };
    let random = state(device)?;
    let (position, autocast) = (xs.device(), Autocast::now(xs.device())?);
    let output = tch::no_grad(|| layer(xs))?;
    let input = xs.detach();
    attach(xs, &output, move |gradient| {
        let now = state(device)?;
        set_state(device, &random)?;
        let xs = input.detach().set_requires_grad(true);
        let ys = {
            let _autocast = autocast
                .map(|kind| Autocast::switch_on(position, kind))
                .transpose()?;
            tch::with_grad(|| layer(&xs))
        };
        set_state(device, &now)?;
        // SAFETY: both tensors outlive the call.
        check(unsafe { flava_backward(ys?.as_ptr(), gradient.as_ptr()) })?;
        done()?;
        Ok(xs.grad())
    })?;
    Ok(output)
}

fn state(device: c_int) -> Result<Tensor> {
    // SAFETY: the shim stores a new tensor or none.
    call(|out| unsafe { flava_random_state(device, out) })
}

fn set_state(device: c_int, state: &Tensor) -> Result<()> {
    // SAFETY: the tensor outlives the call.
    check(unsafe { flava_set_random_state(device, state.as_ptr()) })
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, PoisonError};

    use tch::Kind;

    use super::*;

    /// Both tests set the state of the generator, of which a process has one.
    static ALONE: Mutex<()> = Mutex::new(());

    /// The second run is in the precision of the first, also where the backward pass begins outside
    /// it.
    #[test]
    fn layers_are_recomputed_in_their_own_precision() {
        use crate::runtime::Precision;
        let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let weight = Tensor::randn([64, 64], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        let xs = Tensor::randn([8, 64], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        let gradient = |again: bool| {
            let inner = weight.shallow_clone();
            let layer = move |xs: &Tensor| Ok(xs.f_matmul(&inner)?.f_relu()?);
            let loss = {
                let _autocast = Autocast::new(Device::Cpu, Precision::Bf16).unwrap();
                let hidden = &xs * 1.0;
                let ys = if again {
                    recomputed(&hidden, layer, || Ok(())).unwrap()
                } else {
                    layer(&hidden).unwrap()
                };
                assert_eq!(ys.kind(), Kind::BFloat16);
                ys.to_kind(Kind::Float).square().sum(Kind::Float)
            };
            weight.shallow_clone().zero_grad();
            loss.backward();
            weight.grad().copy()
        };
        assert!(gradient(false) == gradient(true), "bit for bit");
    }

    #[test]
    fn gradients_are_those_of_a_kept_layer_with_dropout() {
        let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let weight = Tensor::randn([6, 6], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        let xs = Tensor::randn([4, 6], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        let layer = |weight: Tensor| {
            move |xs: &Tensor| Ok(xs.f_matmul(&weight)?.f_dropout(0.5, true)?.f_gelu("none")?)
        };
        let gradients = |kept: bool| {
            tch::manual_seed(3);
            let layer = layer(weight.shallow_clone());
            let hidden = &xs * 2.0;
            let ys = if kept {
                layer(&hidden).unwrap()
            } else {
                recomputed(&hidden, layer, || Ok(())).unwrap()
            };
            let loss = ys.square().sum(Kind::Float);
            let (mut w, mut x) = (weight.shallow_clone(), xs.shallow_clone());
            w.zero_grad();
            x.zero_grad();
            loss.backward();
            (
                loss.double_value(&[]),
                weight.grad().copy(),
                xs.grad().copy(),
            )
        };
        let (kept, again) = (gradients(true), gradients(false));
        assert_eq!(kept.0, again.0);
        assert!(kept.1 == again.1 && kept.2 == again.2, "bit for bit");
    }
}
