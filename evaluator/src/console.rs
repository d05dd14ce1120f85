//! How the programs end and what they print.

use std::{fmt::Display, process::ExitCode};

use flava_base::{escaped, say};

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
            say(&format!("error: {error}")); // each message is whole: its causes are inside
            NOTHING
        })
        .into()
}

/// Writes to stdout, control characters but line ends written out. A reader that went away, such as
/// `head`, ends nothing.
pub fn print(text: &str) {
    let lines: Vec<_> = text.split('\n').map(escaped).collect();
    flava_base::print(&lines.join("\n"));
}
