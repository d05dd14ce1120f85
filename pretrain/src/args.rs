//! The command line of `flava-pretrain`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use flava_evaluator::args::{DeviceArgs, HelpCommand, NetworkArgs, TogetherArgs};

use crate::machines::{Gpu, NetworkSpeed};

/// Examples at the end of `--help`.
const EXAMPLES: &str = "\
Examples:
  flava-pretrain run mini                              a small model, from nothing
  flava-pretrain run mini --dry-run                    its sizes, memory and time
  flava-pretrain run mini --pairs pairs.csv            on captioned images of your own
  flava-pretrain run flava-base --data DIR --set joint.schedule.steps=1000
  flava-pretrain recipes mini > mine.toml              a recipe to start from";

/// Pretrains FLAVA from images, texts and pairs of them, by a recipe: tokenizer, visual codebook,
/// both encoders alone, all together.
///
/// `flava-pretrain run mini` makes a small model from drawn images in three quarters of an hour
/// on two cores; no data is needed. Each stage has a folder in OUT with its states and log; the
/// same command goes on where it was stopped or killed. OUT/model is the result, in Hugging Face's
/// layout: `flava-eval --model OUT/model`.
///
/// Exit status: 0 if everything ran, 2 if something could not be run, 130 if it was interrupted.
#[derive(Debug, Parser)]
#[command(
    name = "flava-pretrain",
    version,
    arg_required_else_help = true,
    max_term_width = 100,
    after_long_help = EXAMPLES
)]
pub struct PretrainArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What `flava-pretrain` does.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run all stages of a recipe.
    Run(RunArgs),
    /// Run a recipe up to its tokenizer: tokens learned from its texts.
    Tokenizer(RunArgs),
    /// Run a recipe up to its visual codebook, with an image of what comes back from it.
    Codebook(RunArgs),
    /// Write an untrained model of a recipe's sizes into OUT/untrained, to compare with.
    Init(RunArgs),
    /// List the recipes, or print one to start your own from.
    Recipes {
        /// The recipe.
        name: Option<String>,
    },
    /// Make the ablation table from the records of runs in DIR/COLUMN/seed-N/runs (`make ablation`
    /// makes them).
    Ablation {
        /// Folder of the runs.
        #[arg(value_name = "DIR")]
        runs: PathBuf,
        /// Table to write as CSV; the same in Markdown goes beside it.
        #[arg(long, value_name = "FILE", default_value = "ablation.csv")]
        out: PathBuf,
    },
    /// Help beyond --help.
    #[command(flatten)]
    Help(HelpCommand),
}

/// Running a recipe.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// A recipe: mini, flava-base, one of the paper's columns (flava-c, mlm, ..), at mini size
    /// (mini-flava-c, ..), or a .toml file.
    #[arg(value_name = "RECIPE")]
    pub recipe: String,
    /// Folder that the recipe's corpora are below.
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub data: PathBuf,
    /// Images with captions of your own, in place of the recipe's images, texts and pairs.
    ///
    /// A table (.csv, .tsv, .jsonl, .json) or parquet with image and caption, or a folder of tar
    /// shards.
    #[arg(long, value_name = "FILE|DIR")]
    pub pairs: Option<PathBuf>,
    /// Folder for everything that is made [default: pretrained/RECIPE].
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// A setting in place of the recipe's, such as joint.schedule.steps=1000; may be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Seed of weights, order, masks and views.
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub seed: u64,
    /// Print what would be run: sizes, memory, operations and time.
    ///
    /// Train nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Rows that go through the encoders at once [default: all].
    ///
    /// The contrastive loss is over the whole batch all the same.
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
    /// Train in so many processes of this machine, each with its rows of every batch; with GPUs
    /// each takes one.
    ///
    /// The recipe's batch sizes are those of all processes together: their number changes nothing
    /// but the time. torchrun and srun start them on several machines (docs/distributed.md).
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u16).range(1..), help_heading = "Processes")]
    pub processes: u16,
    /// With --dry-run: what a step would take on so many of these GPUs, one a process: h100-80gb,
    /// h200-141gb, a100-40gb, a100-80gb or l40s-48gb.
    #[arg(
        long,
        value_name = "GPU",
        requires = "dry_run",
        hide_possible_values = true,
        help_heading = "Processes"
    )]
    pub gpu: Option<Gpu>,
    /// With --gpu: the network between machines of eight GPUs, as the Gbit/s of each GPU (400gb) or
    /// of each machine (200gb/node).
    #[arg(
        long = "network",
        value_name = "SPEED",
        requires = "gpu",
        default_value = "400gb",
        hide_default_value = true,
        help_heading = "Processes"
    )]
    pub network_speed: NetworkSpeed,
    /// How processes train together.
    #[command(flatten)]
    pub together: TogetherArgs,
    /// Whether the network may be used.
    #[command(flatten)]
    pub network: NetworkArgs,
    /// Where it is computed.
    #[command(flatten)]
    pub device_args: DeviceArgs,
}
