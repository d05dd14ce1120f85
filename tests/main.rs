//! One program of integration tests: numbers against other implementations, and the real binaries
//! from outside.
#![allow(
    clippy::too_many_lines,
    reason = "a test tells one story from its beginning to its end"
)]
#![allow(clippy::disallowed_methods, reason = "a test may panic")]

mod cli;
mod data;
mod hub;
mod journeys;
mod parity;
mod support;
