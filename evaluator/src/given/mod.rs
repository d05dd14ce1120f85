//! Features that another program computed, in files: read in place of a model's.

mod file;
mod folder;
mod header;
mod row_order;
mod task;

pub use folder::{GivenFolder, GivenSource};
pub(crate) use task::GivenTask;
