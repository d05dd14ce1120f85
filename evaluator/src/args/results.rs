//! Arguments of the commands that work on results.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use flava_results::board::BoardOptions;

use super::{ProtocolArg, SuiteArg};

/// A leaderboard.
#[derive(Debug, Args)]
pub struct LeaderboardArgs {
    /// Folders of runs, files of records, CSV files of results, or `paper`.
    ///
    /// `paper` stands for the columns of the paper's Table 4: they stand apart, and a table says
    /// how far each measured number is from the paper's.
    #[arg(value_name = "RUN", required = true)]
    pub runs: Vec<String>,
    /// What is printed.
    #[arg(long, value_name = "FORMAT", default_value = "markdown")]
    pub format: BoardFormat,
    /// Write all formats into a folder.
    ///
    /// leaderboard.csv (a row a checkpoint), leaderboard-long.csv (a line a score), LEADERBOARD.md,
    /// leaderboard.tex and leaderboard.json.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Put ranks and averages into a Markdown file.
    ///
    /// They replace what stands between its lines `<!-- leaderboard -->` and `<!-- /leaderboard -->`.
    #[arg(long, value_name = "FILE")]
    pub block: Option<PathBuf>,
    /// Write nothing, and fail where the files of --out and --block are not these.
    #[arg(long)]
    pub check: bool,
    /// The suite that averages are over [default: that of most records].
    #[arg(long)]
    pub suite: Option<SuiteArg>,
    /// Rows of one protocol alone.
    #[arg(long)]
    pub protocol: Option<ProtocolArg>,
    /// Show records that may not stand in a leaderboard too, marked.
    #[arg(long)]
    pub all: bool,
    /// Rank published rows too.
    #[arg(long)]
    pub rank_published: bool,
    /// Checkpoints whose names differ in `seed-N` alone are one row.
    ///
    /// Its numbers are means over the seeds; their standard deviation has a column of its own.
    #[arg(long)]
    pub join_seeds: bool,
    /// Draws of the bootstrap that intervals of ranks come from; 0 makes none.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub draws: usize,
}

/// What a leaderboard is written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum BoardFormat {
    /// Tables for people.
    Markdown,
    /// A row a checkpoint and protocol.
    Csv,
    /// A line a score.
    LongCsv,
    /// Tables for the package booktabs.
    Latex,
    /// Everything, for programs.
    Json,
}

impl LeaderboardArgs {
    /// How the board is made.
    pub fn options(&self) -> BoardOptions {
        BoardOptions {
            suite: self.suite.map(Into::into),
            protocol: self.protocol.map(|protocol| {
                let protocol: flava_tasks::Protocol = protocol.into();
                protocol.name().to_owned()
            }),
            all: self.all,
            rank_published: self.rank_published,
            join_seeds: self.join_seeds,
            draws: self.draws,
        }
    }
}
