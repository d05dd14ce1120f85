//! What is measured and on what data: a table of tasks, the sources they read, the metrics that score them. No tensors.

mod error;
pub mod metrics;
mod registry;
mod select;
pub mod sources;
mod task;

pub use error::{Error, Result};
pub use metrics::{Metric, Predictions, Score};
pub use registry::Registry;
pub use select::select;
pub use sources::{Dataset, Example, Label};
pub use task::{Family, Feature, Protocol, Source, SourceFormat, Split, Suite, Task};
