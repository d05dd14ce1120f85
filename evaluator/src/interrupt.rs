//! Ctrl-C: what is under way comes to its next safe place and ends there; pressed twice it ends at once.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::{Error, Result};

static ASKED: AtomicBool = AtomicBool::new(false);

/// Takes Ctrl-C (and the signal to terminate) over. Where that cannot be done the program ends at once, as without.
pub fn listen() {
    let _set = ctrlc::set_handler(|| {
        if ASKED.swap(true, Ordering::SeqCst) {
            std::process::exit(130);
        }
        eprintln!("stopping at the next safe place; press Ctrl-C again to stop at once");
    });
}

/// Whether Ctrl-C was pressed.
pub fn interrupted() -> bool {
    ASKED.load(Ordering::SeqCst)
}

/// An error once Ctrl-C was pressed.
pub(crate) fn check() -> Result<()> {
    if interrupted() { Err(Error::Interrupted) } else { Ok(()) }
}
