//! Data: every source in its public layout, what is wrong with it, and what `verify` says.

mod arrow;
mod bad_data;
mod corpora;
mod formats;
mod identity;
mod joins;
mod sources;
mod tables;
mod traps;
mod verify;
