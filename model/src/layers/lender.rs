//! Blocks whose weights are there only while they compute.

use std::fmt;

use crate::Result;

/// Has the weights of blocks while these do not compute. They are lent twice: for the forward pass,
/// and for the backward pass.
pub trait WeightLender: fmt::Debug {
    /// Whether a variable has its numbers only while a block computes: whoever owns them saves them.
    fn is_lent(&self, variable: &str) -> bool;

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

    /// Takes them back after a backward pass of the block, with the gradients that it added: none,
    /// where the graph has another pass of the block, whose gradients come together.
    ///
    /// # Errors
    /// If they were not lent, or the gradients cannot be taken.
    fn take_gradients(&self, block: &str) -> Result<()>;
}
