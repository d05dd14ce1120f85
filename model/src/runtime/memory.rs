//! What is kept in memory between products and images: the C library's free buffers, oneDNN's
//! compiled kernels.
#![allow(
    unsafe_code,
    reason = "mallopt is C, and variables of the environment are shared with C"
)]

use std::{env, ffi::c_int, fs};

use tch::Device;

use super::onednn::check;

unsafe extern "C" {
    fn flava_peak_device_memory(device: c_int, bytes: *mut i64) -> c_int;
    fn flava_device_memory(device: c_int, bytes: *mut i64) -> c_int;
}

/// Kernels that oneDNN, and libtorch's layer over it, keep for shapes to come. Each takes some 1.5
/// MB and a millisecond, and batches of texts are of ever new shapes: the default of 1,024 grows to
/// gigabytes. All layers of a model share the shapes of a step.
const KERNELS: &str = "96";
const CAPACITIES: [&str; 2] = ["LRU_CACHE_CAPACITY", "ONEDNN_PRIMITIVE_CACHE_CAPACITY"];

/// For the start of `main`, before a thread or libtorch reads the environment.
///
/// Freed buffers stay with the program instead of going back to the system and coming again, page
/// by page and zeroed, with each image and each state of a batch: decoding and preprocessing take
/// 0.9 instead of 1.5 ms, and a step of training a tenth less. Kernels for shapes that are long
/// gone do not stay.
pub fn prepare_memory() {
    // SAFETY: sets two numbers of the allocator: no block is a mapping of its own, and the end of
    // the heap is never given back.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::mallopt(libc::M_MMAP_MAX, 0);
        libc::mallopt(libc::M_TRIM_THRESHOLD, -1);
    }
    for name in CAPACITIES
        .into_iter()
        .filter(|name| env::var_os(name).is_none())
    {
        // SAFETY: the program has one thread yet.
        unsafe { env::set_var(name, KERNELS) };
    }
}

/// Gives what is free back to the system, once: what was freed will not be taken again.
pub fn give_memory_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the allocator locks itself.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// The most memory that was taken so far, in MB: on a GPU by its tensors, else by this process (its
/// largest resident set). 0 where neither is known.
pub fn peak_memory(device: Device) -> f64 {
    let Device::Cuda(index) = device else {
        return peak_resident();
    };
    let mut bytes = 0;
    // SAFETY: writes a number.
    let known = check(unsafe { flava_peak_device_memory(index as c_int, &raw mut bytes) });
    known.map_or(0.0, |()| bytes as f64 / f64::from(1 << 20))
}

/// The memory of a GPU, or of this machine as far as this process may have it, in bytes; none where it
/// is not known.
pub fn device_memory(device: Device) -> Option<f64> {
    let Device::Cuda(index) = device else {
        return host_memory();
    };
    let mut bytes = 0;
    // SAFETY: writes a number.
    check(unsafe { flava_device_memory(index as c_int, &raw mut bytes) }).ok()?;
    Some(bytes as f64)
}

fn host_memory() -> Option<f64> {
    let all = fs::read_to_string("/proc/meminfo").ok()?;
    let line = all
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kilobytes: f64 = line.split_whitespace().next()?.parse().ok()?;
    // A container's, whose file says "max" where it has all.
    let limit = fs::read_to_string("/sys/fs/cgroup/memory.max").unwrap_or_default();
    let limit = limit.trim().parse().unwrap_or(f64::INFINITY);
    Some(limit.min(kilobytes * 1024.0))
}

fn peak_resident() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok())
        .map_or(0.0, |kilobytes| kilobytes / 1024.0)
}
