//! Layers whose activations are not kept: the backward pass computes them again, at a third more
//! time for a fraction of the memory.
#![allow(
    unsafe_code,
    reason = "a closure of Rust becomes a node of libtorch's graph"
)]

use std::{
    ffi::{c_char, c_int, c_void},
    panic::{AssertUnwindSafe, catch_unwind},
};

use tch::{Device, Tensor};
use torch_sys::C_tensor;

use super::{
    Autocast,
    onednn::{call, check},
};
use crate::Result;

type Backward = extern "C" fn(
    *mut c_void,
    *const *mut C_tensor,
    usize,
    *mut *mut C_tensor,
    usize,
    *mut c_char,
    usize,
) -> c_int;
type Drop = extern "C" fn(*mut c_void);
type Closure = Box<dyn Fn(&Tensor) -> Result<Tensor>>;

unsafe extern "C" {
    fn flava_random_state(device: c_int, out: *mut *mut C_tensor) -> c_int;
    fn flava_set_random_state(device: c_int, state: *const C_tensor) -> c_int;
    fn flava_backward(output: *const C_tensor, gradient: *const C_tensor) -> c_int;
    fn flava_attach(
        input: *const C_tensor,
        output: *mut C_tensor,
        data: *mut c_void,
        backward: Backward,
        drop: Drop,
    ) -> c_int;
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
    let backward: Closure = Box::new(move |gradient| {
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
    });
    let data = Box::into_raw(Box::new(backward)).cast::<c_void>();
    // SAFETY: the node owns `data` from here on and gives it back to `free` once.
    check(unsafe { flava_attach(xs.as_ptr(), output.as_ptr().cast_mut(), data, run, free) })?;
    Ok(output)
}

extern "C" fn run(
    data: *mut c_void,
    gradients: *const *mut C_tensor,
    outputs: usize,
    results: *mut *mut C_tensor,
    inputs: usize,
    message: *mut c_char,
    room: usize,
) -> c_int {
    let body = || -> Result<()> {
        if outputs != 1 || inputs != 1 {
            return Ok(());
        }
        // SAFETY: `data` is the box that `recomputed` made; the lists have one entry each; a null
        // gradient is none.
        let (closure, gradient) = unsafe { (&*data.cast::<Closure>(), *gradients) };
        if gradient.is_null() {
            return Ok(());
        }
        // SAFETY: the gradient is a tensor that outlives this call; a clone of it counts as one
        // more owner.
        let result = closure(&unsafe { Tensor::clone_from_ptr(gradient) })?;
        // SAFETY: the node takes the tensor over and frees it.
        unsafe { *results = result.as_ptr().cast_mut() };
        std::mem::forget(result);
        Ok(())
    };
    // Unwinding into C++ would end the process.
    let reason = match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => return 0,
        Ok(Err(error)) => error.to_string(),
        Err(_) => "it panicked".to_owned(),
    };
    let length = reason.len().min(room.saturating_sub(1));
    // SAFETY: `message` has `room` bytes, of which the last written one is zero.
    unsafe {
        std::ptr::copy_nonoverlapping(reason.as_ptr(), message.cast::<u8>(), length);
        *message.add(length) = 0;
    }
    1
}

extern "C" fn free(data: *mut c_void) {
    // SAFETY: the box that `recomputed` made, given back once.
    drop(unsafe { Box::from_raw(data.cast::<Closure>()) });
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
