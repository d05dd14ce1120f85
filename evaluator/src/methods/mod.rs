//! How tasks are run. Each method reads a task's rows and gives predictions, and what it chose on
//! the way.

mod few_shot;
mod fine_tune;
mod hold_out;
mod knn;
mod linear_probe;
mod method;
mod ranking;
mod rerank;
mod retrieval;
mod zero_shot;

pub(crate) use linear_probe::FITS;
pub(crate) use method::{MethodInput, MethodOutput, Splits};
pub use ranking::ranks;

use flava_tasks::Method;

use crate::Result;

/// Does what process 0 cannot do alone of a task that it measures.
pub(crate) fn help_method(input: &MethodInput) -> Result<()> {
    match &input.assignment.method {
        Method::FineTune { .. } => fine_tune::train_along(input),
        _ => Ok(()),
    }
}

/// Runs a task's method.
pub(crate) fn run_method(input: &MethodInput) -> Result<MethodOutput> {
    match &input.assignment.method {
        Method::LinearProbe { .. } => linear_probe::run(input),
        Method::Knn { .. } => knn::run(input),
        Method::FewShot { .. } => few_shot::run(input),
        Method::ZeroShot { .. } => zero_shot::run(input),
        Method::Retrieval { rerank } => retrieval::run(input, *rerank),
        Method::FineTune { .. } => fine_tune::run(input),
    }
}
