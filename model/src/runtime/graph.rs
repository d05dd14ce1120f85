//! Closures of Rust as nodes of libtorch's graph.
#![allow(
    unsafe_code,
    reason = "a closure of Rust becomes a node of libtorch's graph"
)]

use std::{
    ffi::{c_char, c_int, c_void},
    panic::{AssertUnwindSafe, catch_unwind},
};

use tch::Tensor;
use torch_sys::C_tensor;

use super::onednn::check;
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
    fn flava_attach(
        input: *const C_tensor,
        output: *mut C_tensor,
        data: *mut c_void,
        backward: Backward,
        drop: Drop,
    ) -> c_int;
}

/// Makes `output`, computed without a graph, what a node over `input` gives: `backward` makes the
/// gradient by the input of that by the output. It is dropped with the graph.
pub(super) fn attach(
    input: &Tensor,
    output: &Tensor,
    backward: impl Fn(&Tensor) -> Result<Tensor> + 'static,
) -> Result<()> {
    let closure: Closure = Box::new(backward);
    let data = Box::into_raw(Box::new(closure)).cast::<c_void>();
    // SAFETY: the node owns `data` from here on and gives it back to `free` once.
    check(unsafe { flava_attach(input.as_ptr(), output.as_ptr().cast_mut(), data, run, free) })
}

/// `xs` itself; when a backward pass comes to it, `act` is called first. What was computed of it has
/// then added all its gradients to the parameters', and what it was computed of none yet.
///
/// `xs` must be part of a graph.
pub fn on_backward(xs: &Tensor, act: impl Fn() -> Result<()> + 'static) -> Result<Tensor> {
    let same = xs.f_detach()?;
    attach(xs, &same, move |gradient| {
        act()?;
        Ok(gradient.shallow_clone())
    })?;
    Ok(same)
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
        // SAFETY: `data` is the box that `attach` made; the lists have one entry each; a null
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
    // SAFETY: the box that `attach` made, given back once.
    drop(unsafe { Box::from_raw(data.cast::<Closure>()) });
}
