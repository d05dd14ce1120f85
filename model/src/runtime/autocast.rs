//! Mixed precision: products in a half kind, weights and norms in f32.
#![allow(unsafe_code, reason = "the shim switches libtorch's own state")]

use std::ffi::c_int;

use tch::{Device, Kind, Tensor};

use super::{
    Precision,
    half_pass::{HalfPass, kind_of, scalar_type},
    onednn::check,
};
use crate::Result;

unsafe extern "C" {
    fn flava_autocast_state(cuda: c_int, enabled: *mut c_int, dtype: *mut c_int) -> c_int;
    fn flava_autocast(
        cuda: c_int,
        enabled: c_int,
        dtype: c_int,
        was_enabled: *mut c_int,
        was_dtype: *mut c_int,
    ) -> c_int;
}

/// Autocast while it lives, of one kind of device; not one within another.
#[derive(Debug)]
pub struct Autocast {
    cuda: bool,
    /// The kind that was set before.
    before: c_int,
    /// Of what on a GPU is computed within; not where layers are computed again.
    pass: Option<HalfPass>,
}

impl Autocast {
    /// Switches it on; nothing for f32.
    pub fn new(device: Device, precision: Precision) -> Result<Option<Self>> {
        if precision == Precision::F32 {
            return Ok(None);
        }
        let mut autocast = Self::switch_on(device, precision.kind())?;
        if device.is_cuda() {
            autocast.pass = Some(HalfPass::begin(precision.kind())?);
        }
        Ok(Some(autocast))
    }

    /// `xs` as products will read it: f32 becomes the half kind where autocast is on.
    pub fn cast(xs: &Tensor) -> Result<Tensor> {
        Ok(match Self::now(xs.device())? {
            Some(kind) if xs.kind() == Kind::Float => xs.f_to_kind(kind)?,
            _ => xs.shallow_clone(),
        })
    }

    /// As it is now, for a time when it may be off.
    pub(super) fn now(device: Device) -> Result<Option<Kind>> {
        let (mut enabled, mut dtype) = (0, 0);
        // SAFETY: writes two numbers.
        check(unsafe {
            flava_autocast_state(device.is_cuda().into(), &raw mut enabled, &raw mut dtype)
        })?;
        Ok((enabled != 0).then_some(kind_of(dtype)))
    }

    pub(super) fn switch_on(device: Device, kind: Kind) -> Result<Self> {
        let (cuda, mut was_on, mut before) = (device.is_cuda(), 0, 0);
        // SAFETY: writes two numbers.
        check(unsafe {
            flava_autocast(
                cuda.into(),
                1,
                scalar_type(kind),
                &raw mut was_on,
                &raw mut before,
            )
        })?;
        Ok(Self {
            cuda,
            before,
            pass: None,
        })
    }
}

impl Drop for Autocast {
    fn drop(&mut self) {
        let mut now = (0, 0);
        // SAFETY: as above.
        let _off = unsafe {
            flava_autocast(
                self.cuda.into(),
                0,
                self.before,
                &raw mut now.0,
                &raw mut now.1,
            )
        };
    }
}
