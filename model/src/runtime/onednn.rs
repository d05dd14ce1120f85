//! Linear layers of oneDNN on CPUs, with their gradients; and, for inference, over a weight that is
//! reordered once, with bias, GELU or residual fused.
//!
//! Where libtorch's own operators take MKL's path for other makers' processors, these are 1.7 to
//! 2.3 times as fast.
#![allow(
    unsafe_code,
    reason = "the shim's operators take and give raw libtorch tensors"
)]

use std::{
    ffi::{CStr, c_char, c_int},
    ptr,
};

use tch::{Kind, Tensor};
use torch_sys::C_tensor;

use crate::Result;

unsafe extern "C" {
    fn flava_last_error() -> *const c_char;
    fn flava_pack_linear(weight: *const C_tensor, rows: i64, out: *mut *mut C_tensor) -> c_int;
    fn flava_linear(
        x: *const C_tensor,
        weight: *const C_tensor,
        bias: *const C_tensor,
        out: *mut *mut C_tensor,
    ) -> c_int;
    fn flava_packed_linear(
        x: *const C_tensor,
        weight: *const C_tensor,
        bias: *const C_tensor,
        activation: *const c_char,
        out: *mut *mut C_tensor,
    ) -> c_int;
    fn flava_packed_linear_add(
        x: *const C_tensor,
        other: *const C_tensor,
        weight: *const C_tensor,
        bias: *const C_tensor,
        out: *mut *mut C_tensor,
    ) -> c_int;
}

/// A linear layer on the CPU; where all is f32, all three products are oneDNN's.
pub(super) fn differentiable_linear(
    xs: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
) -> Result<Tensor> {
    let bias = bias.map_or(ptr::null(), tch::Tensor::as_ptr);
    // SAFETY: all tensors outlive the call; the shim stores a new tensor in `out` and returns 0, or
    // neither.
    call(|out| unsafe { flava_linear(xs.as_ptr(), weight.as_ptr(), bias, out) })
}

/// Input rows that a packed layout is chosen for; it serves any other number too.
const TYPICAL_ROWS: i64 = 4096;

/// What is fused after the product.
#[derive(Clone, Copy, Debug)]
pub enum Fused<'a> {
    /// Nothing but the bias.
    Nothing,
    /// The exact (erf) GELU.
    Gelu,
    /// The sum with a tensor of the output's shape.
    Add(&'a Tensor),
}

/// A linear layer that is ready for inference only: its weight gets no gradient.
#[derive(Debug)]
pub struct PackedLinear {
    weight: Tensor,
    bias: Option<Tensor>,
    /// Whether the weight is in oneDNN's layout; on a GPU it is as it was.
    is_reordered: bool,
}

impl PackedLinear {
    /// Packs `weight` (out, in) and `bias` (out); None where oneDNN has no kernel for the device or
    /// kind.
    pub fn new(weight: &Tensor, bias: Option<&Tensor>) -> Option<Self> {
        let bias = bias.map(Tensor::detach);
        if weight.device().is_cuda() {
            return Some(Self {
                weight: weight.detach(),
                bias,
                is_reordered: false,
            });
        }
        let kinds = [Kind::Float, Kind::BFloat16];
        if weight.device() != tch::Device::Cpu || !kinds.contains(&weight.kind()) {
            return None;
        }
        let packed = call(|out| {
            // SAFETY: `weight` outlives the call; the shim stores a new tensor in `out` and returns
            // 0, or neither.
            unsafe { flava_pack_linear(weight.as_ptr(), TYPICAL_ROWS, out) }
        });
        let packed = Self {
            weight: packed.ok()?,
            bias,
            is_reordered: true,
        };
        // Some processors pack bf16 and then refuse to multiply it.
        let (_, width) = weight.size2().ok()?;
        let probe = Tensor::f_zeros([1, width], (weight.kind(), weight.device())).ok()?;
        packed
            .forward(&probe, Fused::Nothing)
            .is_ok()
            .then_some(packed)
    }

    /// `xs` \[.., in\] to \[.., out\].
    pub fn forward(&self, xs: &Tensor, fused: Fused) -> Result<Tensor> {
        if !self.is_reordered {
            let mut ys = xs.f_linear(&self.weight, self.bias.as_ref())?;
            return Ok(match fused {
                Fused::Nothing => ys,
                Fused::Gelu => ys.f_gelu_("none")?,
                Fused::Add(other) => ys.f_add_(other)?,
            });
        }
        let bias = self.bias.as_ref().map_or(ptr::null(), tch::Tensor::as_ptr);
        let weight = self.weight.as_ptr();
        call(|out| {
            // SAFETY: all tensors outlive the call, the names are C strings, `out` as in `new`.
            unsafe {
                match fused {
                    Fused::Nothing => {
                        flava_packed_linear(xs.as_ptr(), weight, bias, c"none".as_ptr(), out)
                    }
                    Fused::Gelu => {
                        flava_packed_linear(xs.as_ptr(), weight, bias, c"gelu".as_ptr(), out)
                    }
                    Fused::Add(other) => {
                        flava_packed_linear_add(xs.as_ptr(), other.as_ptr(), weight, bias, out)
                    }
                }
            }
        })
    }
}

pub(super) fn call(f: impl FnOnce(*mut *mut C_tensor) -> c_int) -> Result<Tensor> {
    let mut out = ptr::null_mut();
    check(f(&raw mut out))?;
    // SAFETY: the shim succeeded, so `out` owns a new tensor, which tch now frees.
    Ok(unsafe { Tensor::from_ptr(out) })
}

/// The shim's last error, if it returned one.
pub(super) fn check(code: c_int) -> Result<()> {
    if code == 0 {
        return Ok(());
    }
    // SAFETY: the message is a C string that lives until the next failing call on this thread.
    let message = unsafe { CStr::from_ptr(flava_last_error()) };
    let message = message.to_string_lossy().into_owned();
    Err(tch::TchError::Torch(message).into())
}
