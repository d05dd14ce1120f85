//! Results of evaluation: records with their provenance, as JSON files, CSV rows and tables. No torch.

mod error;
mod files;
mod published;
mod record;
mod table;

pub use error::{Error, Result};
pub use files::{RunFolder, timestamp, write_beside};
pub use published::{Published, published};
pub use record::{MetricValue, Record};
pub use table::table;
