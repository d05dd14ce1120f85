//! Blocks whose weights are there only while they compute.

use std::fmt;

use crate::Result;

/// Has the weights of blocks while these do not compute. Forward passes of blocks that are lent
/// theirs are computed again in the backward pass, for which they are lent them once more.
pub trait WeightLender: fmt::Debug {
    /// Brings the weights of the block of a name.
    ///
    /// # Errors
    /// If they cannot be brought.
    fn lend(&self, block: &str) -> Result<()>;

    /// Takes them back.
    ///
    /// # Errors
    /// If they were not lent.
    fn take_back(&self, block: &str) -> Result<()>;

    /// Takes them back after the block's backward pass, with the gradients that it added.
    ///
    /// # Errors
    /// If they were not lent, or the gradients cannot be taken.
    fn take_gradients(&self, block: &str) -> Result<()>;
}
