//! The halves of f32 weights on GPUs, which are made once for a forward pass.
#![allow(unsafe_code, reason = "the shim keeps them")]

use std::ffi::c_int;

use super::onednn::check;
use crate::Result;

/// One of `c10::ScalarType`'s numbers: [`HALF`] or [`BFLOAT16`].
pub(super) type HalfKind = c_int;
pub(super) const HALF: HalfKind = 5;
pub(super) const BFLOAT16: HalfKind = 15;

unsafe extern "C" {
    fn flava_begin_halves(kind: c_int) -> c_int;
    fn flava_end_halves();
}

/// While it lives, the halves of a thread's weights are kept: they do not change.
#[derive(Debug)]
pub(super) struct HalfPass(());

impl HalfPass {
    /// Makes the halves of all weights that earlier passes have used.
    pub(super) fn begin(kind: HalfKind) -> Result<Self> {
        // SAFETY: takes a number.
        check(unsafe { flava_begin_halves(kind) })?;
        Ok(Self(()))
    }
}

impl Drop for HalfPass {
    fn drop(&mut self) {
        // SAFETY: takes nothing.
        unsafe { flava_end_halves() }
    }
}
