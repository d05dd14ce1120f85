//! The command line of `flava-eval` where it runs tasks.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::Limit;

use super::{DataArgs, ModelArgs, PrintArgs, SuiteArg};

/// Which penalties a probe tries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum SweepArg {
    /// CLIP's search.
    #[default]
    Halving,
    /// All.
    Full,
}

/// What to do with the tasks whose rows say "linear probe".
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum MethodArg {
    /// Logistic regression, its penalty searched for.
    LinearProbe,
    /// The nearest training rows.
    Knn,
    /// Logistic regression on 5, 10 and 16 rows of each class.
    FewShot,
}

/// Running tasks.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Tasks by name, benchmark (glue), family (vision) or suite (zero-shot), separated by commas,
    /// or all of the suite [default: all; with --task-file those of the file].
    #[arg(long, value_name = "NAMES")]
    pub tasks: Option<String>,
    /// Features that another program computed, in place of a model.
    ///
    /// A folder of `source.json` and TASK/{train,validation,test,..}.safetensors or .npy. No model
    /// is loaded; what is fitted, scored and written is the same.
    #[arg(
        long,
        value_name = "DIR",
        conflicts_with_all = ["model", "precision", "features", "prompts", "store", "batch_size", "pillow", "skip_broken"]
    )]
    pub features_from: Option<PathBuf>,
    /// What `all` means [default: paper with --model or --features-from, else mini].
    #[arg(long, value_enum)]
    pub suite: Option<SuiteArg>,
    /// Where the data is.
    #[command(flatten)]
    pub data_args: DataArgs,
    /// Folder of TASK/classnames.txt and `TASK/zeroshot_classification_templates.txt` to use
    /// instead of the data's own.
    #[arg(long, value_name = "DIR")]
    pub prompts: Option<PathBuf>,
    /// How.
    #[command(flatten)]
    pub how: HowArgs,
}

/// How tasks are measured, built-in ones and those of one's own.
#[derive(Debug, Args)]
pub struct HowArgs {
    /// A checkpoint: a folder in Hugging Face's layout, or owner/name, or owner/name@revision, on
    /// the Hub [default: a small embedded model].
    #[arg(long, value_name = "DIR|REPO")]
    pub model: Option<String>,
    /// Use a random sample of each split: so many rows, or a share such as 0.1 or 10%.
    #[arg(long, value_name = "N|SHARE")]
    pub limit: Option<Limit>,
    /// Run the tasks of linear probes by another method.
    ///
    /// Their records then carry its name.
    #[arg(long, value_enum, value_name = "METHOD")]
    pub method: Option<MethodArg>,
    /// Read other states than the tasks' rows say: `image_cls`, `image_mean`, `image_pooler`,
    /// `image_embedding`, `image_layerN`, and so for text and multimodal.
    ///
    /// Several, separated by commas, are read in one pass.
    #[arg(long, value_name = "FEATURES", value_delimiter = ',')]
    pub features: Vec<flava_tasks::Feature>,
    /// Probes: try all 97 penalties, and not some fifteen by halving.
    #[arg(long, value_enum, default_value = "halving")]
    pub sweep: SweepArg,
    /// Probes: say first what ridge regression gives, which takes seconds.
    #[arg(long)]
    pub preview: bool,
    /// Seed of sampling, splitting and drawing.
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub seed: u64,
    /// Print what would be run, with what data is there, and how long it would take.
    #[arg(long)]
    pub dry_run: bool,
    /// Do not store features, and use none that are stored.
    #[arg(long, help_heading = "Running")]
    pub no_cache: bool,
    /// Precision in which features are stored: f32 or f16, which halves their size.
    #[arg(long, default_value = "f32", value_parser = ["f32", "f16"], value_name = "KIND", help_heading = "Running")]
    pub store: String,
    /// Measure with so many processes of this machine, which share the work out; with GPUs each
    /// takes one.
    ///
    /// torchrun and srun start them on several machines (docs/distributed.md).
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256), help_heading = "Running")]
    pub processes: u16,
    /// Run tasks again whose records are there.
    #[arg(long, help_heading = "Running")]
    pub again: bool,
    /// Folder for results [default: runs/MODEL-FINGERPRINT, one for each model].
    ///
    /// The same command goes on where it was stopped.
    #[arg(long, value_name = "DIR", help_heading = "Output")]
    pub out: Option<PathBuf>,
    /// How results are printed.
    #[command(flatten)]
    pub print: PrintArgs,
    /// How the model is run.
    #[command(flatten)]
    pub model_args: ModelArgs,
}
