//! What is measured and on what data: a table of tasks, the sources they read, the metrics that score them. No tensors.

mod error;
pub mod metrics;
mod registry;
mod select;
mod source;
pub mod sources;
mod task;

pub use error::{Error, Result};
pub use metrics::{Metric, Predictions, Score};
pub use registry::Registry;
pub use select::select;
pub use source::{Columns, Layout, Source, SourceFormat, Split};
pub use sources::{Dataset, Example, Label};
pub use task::{Assignment, Demand, Demands, Family, Feature, Method, Protocol, Suite, Task};
