//! Results of evaluation: records with their provenance, the folder of a run, CSV, tables,
//! averages, and what is made of them. No torch.

/// Commit that the program was built from, with `-dirty` where its sources had been changed since;
/// "debug" in a debug build, "unknown" without git.
pub const COMMIT: &str = env!("FLAVA_COMMIT");

mod ablation;
mod averages;
pub mod board;
mod comparison;
mod covariance;
mod csv_line;
mod csv_table;
mod error;
mod exchange;
mod merge_rows;
mod published;
mod record;
pub mod report;
pub mod reproduction;
mod run;
mod run_folder;
mod run_list;
mod table;
mod table_rows;
mod told;

pub use ablation::{
    AblationCell, PAPER_COLUMNS, ablation, ablation_csv, ablation_markdown, column_order,
};
pub use averages::{Average, averages, averages_text, median};
pub use comparison::{ComparedTask, Flips, NotCompared, RunsCompared, compare_runs};
pub use csv_line::csv_line;
pub use csv_table::csv_table;
pub use error::{Error, Result};
pub use exchange::{
    ExportFormat, Exported, ForeignScore, Imported, LeftOut, export, import, left_out_text,
    merge_model_index, model_file_name, model_index_block,
};
pub use merge_rows::{ChangedRow, MergeRule, RowChanges, merge_rows, row_changes};
pub use published::{Published, published};
pub use record::{GIVEN, MetricValue, Record};
pub use run::Run;
pub use run_folder::{
    FailedTask, PlannedTask, RunFolder, State, Status, read_records, runs_in, timestamp,
};
pub use run_list::{RunSummary, list_runs, runs_text};
pub use table::rows_table;
pub use told::{ResultsFormat, results_text};
