//! Results of evaluation: records with their provenance, the folder of a run, CSV, tables,
//! averages. No torch.

mod ablation;
mod averages;
mod csv_line;
mod csv_table;
mod error;
mod published;
mod record;
mod run_folder;
mod table;

pub use ablation::{Cell, ablation, ablation_csv, ablation_markdown};
pub use averages::{Average, averages, averages_text, median};
pub use csv_table::csv_table;
pub use error::{Error, Result};
pub use published::{Published, published};
pub use record::{MetricValue, Record};
pub use run_folder::{RunFolder, State, Status, read_records, timestamp};
pub use table::{rows_table, table};
