//! The command line of what is run on people's own data, without a file of tasks.

use std::path::PathBuf;

use clap::Args;

use super::{HowArgs, NetworkArgs};

/// What columns are called that are not called as usual.
#[derive(Clone, Debug, Default, Args)]
pub struct ColumnArgs {
    /// What a column is, such as text=review or label=stars; may be repeated.
    ///
    /// Roles are image, text (twice for pairs), caption, label, answers, id, group and split.
    /// Columns that are called so, or as other data sets call them, need no word.
    #[arg(long, value_name = "ROLE=COLUMN")]
    pub column: Vec<String>,
}

/// A task of one's own that is run at once.
#[derive(Debug, Args)]
pub struct OwnRunArgs {
    /// The task's name in records [default: own-FILE].
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Its columns.
    #[command(flatten)]
    pub columns: ColumnArgs,
    /// Whether the network may be used.
    #[command(flatten)]
    pub network: NetworkArgs,
    /// How it is run.
    #[command(flatten)]
    pub how: HowArgs,
}

/// Rows whose labels nobody asks for.
#[derive(Clone, Debug, Default, Args)]
pub struct InputArgs {
    /// Folder of images, searched with its subfolders; ids are their paths below it, sorted.
    #[arg(long, value_name = "DIR")]
    pub images: Option<PathBuf>,
    /// File with a text on each line; ids are the numbers of the lines, from 1.
    #[arg(long, value_name = "FILE", conflicts_with = "images")]
    pub texts: Option<PathBuf>,
    /// Table of texts, images or pairs of both: .csv, .tsv, .jsonl, .json or .parquet.
    #[arg(long, visible_alias = "pairs", value_name = "FILE", conflicts_with_all = ["images", "texts"])]
    pub csv: Option<PathBuf>,
}

impl InputArgs {
    /// Whether there are any.
    pub fn any(&self) -> bool {
        self.images.is_some() || self.texts.is_some() || self.csv.is_some()
    }
}

/// Where answers go.
#[derive(Clone, Debug, Args)]
pub struct AnswerArgs {
    /// File of answers: .csv, .jsonl or .parquet with id, prediction and probability of each row.
    /// [default: answers.csv].
    #[arg(long, value_name = "FILE")]
    pub answers: Option<PathBuf>,
    /// Write so many of the best classes of each row, each with its probability.
    #[arg(long, value_name = "K", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub top: u16,
}

impl AnswerArgs {
    /// The file.
    pub fn file(&self) -> PathBuf {
        let default = || PathBuf::from("answers.csv");
        self.answers.clone().unwrap_or_else(default)
    }
}

/// Zero-shot classification.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("input").required(true).args(["images", "csv"]))]
pub struct ZeroShotArgs {
    /// Folder of images.
    ///
    /// Where they lie in a folder for each class, the answers are scored too.
    #[arg(long, value_name = "DIR")]
    pub images: Option<PathBuf>,
    /// Table of images: .csv, .tsv, .jsonl, .json or .parquet; with a column of labels the answers
    /// are scored too.
    #[arg(long, value_name = "FILE")]
    pub csv: Option<PathBuf>,
    /// Names of the classes, separated by commas [default: those of the folders or labels].
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub classes: Vec<String>,
    /// File with the name of a class on each line.
    #[arg(long, value_name = "FILE", conflicts_with = "classes")]
    pub classes_file: Option<PathBuf>,
    /// Prompt of a class, {c} standing for its name; may be repeated [default: a photo of a {c}.].
    #[arg(long, value_name = "TEXT")]
    pub template: Vec<String>,
    /// Where answers go.
    #[command(flatten)]
    pub answers: AnswerArgs,
    /// The task.
    #[command(flatten)]
    pub own: OwnRunArgs,
}

/// A linear probe.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("fitted").required(true).args(["train", "probe"]))]
pub struct ProbeArgs {
    /// Rows to fit on: a table (.csv, .tsv, .jsonl, .json), parquet, or a folder of images with a
    /// folder for each class.
    ///
    /// A folder that holds train and test is taken whole.
    #[arg(long, value_name = "FILE|DIR")]
    pub train: Option<PathBuf>,
    /// Rows to choose the penalty on [default: a tenth of the training rows].
    #[arg(long, value_name = "FILE|DIR", requires = "train")]
    pub validation: Option<PathBuf>,
    /// Rows to score [default: a fifth of the training rows, which is not fitted on].
    #[arg(long, value_name = "FILE|DIR", requires = "train")]
    pub test: Option<PathBuf>,
    /// Keep the probe in a folder.
    #[arg(long, value_name = "DIR", requires = "train")]
    pub save_probe: Option<PathBuf>,
    /// A probe that was kept, in place of one that is fitted.
    #[arg(long, value_name = "DIR", conflicts_with = "train")]
    pub probe: Option<PathBuf>,
    /// Rows to answer for.
    #[command(flatten)]
    pub input: InputArgs,
    /// Where answers go.
    #[command(flatten)]
    pub answers: AnswerArgs,
    /// The task.
    #[command(flatten)]
    pub own: OwnRunArgs,
}

/// Retrieval.
#[derive(Debug, Args)]
pub struct RetrieveArgs {
    /// Images and their captions: a table (.csv, .tsv, .jsonl, .json; a row for each caption, or
    /// several in one), parquet, or a folder of tar shards.
    #[arg(long, value_name = "FILE|DIR")]
    pub pairs: PathBuf,
    /// Put the best so many in a new order by the matching head.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..))]
    pub rerank: Option<u32>,
    /// The task.
    #[command(flatten)]
    pub own: OwnRunArgs,
}
