//! The command line from outside: what it prints, how it ends, what it refuses.

mod bad_input;
mod board;
mod commands;
mod docs;
mod pretrain;
mod snapshots;
