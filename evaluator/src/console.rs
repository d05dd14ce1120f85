//! How the programs end and what they print.

use std::{
    fmt::Display,
    io::{ErrorKind, Write},
    process::ExitCode,
};

use crate::{Error, Result};

/// Everything that was asked for was done.
pub const DONE: u8 = 0;
/// Something failed; the rest is written.
pub const PARTLY: u8 = 1;
/// Nothing could be run.
pub const NOTHING: u8 = 2;
/// Ctrl-C was pressed: what shells call it.
pub const INTERRUPTED: u8 = 130;

/// A program's end: what it says of an error, and its exit code.
pub fn ended(result: std::result::Result<u8, impl Display>) -> ExitCode {
    result
        .unwrap_or_else(|error| {
            eprintln!("error: {error}"); // each message is whole: its causes are inside
            NOTHING
        })
        .into()
}

/// Writes to stdout; a reader that went away, such as `head`, is no error.
pub fn print(text: &str) -> Result<()> {
    match writeln!(std::io::stdout(), "{text}") {
        Err(e) if e.kind() == ErrorKind::BrokenPipe => std::process::exit(DONE.into()),
        written => written.map_err(|e| Error::Other(format!("standard output: {e}"))),
    }
}
