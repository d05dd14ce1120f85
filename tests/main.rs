//! One program of integration tests: numbers against other implementations, and the real binaries
//! from outside.

mod cli;
mod data;
mod hub;
mod journeys;
mod parity;
mod support;
