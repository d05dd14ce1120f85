//! Attention on CPUs that keeps a head's scores in the cache, with its backward pass.
//!
//! Where libtorch's own takes MKL's path for other makers' processors, its products are several times
//! as slow; and it has none for sequences without their padding.
#![allow(
    unsafe_code,
    reason = "the shim's operators take and give raw libtorch tensors"
)]

use std::{ffi::c_int, ptr};

use tch::Tensor;
use torch_sys::C_tensor;

use super::onednn::{call, check};
use crate::Result;

unsafe extern "C" {
    fn flava_has_attention(states: *const C_tensor, has: *mut c_int) -> c_int;
    fn flava_attention(
        q: *const C_tensor,
        k: *const C_tensor,
        v: *const C_tensor,
        starts: *const C_tensor,
        mask: *const C_tensor,
        out: *mut *mut C_tensor,
    ) -> c_int;
}

/// Attention of queries \[batch, heads, queries, `head_dim`\] to keys and values \[batch, heads,
/// keys, `head_dim`\], with an additive `mask` \[batch, 1, 1, keys\] or within the sequences of a
/// batch of one that begin at `starts` \[sequences + 1\] (int32); to \[batch, queries, heads *
/// `head_dim`\], differentiable by all three.
///
/// All its products are of f32. None where it is for other devices, kinds or processors.
pub fn cpu_attention(
    qkv: [&Tensor; 3],
    starts: Option<&Tensor>,
    mask: Option<&Tensor>,
) -> Result<Option<Tensor>> {
    if !is_for(qkv[0])? {
        return Ok(None);
    }
    let [q, k, v] = qkv.map(Tensor::as_ptr);
    let [starts, mask] = [starts, mask].map(|t| t.map_or(ptr::null(), Tensor::as_ptr));
    // SAFETY: all tensors outlive the call; the shim stores a new tensor in `out` and returns 0, or
    // neither.
    call(|out| unsafe { flava_attention(q, k, v, starts, mask, out) }).map(Some)
}

fn is_for(states: &Tensor) -> Result<bool> {
    let mut has = 0;
    // SAFETY: `states` outlives the call, and the shim writes one number.
    check(unsafe { flava_has_attention(states.as_ptr(), &raw mut has) })?;
    Ok(has != 0)
}
