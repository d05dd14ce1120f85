//! What a program does when it is in memory and before any library has begun, as Linux's loader
//! allows: libtorch takes 0.2 s to begin, and OpenMP reads its settings then and never again.
//!
//! Elsewhere nothing is done there, and `main` does it all.
#![allow(
    unsafe_code,
    reason = "runs before main, with what the kernel gave the program"
)]

use std::{
    ffi::{CStr, CString, OsStr, OsString, c_char, c_int},
    fs,
    os::unix::ffi::{OsStrExt, OsStringExt},
    ptr,
};

/// A list of C strings that a null pointer ends.
#[doc(hidden)]
pub type Strings = *const *const c_char;

/// What a program was started with.
#[derive(Debug)]
pub struct Start {
    arguments: Strings,
    variables: Strings,
}

/// Has a function be called with the [`Start`], in every program that it is a part of, but not in a
/// crate's unit tests, whose arguments are the test harness's. It has one thread, no arguments in
/// `std::env`, and nothing of any other library; what it changes in memory stays.
#[macro_export]
macro_rules! at_start {
    ($act:path) => {
        #[cfg(all(target_os = "linux", target_env = "gnu", not(test)))]
        #[allow(unsafe_code, reason = "called by the loader as main is")]
        const _: () = {
            use std::ffi::c_int;

            #[used]
            #[unsafe(link_section = ".preinit_array")]
            static ACT: unsafe extern "C" fn(c_int, $crate::Strings, $crate::Strings) = act;

            unsafe extern "C" fn act(
                _: c_int,
                arguments: $crate::Strings,
                variables: $crate::Strings,
            ) {
                // SAFETY: they are those of `main`.
                $act(&unsafe { $crate::Start::new(arguments, variables) });
            }
        };
        #[cfg(not(all(target_os = "linux", target_env = "gnu", not(test))))]
        const _: fn(&$crate::Start) = $act;
    };
}

impl Start {
    /// # Safety
    ///
    /// Both are lists of C strings that outlive the program.
    #[doc(hidden)]
    pub unsafe fn new(arguments: Strings, variables: Strings) -> Self {
        Self {
            arguments,
            variables,
        }
    }

    /// The arguments, the program's name first.
    pub fn arguments(&self) -> impl Iterator<Item = OsString> {
        let strings = listed(self.arguments).map(CStr::to_bytes);
        strings.map(|text| OsStr::from_bytes(text).to_owned())
    }

    /// The variables of its environment, as `NAME=value`.
    pub fn variables(&self) -> impl Iterator<Item = &'static CStr> {
        listed(self.variables)
    }

    /// Starts the program again with one more variable; returns where that cannot be done.
    pub fn again_with(&self, variable: &CStr) {
        let program = fs::read_link("/proc/self/exe").map(|path| path.into_os_string().into_vec());
        let Some(program) = program.ok().and_then(|path| CString::new(path).ok()) else {
            return;
        };
        if !is_started_by_the_kernel() {
            return;
        }
        let variables = self.variables().map(CStr::as_ptr);
        let variables = variables.chain([variable.as_ptr(), ptr::null()]);
        let variables: Vec<*const c_char> = variables.collect();
        // SAFETY: both lists end with a null pointer. It returns only where it fails.
        unsafe { libc::execve(program.as_ptr(), self.arguments, variables.as_ptr()) };
    }

    /// Ends the program here. What was printed has to be flushed.
    pub fn end(&self, code: u8) -> ! {
        // SAFETY: ends the process.
        unsafe { libc::_exit(c_int::from(code)) }
    }

    /// As `main` does: a reader that goes away is an error of writing, and no signal.
    pub fn ignore_broken_pipes(&self) {
        // SAFETY: sets what a signal does.
        unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
    }
}

/// The strings of a list that live as long as the program.
fn listed(strings: Strings) -> impl Iterator<Item = &'static CStr> {
    (0..).map_while(move |place| {
        // SAFETY: a null pointer ends the list of C strings.
        let text = unsafe { *strings.add(place) };
        // SAFETY: as above.
        (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) })
    })
}

/// And not by a loader that was given the program as its argument, which cannot be started so.
#[cfg(target_os = "linux")]
fn is_started_by_the_kernel() -> bool {
    unsafe extern "C" {
        /// Where the program begins in memory, from the linker.
        static __ehdr_start: u8;
    }
    let begins = (&raw const __ehdr_start).addr();
    // SAFETY: a plain question: where the kernel put the program's headers.
    let headers = unsafe { libc::getauxval(libc::AT_PHDR) };
    usize::try_from(headers).is_ok_and(|at| (begins..begins + 4096).contains(&at))
}

#[cfg(not(target_os = "linux"))]
fn is_started_by_the_kernel() -> bool {
    false
}
