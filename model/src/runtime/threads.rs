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

/// Sets the threads of libtorch's operators and of what is decoded and tokenised beside them.
pub fn set_threads(threads: usize) {
    tch::set_num_threads(threads.try_into().unwrap_or(i32::MAX));
    // The pool may have been made already, by whoever asked for it first.
    let _made = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build_global();
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod at_start {
    #![allow(
        unsafe_code,
        reason = "runs before main, with what the kernel gave the program"
    )]

    use std::{
        ffi::{CStr, CString, c_char, c_int},
        fs,
        os::unix::ffi::OsStringExt,
        ptr,
    };

    /// By which people say how OpenMP's threads wait; where one is set, nothing is done here.
    const ASKED_FOR: [&[u8]; 3] = [b"OMP_WAIT_POLICY=", b"GOMP_SPINCOUNT=", b"KMP_BLOCKTIME="];
    const SPIN: &CStr = c"GOMP_SPINCOUNT=1000";

    type Strings = *const *const c_char;

    unsafe extern "C" {
        /// Where the program begins in memory, from the linker.
        static __ehdr_start: u8;
    }

    // Called by the loader before the constructors of libraries.
    #[used]
    #[unsafe(link_section = ".preinit_array")]
    static START_AGAIN: unsafe extern "C" fn(c_int, Strings, Strings) = start_again;

    /// Starts the program again with [`SPIN`]; where that cannot be done, it goes on as it is.
    ///
    /// # Safety
    ///
    /// `arguments` and `variables` are those of `main`.
    unsafe extern "C" fn start_again(_: c_int, arguments: Strings, variables: Strings) {
        let mut all = Vec::new();
        for place in 0.. {
            // SAFETY: a null pointer ends the list of C strings.
            let variable = unsafe { *variables.add(place) };
            if variable.is_null() {
                break;
            }
            // SAFETY: as above.
            let text = unsafe { CStr::from_ptr(variable) }.to_bytes();
            if ASKED_FOR.iter().any(|name| text.starts_with(name)) {
                return;
            }
            all.push(variable);
        }
        let program = fs::read_link("/proc/self/exe").map(|path| path.into_os_string().into_vec());
        let Some(program) = program.ok().and_then(|path| CString::new(path).ok()) else {
            return;
        };
        if is_started_by_the_kernel() {
            all.extend([SPIN.as_ptr(), ptr::null()]);
            // SAFETY: both lists end with a null pointer. It returns only where it fails.
            unsafe { libc::execve(program.as_ptr(), arguments, all.as_ptr()) };
        }
    }

    /// And not by a loader that was given the program as its argument, which cannot be started so.
    fn is_started_by_the_kernel() -> bool {
        let begins = (&raw const __ehdr_start).addr();
        // SAFETY: a plain question: where the kernel put the program's headers.
        let headers = unsafe { libc::getauxval(libc::AT_PHDR) };
        usize::try_from(headers).is_ok_and(|at| (begins..begins + 4096).contains(&at))
    }
}
