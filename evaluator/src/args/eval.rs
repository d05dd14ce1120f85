//! The command line of `flava-eval`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::{Limit, plan::RUNS};

use super::{
    ColumnArgs, DataArgs, ExportArgs, HelpCommand, InputArgs, LeaderboardArgs, ModelArgs,
    NetworkArgs, ProbeArgs, ProtocolArg, PublishArgs, ReportArgs, RetrieveArgs, RunArgs, SuiteArg,
    ZeroShotArgs, examples,
};

/// Measures a FLAVA checkpoint: linear probes, zero-shot classification, retrieval, text and
/// image-text tasks.
///
/// Without --model it runs the mini suite, drawn from emoji, on a small embedded model: no data and
/// no network needed. Results go to a table on stdout, and to a JSON file per task and results.csv
/// in the folder --out.
///
/// Exit status: 0 if every task ran, 1 if some task failed (the others are written), 2 if nothing
/// could be run, 130 if it was interrupted. The same command goes on where it was stopped.
#[derive(Debug, Parser)]
#[command(
    name = "flava-eval",
    version,
    arg_required_else_help = true,
    args_conflicts_with_subcommands = true,
    max_term_width = 100,
    after_long_help = examples::EVAL
)]
pub struct EvalArgs {
    /// What to do instead of running tasks.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// What to run.
    #[command(flatten)]
    pub run: RunArgs,
}

/// What `flava-eval` does besides running tasks.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Classify images of your own by the names of their classes.
    #[command(after_long_help = examples::ZERO_SHOT)]
    ZeroShot(ZeroShotArgs),
    /// Fit a linear probe on images or texts of your own.
    #[command(after_long_help = examples::PROBE)]
    Probe(ProbeArgs),
    /// Find captions of your own for images, and images for captions.
    #[command(after_long_help = examples::RETRIEVE)]
    Retrieve(RetrieveArgs),
    /// List the tasks, or show one.
    #[command(after_long_help = examples::TASKS)]
    Tasks(TasksArgs),
    /// Fetch the data of tasks, and a model, from the Hugging Face Hub.
    #[command(after_long_help = examples::FETCH)]
    Fetch(FetchArgs),
    /// Check the data of tasks: files, counts, labels, class names, duplicates.
    #[command(after_long_help = examples::VERIFY)]
    Verify(VerifyArgs),
    /// Write the features of images, texts or pairs to a file.
    #[command(after_long_help = examples::EMBED)]
    Embed(EmbedArgs),
    /// Score predictions: of an earlier run, or of another program.
    #[command(after_long_help = examples::SCORE)]
    Score(ScoreArgs),
    /// List the runs of a folder: of which model, and how their tasks stand.
    #[command(after_long_help = examples::RUNS)]
    Runs(RunsArgs),
    /// Compare two runs, task by task on the same rows.
    #[command(after_long_help = examples::COMPARE)]
    Compare(CompareArgs),
    /// Put checkpoints beside each other: ranks, averages, distance to the paper.
    #[command(after_long_help = examples::LEADERBOARD)]
    Leaderboard(LeaderboardArgs),
    /// Write one HTML file about a run, several beside each other, or a training.
    #[command(after_long_help = examples::REPORT)]
    Report(ReportArgs),
    /// Publish runs on the Hugging Face Hub.
    #[command(after_long_help = examples::PUBLISH)]
    Publish(PublishArgs),
    /// Write a run as the files of another tool.
    #[command(after_long_help = examples::EXPORT)]
    Export(ExportArgs),
    /// List or remove stored features.
    #[command(after_long_help = examples::CACHE)]
    Cache(CacheArgs),
    /// Help beyond --help.
    #[command(flatten)]
    Help(HelpCommand),
}

/// Listing tasks.
#[derive(Debug, Args)]
pub struct TasksArgs {
    /// Show one task's row.
    #[command(subcommand)]
    pub command: Option<TasksCommand>,
    /// A file of tasks of your own; may be repeated.
    #[arg(long, value_name = "FILE", global = true)]
    pub task_file: Vec<PathBuf>,
    /// Only those of a family: vision, text or multimodal.
    #[arg(long, value_parser = ["vision", "text", "multimodal"])]
    pub family: Option<String>,
    /// Only those of a suite.
    #[arg(long, value_enum)]
    pub suite: Option<SuiteArg>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// What to do with a task.
#[derive(Debug, Subcommand)]
pub enum TasksCommand {
    /// Print a task's row as TOML, to start a task file from.
    Show {
        /// Name or alias.
        name: String,
    },
    /// Print a file for data of your own, to start from.
    New {
        /// What the data is.
        #[arg(value_enum)]
        kind: NewTask,
    },
}

/// What a new task is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum NewTask {
    /// Images in a folder for each class: a linear probe.
    ImageFolder,
    /// A table of texts, or of images, with labels: fine-tuning.
    Csv,
    /// Questions about images with answers: fine-tuning.
    Vqa,
    /// Images with captions: retrieval.
    Captions,
}

impl NewTask {
    /// The file.
    pub fn text(self) -> &'static str {
        match self {
            Self::ImageFolder => include_str!("../../assets/tasks/image-folder.toml"),
            Self::Csv => include_str!("../../assets/tasks/csv.toml"),
            Self::Vqa => include_str!("../../assets/tasks/vqa.toml"),
            Self::Captions => include_str!("../../assets/tasks/captions.toml"),
        }
    }
}

/// Fetching from the Hub.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true).multiple(true).args(["tasks", "model"]))]
pub struct FetchArgs {
    /// Tasks by name, benchmark (glue), family (vision) or suite (zero-shot), separated by commas,
    /// or all of the suite.
    #[arg(long, value_name = "NAMES")]
    pub tasks: Option<String>,
    /// A model, as owner/name or owner/name@revision.
    #[arg(long, value_name = "REPO")]
    pub model: Option<String>,
    /// A folder to make a sealed bundle of, for `--data FOLDER --offline` on another machine
    /// [default: the Hub's cache].
    #[arg(long, value_name = "DIR")]
    pub to: Option<PathBuf>,
    /// What `all` and the families mean.
    #[arg(long, value_enum, default_value = "paper")]
    pub suite: SuiteArg,
    /// Whose rows are needed.
    #[arg(long, value_enum, default_value = "flava")]
    pub protocol: ProtocolArg,
    /// Fetch the best source even where none has the protocol's rows.
    #[arg(long)]
    pub allow_mismatch: bool,
    /// A file of tasks of your own; may be repeated.
    #[arg(long, value_name = "FILE")]
    pub task_file: Vec<PathBuf>,
    /// Only say what would be fetched, and how large it is.
    #[arg(long)]
    pub dry_run: bool,
    /// Suppress progress output.
    #[arg(long, short)]
    pub quiet: bool,
}

/// Checking data.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// Tasks by name, benchmark, family or suite, separated by commas, or all of the suite.
    #[arg(long, value_name = "NAMES", default_value = "all")]
    pub tasks: String,
    /// What `all` and the families mean.
    #[arg(long, value_enum, default_value = "paper")]
    pub suite: SuiteArg,
    /// Look for duplicates among a random sample of so many rows of each split.
    ///
    /// 0 looks for none.
    #[arg(long, value_name = "N")]
    pub limit: Option<u32>,
    /// Seed of sampling and drawing.
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub seed: u64,
    /// Print JSON instead of a table.
    #[arg(long)]
    pub json: bool,
    /// No progress on stderr.
    #[arg(long, short)]
    pub quiet: bool,
    /// Where the data is.
    #[command(flatten)]
    pub data_args: DataArgs,
}

/// Scoring predictions.
#[derive(Debug, Args)]
pub struct ScoreArgs {
    /// The task whose metrics are computed.
    #[arg(long, value_name = "NAME")]
    pub task: String,
    /// Predictions: a run's predictions/TASK.parquet, which is scored as it is, or another
    /// program's .parquet, .csv, .tsv, .json or .jsonl with an id (or `question_id`, index) and
    /// logits, prediction, label, answer or proba for every row of the task.
    #[arg(long, value_name = "FILE")]
    pub predictions: PathBuf,
    /// Seed of drawn data.
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub seed: u64,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// Where the data is, for what is right.
    #[command(flatten)]
    pub data_args: DataArgs,
}

/// Listing runs.
#[derive(Debug, Args)]
pub struct RunsArgs {
    /// Folder of the runs, or of one.
    #[arg(value_name = "DIR", default_value = RUNS)]
    pub folder: PathBuf,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// Comparing runs.
#[derive(Debug, Args)]
pub struct CompareArgs {
    /// The run to compare with: a folder of results.
    #[arg(value_name = "A")]
    pub first: PathBuf,
    /// The other run; differences are its scores less those of A.
    #[arg(value_name = "B")]
    pub second: PathBuf,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// Stored features.
#[derive(Debug, Args)]
pub struct CacheArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: CacheCommand,
}

/// What to do with stored features.
#[derive(Debug, Subcommand)]
pub enum CacheCommand {
    /// List them, the longest unused first.
    Ls,
    /// Remove those that were not used for some days.
    Prune {
        /// Days; 0 removes all.
        #[arg(long, default_value_t = 30, value_name = "N")]
        days: u64,
    },
}

/// Writing features.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("input").required(true).args(["images", "texts", "csv"]))]
pub struct EmbedArgs {
    /// A checkpoint: a folder in Hugging Face's layout, or owner/name, or owner/name@revision, on
    /// the Hub [default: a small embedded model].
    #[arg(long, value_name = "DIR|REPO")]
    pub model: Option<String>,
    /// The rows.
    #[command(flatten)]
    pub input: InputArgs,
    /// What columns are called.
    #[command(flatten)]
    pub columns: ColumnArgs,
    /// States to write, separated by commas, such as `image_mean` or `multimodal_layer3` [default:
    /// cls and embedding of images or texts, cls of pairs].
    ///
    /// In the file they have these names.
    #[arg(long, value_name = "FEATURES", value_delimiter = ',')]
    pub features: Vec<flava_tasks::Feature>,
    /// Use a random sample: so many rows, or a share such as 0.1 or 10%.
    #[arg(long, value_name = "N|SHARE")]
    pub limit: Option<Limit>,
    /// Seed of the sample.
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub seed: u64,
    /// File to write: .safetensors, .npy (one state, and its ids in NAME.ids.txt) or .parquet.
    ///
    /// cls is the unnormalised CLS state, [n, width]; embedding is projected and of unit length,
    /// [n, projection]. In safetensors the metadata's ids is a JSON list in the same order.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Write over a file that is there.
    #[arg(long)]
    pub force: bool,
    /// Whether the network may be used.
    #[command(flatten)]
    pub network: NetworkArgs,
    /// How the model is run.
    #[command(flatten)]
    pub model_args: ModelArgs,
}
