//! How results are printed, the same for all programs that measure.

use clap::{Args, ValueEnum};
use flava_results::ResultsFormat;

/// Columns of what is no terminal and says nothing of its width.
const NARROW: usize = 60;

/// How results are printed.
#[derive(Clone, Copy, Debug, Args)]
pub struct PrintArgs {
    /// As what results are printed.
    #[arg(
        long,
        value_enum,
        value_name = "FORMAT",
        default_value = "table",
        help_heading = "Output"
    )]
    pub format: PrintFormat,
    /// The same as --format json.
    #[arg(long, conflicts_with = "format", help_heading = "Output")]
    pub json: bool,
}

/// As what results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PrintFormat {
    /// As many columns as the terminal has room for, 60 characters at least.
    Table,
    /// A table with all columns.
    Markdown,
    /// As results.csv.
    Csv,
    /// The records.
    Json,
}

impl PrintArgs {
    /// As what results are printed.
    pub fn format(self) -> ResultsFormat {
        match self.format {
            _ if self.json => ResultsFormat::Json,
            PrintFormat::Table => ResultsFormat::Table,
            PrintFormat::Markdown => ResultsFormat::Markdown,
            PrintFormat::Csv => ResultsFormat::Csv,
            PrintFormat::Json => ResultsFormat::Json,
        }
    }

    /// Whether people read it, so that notes stand below.
    pub fn is_for_people(self) -> bool {
        matches!(
            self.format(),
            ResultsFormat::Table | ResultsFormat::Markdown
        )
    }
}

/// Characters of a line: of the terminal that stdout is, else what `COLUMNS` says, else 60.
pub fn width() -> usize {
    let terminal = terminal_size::terminal_size_of(std::io::stdout());
    let said = || std::env::var("COLUMNS").ok()?.parse().ok();
    let width = terminal
        .map(|(width, _)| usize::from(width.0))
        .or_else(said);
    width.unwrap_or(NARROW).max(NARROW)
}
