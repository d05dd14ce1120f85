//! What is measured and on what data: a table of tasks, the sources they read, the metrics that
//! score them. No tensors.

mod error;
mod feature;
mod method;
pub mod metrics;
mod parquet_footer;
pub mod predictions;
mod random;
mod recipe;
mod registry;
mod select;
mod source;
pub mod sources;
mod submission;
mod task;

pub use error::{Error, Result};
pub use feature::{Feature, Tap, Tower};
pub use method::Method;
pub use metrics::{Metric, Score};
pub use predictions::{Outputs, Predictions};
pub use recipe::{HeadRecipe, Recipe};
pub use registry::Registry;
pub use select::select;
pub use source::{Columns, Layout, Source, SourceFormat, Split};
pub use sources::{Dataset, Example, Label};
pub use submission::{Submission, SubmissionFormat};
pub use task::{Assignment, Demand, Demands, Family, Protocol, Suite, Task};
