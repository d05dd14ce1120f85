//! How the programs end and what they print.

use std::io::{ErrorKind, Write};

use crate::{Error, Result};

/// Everything that was asked for was done.
pub const DONE: u8 = 0;
/// Something failed; the rest is written.
pub const PARTLY: u8 = 1;
/// Nothing could be run.
pub const NOTHING: u8 = 2;
/// Ctrl-C was pressed: what shells call it.
pub const INTERRUPTED: u8 = 130;

/// Writes to stdout; a reader that went away, such as `head`, is no error.
pub fn print(text: &str) -> Result<()> {
    match writeln!(std::io::stdout(), "{text}") {
        Err(e) if e.kind() == ErrorKind::BrokenPipe => std::process::exit(DONE.into()),
        written => written.map_err(|e| Error::Other(format!("standard output: {e}"))),
    }
}
