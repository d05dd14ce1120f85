//! Ctrl-C: what is under way comes to its next safe place and ends there; pressed twice it ends at
//! once.
#![allow(unsafe_code, reason = "a thread's mask of signals is C's")]

use std::sync::atomic::{AtomicBool, Ordering};

static ASKED: AtomicBool = AtomicBool::new(false);

/// Takes Ctrl-C (and the signals to terminate) over, before anything is computed. Where that cannot
/// be done the program ends at once, as without.
///
/// The signals come to the thread that waits for them alone: this thread and all that it starts
/// have them blocked, because a signal that lands in the midst of one of libtorch's products spoils
/// the heap, one time in six.
pub fn listen() {
    let set = ctrlc::set_handler(|| {
        if ASKED.swap(true, Ordering::SeqCst) {
            std::process::exit(130);
        }
        crate::say("stopping at the next safe place; press Ctrl-C again to stop at once");
    });
    if set.is_err() {
        return;
    }
    // SAFETY: a set of signals of this frame's own, made before it is read.
    unsafe {
        let mut signals = std::mem::zeroed();
        libc::sigemptyset(&raw mut signals);
        for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
            libc::sigaddset(&raw mut signals, signal);
        }
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const signals, std::ptr::null_mut());
    }
    listen_for_preemption();
}

/// Takes the signal that Slurm sends some time before it ends a job for Ctrl-C.
fn listen_for_preemption() {
    extern "C" fn ask(_signal: libc::c_int) {
        ASKED.store(true, Ordering::SeqCst);
    }
    let ask: extern "C" fn(libc::c_int) = ask;
    // SAFETY: a set of signals of this frame's own, of which the thread has a copy; the handler,
    // for threads that began before, sets a flag.
    let signals = unsafe {
        let mut signals = std::mem::zeroed();
        libc::sigemptyset(&raw mut signals);
        libc::sigaddset(&raw mut signals, libc::SIGUSR1);
        libc::signal(libc::SIGUSR1, ask as libc::sighandler_t);
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const signals, std::ptr::null_mut());
        signals
    };
    std::thread::spawn(move || {
        let mut signal = 0;
        // SAFETY: waits for a signal of the set, and writes its number.
        while unsafe { libc::sigwait(&raw const signals, &raw mut signal) } == 0 {
            ASKED.store(true, Ordering::SeqCst);
            crate::say("stopping at the next safe place, as the scheduler asks");
        }
    });
}

/// Whether Ctrl-C was pressed.
pub fn interrupted() -> bool {
    ASKED.load(Ordering::SeqCst)
}
