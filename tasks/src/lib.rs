//! What is measured and on what data: a table of tasks, the sources they read, the metrics that
//! score them. No tensors.
#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "a test may panic"))]

mod assignment;
mod error;
mod feature;
mod method;
pub mod metrics;
mod own;
mod parquet_footer;
pub mod predictions;
mod protocol;
mod random;
mod recipe;
mod recipe_parts;
mod registry;
mod select;
mod source;
mod source_format;
pub mod sources;
mod submission;
mod task;
mod task_check;

pub use assignment::Assignment;
pub use error::{Error, Result};
pub use feature::{Feature, Tap, Tower};
pub use method::Method;
pub use metrics::{Metric, Score};
pub use own::{Open, SPLIT_NAMES, TEMPLATE};
pub use predictions::{Outputs, Predictions};
pub use protocol::{Demand, Demands, Protocol};
pub use recipe::Recipe;
pub use recipe_parts::{ChosenOn, HeadRecipe, LoraProjection, LoraRecipe};
pub use registry::Registry;
pub use select::select;
pub use source::{ImagesFrom, Source, Split, SplitPart};
pub use source_format::{Columns, Layout, SourceFormat};
pub use sources::{Dataset, Example, Label};
pub use submission::{Submission, SubmissionFormat};
pub use task::{Family, Suite, Task};
