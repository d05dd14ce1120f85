//! Threads that share a machine with others' work.
//!
//! Between two parallel regions libgomp's threads spin before they sleep, by its default for
//! milliseconds. Where another program wants the same cores, they take them from it, and from each
//! other: one busy process beside a training costs it nine tenths of its speed. Threads that sleep at
//! once have to be woken for every small operation, which on a virtual machine takes longer than the
//! operation. Some ten microseconds of spinning cost little of either.
//!
//! libgomp reads `GOMP_SPINCOUNT` when it is loaded, and nothing tells it later. So a program starts
//! itself again with it, as soon as it is in memory and before any library has begun; that takes
//! milliseconds.

use std::ffi::CStr;

use flava_base::{Start, at_start};

/// Sets the threads of libtorch's operators and of what is decoded and tokenised beside them.
pub fn set_threads(threads: usize) {
    tch::set_num_threads(threads.try_into().unwrap_or(i32::MAX));
    // The pool may have been made already, by whoever asked for it first.
    let _made = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build_global();
}

/// By which people say how OpenMP's threads wait; where one is set, nothing is done here.
const ASKED_FOR: [&[u8]; 3] = [b"OMP_WAIT_POLICY=", b"GOMP_SPINCOUNT=", b"KMP_BLOCKTIME="];
const SPIN: &CStr = c"GOMP_SPINCOUNT=1000";

at_start!(spin_for_microseconds);

fn spin_for_microseconds(start: &Start) {
    let is_asked_for = |variable: &CStr| {
        let names = ASKED_FOR.iter();
        names
            .copied()
            .any(|name| variable.to_bytes().starts_with(name))
    };
    if !start.variables().any(is_asked_for) {
        start.again_with(SPIN);
    }
}
