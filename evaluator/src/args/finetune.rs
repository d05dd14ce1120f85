//! The command line of `flava-finetune`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::Limit;

use super::{
    AnswerArgs, ColumnArgs, DataArgs, HelpCommand, InputArgs, ModelArgs, PrintArgs, TogetherArgs,
    examples,
};

/// Fine-tunes a FLAVA checkpoint on a task.
///
/// The encoder that the task reads (text, image, or all three) and a head on its CLS state are
/// trained by the task's recipe; the checkpoint that does best on the validation rows is kept in
/// OUT/best and scored on the test rows. The same command goes on where it was stopped. `flava-eval
/// --model OUT --tasks TASK` scores it again.
///
/// Exit status: 0 if it is trained and scored, 1 if it failed on the way, 2 if nothing could be
/// run, 130 if it was interrupted.
#[derive(Debug, Parser)]
#[command(
    name = "flava-finetune",
    version,
    arg_required_else_help = true,
    args_conflicts_with_subcommands = true,
    max_term_width = 100,
    after_long_help = examples::FINETUNE
)]
pub struct FinetuneArgs {
    /// What to do instead of training.
    #[command(subcommand)]
    pub command: Option<FinetuneCommand>,
    /// What to train.
    #[command(flatten)]
    pub run: FinetuneRunArgs,
}

/// What `flava-finetune` does besides training.
#[derive(Debug, Subcommand)]
pub enum FinetuneCommand {
    /// Answer for new images or texts, or a test set in the form that its server takes.
    #[command(after_long_help = examples::PREDICT)]
    Predict(Box<PredictArgs>),
    /// Make a model that stands alone of a LoRA and the weights that it was trained on.
    #[command(after_long_help = examples::MERGE)]
    Merge(MergeArgs),
    /// Print a task's recipe, to start one of your own from.
    #[command(after_long_help = examples::RECIPE)]
    Recipe {
        /// The task.
        task: String,
        /// A file of tasks of your own; may be repeated.
        #[arg(long, value_name = "FILE")]
        task_file: Vec<PathBuf>,
    },
    /// Help beyond --help.
    #[command(flatten)]
    Help(HelpCommand),
}

/// Training.
#[derive(Debug, Args)]
pub struct FinetuneRunArgs {
    /// The task, by name or alias: vqa, rte, snli-ve, or one of --task-file.
    #[arg(value_name = "TASK", conflicts_with = "train")]
    pub task: Option<String>,
    /// Data of your own in place of a task: a table (.csv, .tsv, .jsonl, .json), parquet, or a
    /// folder of images with a folder for each class.
    #[arg(long, value_name = "FILE|DIR")]
    pub train: Option<PathBuf>,
    /// Rows that the checkpoint is chosen on [default: a tenth of the training rows].
    #[arg(long, value_name = "FILE|DIR", requires = "train")]
    pub validation: Option<PathBuf>,
    /// Rows to score [default: a fifth of the training rows, which is not trained on].
    #[arg(long, value_name = "FILE|DIR", requires = "train")]
    pub test: Option<PathBuf>,
    /// The name of a task of your own in records [default: own-FILE].
    #[arg(long, value_name = "NAME", requires = "train")]
    pub name: Option<String>,
    /// Its columns.
    #[command(flatten)]
    pub columns: ColumnArgs,
    /// A checkpoint: a folder in Hugging Face's layout, or owner/name, or owner/name@revision, on
    /// the Hub [default: a small embedded model].
    #[arg(long, value_name = "DIR|REPO")]
    pub model: Option<String>,
    /// Start from random weights of the checkpoint's sizes instead of its own.
    #[arg(long)]
    pub random_init: bool,
    /// Where the data is.
    #[command(flatten)]
    pub data_args: DataArgs,
    /// A recipe of your own [default: the task's; `flava-finetune recipe TASK` prints it].
    #[arg(long, value_name = "FILE", help_heading = "Recipe")]
    pub recipe: Option<PathBuf>,
    /// A setting in place of the recipe's, such as lr=3e-5, epochs=3 or head.dropout=0.2; may be
    /// repeated.
    #[arg(long, value_name = "KEY=VALUE", help_heading = "Recipe")]
    pub set: Vec<String>,
    /// Train with each of several values of a setting, such as lr=1e-5,3e-5; several make a grid.
    ///
    /// Each point has a folder in OUT; the one that does best on the validation rows is named, and
    /// sweep.csv and sweep.json tell all.
    #[arg(long, value_name = "KEY=VALUES", help_heading = "Recipe")]
    pub sweep: Vec<String>,
    /// Seed of the head, the order of the rows, dropout and sampling.
    #[arg(long, default_value_t = 0, value_name = "N", help_heading = "Recipe")]
    pub seed: u64,
    /// Train so often, with seeds from --seed on, and report median and range.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100), help_heading = "Recipe")]
    pub seeds: u64,
    /// Train in so many processes of this machine, each with its rows of every batch; with GPUs
    /// each takes one. With --seeds they share the seeds out.
    ///
    /// torchrun and srun start them on several machines (docs/distributed.md).
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256), help_heading = "Processes")]
    pub processes: u16,
    /// How processes train together.
    #[command(flatten)]
    pub together: TogetherArgs,
    /// Use a random sample of each split: so many rows, or a share such as 0.1 or 10%.
    #[arg(long, value_name = "N|SHARE")]
    pub limit: Option<Limit>,
    /// Rows that go through the network at once [default: all, fewer where memory is short].
    ///
    /// Gradients of a batch are summed up.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 0,
        hide_default_value = true,
        help_heading = "Running"
    )]
    pub micro_batch: usize,
    /// Compute activations again in the backward pass instead of keeping them: less memory, a third
    /// more time.
    #[arg(long, help_heading = "Running")]
    pub recompute: bool,
    /// Go on from OUT/last, and fail if there is none.
    ///
    /// Without, it is gone on from if it is there.
    #[arg(long, help_heading = "Running")]
    pub resume: bool,
    /// Print the recipe and what data is there, and train nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Folder for checkpoints, log and results.
    #[arg(
        long,
        value_name = "DIR",
        default_value = "finetuned",
        help_heading = "Output"
    )]
    pub out: PathBuf,
    /// How results are printed.
    #[command(flatten)]
    pub print: PrintArgs,
    /// How the model is run.
    #[command(flatten)]
    pub model_args: ModelArgs,
}

/// Merging a LoRA.
#[derive(Debug, Args)]
pub struct MergeArgs {
    /// A folder of flava-finetune that was trained with lora.
    #[arg(long, value_name = "DIR")]
    pub model: String,
    /// Folder of the weights that it was trained on, if they are not where they were.
    #[arg(long, value_name = "DIR")]
    pub base: Option<PathBuf>,
    /// Folder to write, in Hugging Face's layout.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
}

/// Answering a test set.
#[derive(Debug, Args)]
pub struct PredictArgs {
    /// A folder of flava-finetune.
    #[arg(long, value_name = "DIR")]
    pub model: String,
    /// The task [default: the one that the model was trained on].
    #[arg(long, value_name = "NAME")]
    pub task: Option<String>,
    /// Answer this split instead of the official test sets.
    #[arg(long, value_name = "NAME")]
    pub split: Option<String>,
    /// New rows to answer for.
    #[command(flatten)]
    pub input: InputArgs,
    /// What columns of new rows are called.
    #[command(flatten)]
    pub columns: ColumnArgs,
    /// Where answers for new rows go.
    #[command(flatten)]
    pub answers: AnswerArgs,
    /// Folder for the files.
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub out: PathBuf,
    /// Seed of drawn data.
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub seed: u64,
    /// Where the data is.
    #[command(flatten)]
    pub data_args: DataArgs,
    /// How the model is run.
    #[command(flatten)]
    pub model_args: ModelArgs,
}
