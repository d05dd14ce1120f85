//! Rows of sequences out of a padded batch and back, and attention within each of them.
#![allow(
    unsafe_code,
    reason = "the shim's operators take and give raw libtorch tensors"
)]

use std::ffi::c_int;

use tch::Tensor;
use torch_sys::C_tensor;

use super::onednn::call;
use crate::Result;

unsafe extern "C" {
    fn flava_take_rows(
        all: *const C_tensor,
        places: *const C_tensor,
        some: *mut *mut C_tensor,
    ) -> c_int;
    fn flava_place_rows(
        some: *const C_tensor,
        places: *const C_tensor,
        rows: i64,
        all: *mut *mut C_tensor,
    ) -> c_int;
    fn flava_attention_within(
        q: *const C_tensor,
        k: *const C_tensor,
        v: *const C_tensor,
        starts: *const C_tensor,
        longest: i64,
        dropout: f64,
        out: *mut *mut C_tensor,
    ) -> c_int;
}

/// The rows of `all` \[rows, size\] at `places`, none of which comes twice; differentiable.
pub fn take_rows(all: &Tensor, places: &Tensor) -> Result<Tensor> {
    // SAFETY: both tensors outlive the call; the shim stores a new tensor in `out` and returns 0,
    // or neither.
    call(|out| unsafe { flava_take_rows(all.as_ptr(), places.as_ptr(), out) })
}

/// \[rows, size\] of zeros but for `some` at `places`, none of which comes twice; differentiable.
pub fn place_rows(some: &Tensor, places: &Tensor, rows: i64) -> Result<Tensor> {
    // SAFETY: as above.
    call(|out| unsafe { flava_place_rows(some.as_ptr(), places.as_ptr(), rows, out) })
}

/// Attention on a GPU of queries, keys and values \[tokens, heads, `head_dim`\] within sequences
/// that begin at `starts` \[sequences + 1\] (int32), the longest of `longest` tokens; to the same
/// shape, differentiable.
pub fn attention_within(
    qkv: [&Tensor; 3],
    starts: &Tensor,
    longest: i64,
    dropout: f64,
) -> Result<Tensor> {
    let [q, k, v] = qkv.map(Tensor::as_ptr);
    // SAFETY: as above.
    call(|out| unsafe { flava_attention_within(q, k, v, starts.as_ptr(), longest, dropout, out) })
}
