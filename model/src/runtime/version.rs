//! Which libtorch and CUDA run the model.
#![allow(unsafe_code, reason = "the shim's functions are foreign")]

use std::ffi::{CStr, c_char};

unsafe extern "C" {
    fn flava_torch_version() -> *const c_char;
    fn flava_cuda_version() -> i64;
}

/// The libtorch that the program was compiled against, such as "2.11.0".
pub fn torch_version() -> &'static str {
    // SAFETY: a string literal of the shim.
    let version = unsafe { CStr::from_ptr(flava_torch_version()) };
    version.to_str().unwrap_or("unknown")
}

/// The CUDA runtime, such as "12.8"; None where libtorch has none or this machine no driver.
pub fn cuda_version() -> Option<String> {
    // SAFETY: asks libtorch; catches what it throws.
    match unsafe { flava_cuda_version() } {
        0 => None,
        version => Some(format!("{}.{}", version / 1000, version % 1000 / 10)),
    }
}
