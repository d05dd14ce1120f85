//! Threads that share a machine with others' work.
//!
//! Between two parallel regions libgomp's threads spin for milliseconds before they sleep. Where
//! another program wants the same cores, they take them from it, and from each other: one busy
//! process beside a training costs it nine tenths of its speed. libgomp spins for microseconds
//! instead once it manages more threads than there are cores (`gomp_throttled_spin_count_var` in
//! its `wait.h`), which is what a pool of idle threads makes it believe. Asking for it by
//! `OMP_WAIT_POLICY` would need a second start of the program, since libgomp reads the environment
//! before `main`.
#![allow(unsafe_code, reason = "libgomp's entry is C, found by its name")]

use std::{env, ffi::c_void, sync::Once, thread};

/// `GOMP_parallel(function, data, threads, flags)`: runs the function on so many threads.
type Parallel = unsafe extern "C" fn(extern "C" fn(*mut c_void), *mut c_void, u32, u32);

/// By which people say how OpenMP's threads wait; where one is set, nothing is done here.
const ASKED_FOR: [&str; 3] = ["OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"];
/// Idle threads at most; a machine of more cores is not shared so.
const MOST: usize = 1024;

static QUIET: Once = Once::new();

/// Sets the threads of libtorch's operators and of what is decoded and tokenised beside them, and
/// makes them wait quietly.
pub fn set_threads(threads: usize) {
    tch::set_num_threads(threads.try_into().unwrap_or(i32::MAX));
    // The pool may have been made already, by whoever asked for it first.
    let _made = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build_global();
    if threads > 1 && ASKED_FOR.iter().all(|name| env::var_os(name).is_none()) {
        QUIET.call_once(wait_quietly);
    }
}

/// Keeps a pool of as many threads as there are cores, and one more, which do nothing.
fn wait_quietly() {
    // SAFETY: asks the loader for a symbol by a C string.
    let symbol = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"GOMP_parallel".as_ptr()) };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    // libgomp counts the cores that the process may run on, whatever share of them a container
    // gives. SAFETY: a plain question.
    let online = usize::try_from(unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) })
        .unwrap_or(cores)
        .max(cores);
    if symbol.is_null() || online >= MOST {
        return; // another OpenMP than GNU's
    }
    // SAFETY: GNU's OpenMP has had this entry, with these arguments, since 2014.
    let parallel = unsafe { std::mem::transmute::<*mut c_void, Parallel>(symbol) };
    let idle = move || {
        // SAFETY: the function takes whatever pointer it is given, and touches nothing.
        unsafe { parallel(nothing, std::ptr::null_mut(), online as u32 + 1, 0) };
        loop {
            thread::park(); // the pool lives as long as the thread that made it
        }
    };
    let _running = thread::Builder::new()
        .name("idle pool".into())
        .stack_size(1 << 16)
        .spawn(idle);
}

extern "C" fn nothing(_: *mut c_void) {}
