//! Arguments of the commands that work on results.

use std::{path::PathBuf, str::FromStr};

use clap::{Args, ValueEnum};
use flava_results::{ExportFormat, board::BoardOptions};

use super::{NetworkArgs, ProtocolArg, SuiteArg};

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

/// Exporting a run.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// The folder of a run, or the file of a record.
    #[arg(value_name = "RUN")]
    pub run: PathBuf,
    /// Whose files: lm-eval, clip-benchmark, model-index, eee, mteb, open-clip, timm or tensorboard.
    #[arg(long, value_name = "FORMAT", value_parser = ExportFormat::from_str)]
    pub format: ExportFormat,
    /// Folder for the files.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
}

/// Publishing runs.
#[derive(Debug, Args)]
pub struct PublishArgs {
    /// Folders of runs.
    #[arg(value_name = "RUN", required = true)]
    pub runs: Vec<String>,
    /// The data set that results go to: owner/name, or owner/name@branch.
    #[arg(
        long,
        value_name = "OWNER/NAME",
        required_unless_present = "model_card"
    )]
    pub repo: Option<String>,
    /// A model whose card the scores go to, as a pull request.
    ///
    /// Nothing else of its README is touched.
    #[arg(long, value_name = "OWNER/NAME", conflicts_with = "repo")]
    pub model_card: Option<String>,
    /// Say what would be written, and write nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Let everybody see a data set that is made.
    #[arg(long)]
    pub public: bool,
    /// Propose the change as a pull request.
    #[arg(long)]
    pub pr: bool,
    /// Publish predictions too.
    #[arg(long)]
    pub predictions: bool,
    /// Where the Hub may be asked.
    #[command(flatten)]
    pub network: NetworkArgs,
    /// Suppress progress output.
    #[arg(short, long)]
    pub quiet: bool,
}

/// A report.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// Folders of runs or files of records; or the folder of a training or an ablation.
    ///
    /// Of several runs the others are compared with the first.
    #[arg(value_name = "RUN", required = true)]
    pub runs: Vec<PathBuf>,
    /// The file [default: report.html, or FIGURE.svg or .png].
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// The title [default: the checkpoint's name].
    #[arg(long)]
    pub title: Option<String>,
    /// Order of the table of tasks.
    #[arg(long, default_value = "paper")]
    pub sort: ReportSort,
    /// List the figures.
    #[arg(long)]
    pub figures: bool,
    /// Write one figure alone.
    #[arg(long, value_name = "FIGURE", conflicts_with = "figures")]
    pub figure: Option<String>,
    /// As what a figure is written: PNG has three pixels to each of SVG's.
    #[arg(long, value_enum, default_value = "svg", requires = "figure")]
    pub format: FigureFormat,
    /// Images of rows for each task: a number, or none.
    ///
    /// They are read from the data, and only where its licence lets them be shown.
    #[arg(long, value_name = "N|none", default_value = "12", value_parser = thumbs)]
    pub images: Thumbs,
    /// Folder of the data that images come from [default: the Hub's cache].
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// A file of tasks of your own; may be repeated.
    #[arg(long, value_name = "FILE")]
    pub task_file: Vec<PathBuf>,
}

/// As what a figure is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FigureFormat {
    /// Lines and text, at any size.
    Svg,
    /// Pixels.
    Png,
}

/// How many images of rows a task has in a report.
#[derive(Clone, Copy, Debug)]
pub struct Thumbs(pub usize);

fn thumbs(text: &str) -> Result<Thumbs, String> {
    match text {
        "none" => Ok(Thumbs(0)),
        _ => text
            .parse()
            .map(Thumbs)
            .map_err(|_| "is no number, and not none".to_owned()),
    }
}

/// The order of a report's table of tasks.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum ReportSort {
    /// As in the paper's table, then by name.
    Paper,
    /// By name.
    Name,
    /// The lowest score first.
    Score,
    /// The farthest below the paper first.
    Difference,
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
