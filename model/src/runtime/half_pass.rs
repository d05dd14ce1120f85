//! The halves of f32 weights on GPUs, which are made once for a forward pass.
#![allow(unsafe_code, reason = "the shim keeps them")]

use std::ffi::c_int;

use tch::Kind;

use super::onednn::check;
use crate::Result;

unsafe extern "C" {
    fn flava_begin_halves(kind: c_int) -> c_int;
    fn flava_end_halves();
}

// `c10::ScalarType`'s numbers.
const HALF: c_int = 5;
const BFLOAT16: c_int = 15;

/// The number of a half kind in the shim.
pub(super) fn scalar_type(kind: Kind) -> c_int {
    if kind == Kind::Half { HALF } else { BFLOAT16 }
}

/// The half kind of a number.
pub(super) fn kind_of(scalar_type: c_int) -> Kind {
    if scalar_type == HALF {
        Kind::Half
    } else {
        Kind::BFloat16
    }
}

/// While it lives, the halves of a thread's weights are kept: they do not change.
#[derive(Debug)]
pub(super) struct HalfPass(());

impl HalfPass {
    /// Makes the halves of all weights that earlier passes have used.
    pub(super) fn begin(kind: Kind) -> Result<Self> {
        // SAFETY: takes a number.
        check(unsafe { flava_begin_halves(scalar_type(kind)) })?;
        Ok(Self(()))
    }
}

impl Drop for HalfPass {
    fn drop(&mut self) {
        // SAFETY: takes nothing.
        unsafe { flava_end_halves() }
    }
}
