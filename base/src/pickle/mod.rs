//! Python pickles, read without running them.
//!
//! [`load`] follows the opcodes that plain values, numpy arrays and PyTorch's tensors are written
//! with and gives what they describe: values in an arena that refer to each other by number.
//! Classes and functions are names, a call is an [`Object`] that remembers its function and
//! arguments; nothing is imported or called. What the objects mean is the reader's matter:
//! `model/src/checkpoint/pickle` makes tensors of them, `tasks/src/sources/archive/cifar.rs`
//! arrays of bytes.
//!
//! Every count is bounded, texts are borrowed from the file, and sharing costs a number, so
//! neither nesting nor repetition can exhaust the stack or memory. Values may contain themselves:
//! whoever walks through them bounds the depth and the visits.

mod input;
mod machine;
mod value;

pub use machine::load;
pub use value::{Id, Object, Pickle, Value};
