//! What is done as soon as a parameter has a gradient.
#![allow(unsafe_code, reason = "a closure of Rust is called by libtorch")]

use std::{
    ffi::{c_int, c_void},
    panic::{AssertUnwindSafe, catch_unwind},
};

use tch::Tensor;
use torch_sys::C_tensor;

use super::onednn::check;
use crate::Result;

type Closure = Box<dyn Fn()>;

unsafe extern "C" {
    fn flava_on_gradient(
        parameter: *const C_tensor,
        data: *mut c_void,
        call: extern "C" fn(*mut c_void),
        drop: extern "C" fn(*mut c_void),
    ) -> c_int;
    fn flava_backward_in_this_thread();
}

/// Has `act` be done whenever a backward pass has added to the gradient of a parameter: once in each
/// pass that reaches it, and once for each of its layers that is [computed again](super::recomputed).
/// It takes the place of what was to be done before, and goes with the parameter. Backward passes that
/// this thread begins run in it alone from now on.
///
/// # Errors
/// If libtorch refuses.
pub fn on_gradient(parameter: &Tensor, act: impl Fn() + 'static) -> Result<()> {
    // SAFETY: it changes a setting of this thread.
    unsafe { flava_backward_in_this_thread() };
    let data = Box::into_raw(Box::new(Box::new(act) as Closure)).cast::<c_void>();
    // SAFETY: the hook owns `data` from here on and gives it back to `free` once.
    check(unsafe { flava_on_gradient(parameter.as_ptr(), data, call, free) })
}

extern "C" fn call(data: *mut c_void) {
    // SAFETY: `data` is the box that `on_gradient` made.
    let act = unsafe { &*data.cast::<Closure>() };
    // Unwinding into C++ would end the process; what was not done is done at the end.
    let _panicked = catch_unwind(AssertUnwindSafe(act));
}

extern "C" fn free(data: *mut c_void) {
    // SAFETY: the box that `on_gradient` made, given back once.
    drop(unsafe { Box::from_raw(data.cast::<Closure>()) });
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, rc::Rc};

    use tch::{Device, Kind};

    use super::*;
    use crate::runtime::recomputed;

    #[test]
    fn it_is_done_once_a_pass_and_once_a_layer_that_is_computed_again() {
        let weight = Tensor::ones([2], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        let xs = Tensor::ones([2], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        let calls = Rc::new(Cell::new(0));
        let counted = Rc::clone(&calls);
        on_gradient(&weight, move || counted.set(counted.get() + 1)).unwrap();
        let twice = &weight * &xs + &weight * 2.0;
        twice.sum(Kind::Float).backward();
        assert_eq!(calls.get(), 1, "all of a pass is added at once");
        let layer = |weight: Tensor| move |xs: &Tensor| Ok(xs.f_mul(&weight)?);
        let once = recomputed(&xs, layer(weight.shallow_clone()), || Ok(())).unwrap();
        let again = recomputed(&once, layer(weight.shallow_clone()), || Ok(())).unwrap();
        again.sum(Kind::Float).backward();
        assert_eq!(calls.get(), 3);
        on_gradient(&weight, || ()).unwrap();
        (&weight * 1.0).sum(Kind::Float).backward();
        assert_eq!((calls.get(), Rc::strong_count(&calls)), (3, 1));
    }
}
