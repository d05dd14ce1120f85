//! What the tests share.

pub mod close;
pub mod golden;
