//! The memory of tensors, apart from their sizes and views.
#![allow(unsafe_code, reason = "the shim takes raw libtorch tensors")]

use std::ffi::c_int;

use tch::Tensor;
use torch_sys::C_tensor;

use super::onednn::check;
use crate::Result;

unsafe extern "C" {
    fn flava_exchange_memory(one: *const C_tensor, other: *const C_tensor) -> c_int;
}

/// Exchanges the memory of two tensors of one size and kind. Their views, and what a graph has saved
/// of them, are from then on of what the other held; one without memory is not to be read.
///
/// # Errors
/// If they are not of one device.
pub fn exchange_memory(one: &Tensor, other: &Tensor) -> Result<()> {
    // SAFETY: both tensors outlive the call.
    check(unsafe { flava_exchange_memory(one.as_ptr(), other.as_ptr()) })
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;

    /// What a graph has saved of a parameter is there again when its memory is, and not older than it
    /// was.
    #[test]
    fn a_graph_outlives_the_memory_of_its_parameters() {
        let random = |size: &[i64]| Tensor::randn(size, (Kind::Float, Device::Cpu));
        let (xs, numbers) = (random(&[5, 4]), random(&[12]));
        let gradient = |comes_and_goes: bool| {
            let whole = numbers.copy();
            let weight = whole.detach().view([3, 4]).set_requires_grad(true);
            let ys = xs.matmul(&weight.tr()).square().sum(None);
            if comes_and_goes {
                let hollow = Tensor::empty([12], (Kind::Float, Device::Cpu));
                exchange_memory(&hollow, &Tensor::empty([0], (Kind::Float, Device::Cpu))).unwrap();
                exchange_memory(&whole, &hollow).unwrap();
                assert!(hollow.equal(&numbers));
                exchange_memory(&whole, &hollow).unwrap();
            }
            ys.backward();
            weight.grad()
        };
        assert!(gradient(true).equal(&gradient(false)));
    }
}
