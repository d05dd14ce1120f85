//! What is kept in memory between products and images: the C library's free buffers, oneDNN's
//! compiled kernels.
#![allow(
    unsafe_code,
    reason = "mallopt is C, and variables of the environment are shared with C"
)]

use std::env;

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
