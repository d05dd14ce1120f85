//! The command lines of the programs: what both take, and what each takes alone.

mod eval;
mod examples;
mod finetune;
mod own;
mod print;
mod results;
mod run;
mod together;

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use clap_complete::Shell;
use flava_model::runtime::{DeviceChoice, Precision, distributed::Place, set_threads};
use flava_tasks::{Protocol, Suite};
use tch::Device;

use crate::Result;

pub use eval::{
    CacheArgs, CacheCommand, Command, CompareArgs, EmbedArgs, EvalArgs, FetchArgs, NewTask,
    RunsArgs, ScoreArgs, TasksArgs, TasksCommand, VerifyArgs,
};
pub use finetune::{FinetuneArgs, FinetuneCommand, FinetuneRunArgs, MergeArgs, PredictArgs};
pub use own::{
    AnswerArgs, ColumnArgs, InputArgs, OwnRunArgs, ProbeArgs, RetrieveArgs, ZeroShotArgs,
};
pub use print::{PrintArgs, PrintFormat, width};
pub use results::{
    BoardFormat, ExportArgs, FigureFormat, LeaderboardArgs, PublishArgs, ReportArgs, ReportSort,
    Thumbs,
};
pub use run::{HowArgs, MethodArg, RunArgs, SweepArg};
pub use together::{ShardArg, TogetherArgs};

/// A suite on the command line.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum SuiteArg {
    /// The paper's 35 tasks.
    Paper,
    /// Zero-shot classification on the paper's vision sets.
    ZeroShot,
    /// The paper's tasks on other splits.
    Variants,
    /// Drawn from emoji.
    Mini,
    /// Those of --task-file.
    Own,
}

impl From<SuiteArg> for Suite {
    fn from(arg: SuiteArg) -> Self {
        match arg {
            SuiteArg::Paper => Self::Paper,
            SuiteArg::ZeroShot => Self::ZeroShot,
            SuiteArg::Variants => Self::Variants,
            SuiteArg::Mini => Self::Mini,
            SuiteArg::Own => Self::Own,
        }
    }
}

/// A protocol on the command line.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub enum ProtocolArg {
    /// The paper's rows, metrics and features.
    #[default]
    Flava,
    /// CLIP's.
    Clip,
    /// Whatever a source calls its splits; projected features.
    AsPublished,
}

impl From<ProtocolArg> for Protocol {
    fn from(arg: ProtocolArg) -> Self {
        match arg {
            ProtocolArg::Flava => Self::Flava,
            ProtocolArg::Clip => Self::Clip,
            ProtocolArg::AsPublished => Self::AsPublished,
        }
    }
}

/// Where data is and whose rows are used.
#[derive(Debug, Args)]
pub struct DataArgs {
    /// Folder of the data: a bundle of `fetch --to`, repositories as DIR/OWNER/NAME, or original
    /// archives [default: the Hub].
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Whose splits, metric and features the numbers follow.
    #[arg(long, value_enum, default_value = "flava")]
    pub protocol: ProtocolArg,
    /// Run on data that is not what the protocol asks for, and mark the record.
    #[arg(long)]
    pub allow_mismatch: bool,
    /// Whether the network may be used.
    #[command(flatten)]
    pub network: NetworkArgs,
    /// A file of tasks of your own; may be repeated. `flava-eval tasks show NAME` prints one to
    /// start from.
    #[arg(long, value_name = "FILE")]
    pub task_file: Vec<PathBuf>,
}

/// Help beyond `--help`, the same for all programs.
#[derive(Debug, Subcommand)]
pub enum HelpCommand {
    /// Print what a shell needs to complete commands: source <(PROGRAM completions bash).
    #[command(after_long_help = examples::COMPLETIONS)]
    Completions {
        /// Which shell.
        shell: Shell,
    },
    /// Write the manual, a page for the program and one for each command.
    #[command(after_long_help = examples::MAN)]
    Man {
        /// Folder of the pages.
        #[arg(value_name = "DIR", default_value = "man")]
        folder: PathBuf,
    },
}

/// Where a program computes and what it says, the same for all programs.
#[derive(Debug, Args)]
pub struct DeviceArgs {
    /// Device: auto, cpu, cuda or cuda:N.
    #[arg(long, default_value = "auto", help_heading = "Running")]
    pub device: DeviceChoice,
    /// Compute precision: f32, bf16 or f16.
    ///
    /// Training keeps weights and norms in f32.
    #[arg(long, default_value = "f32", help_heading = "Running")]
    pub precision: Precision,
    /// Threads of the model and of data loading [default: all cores, of several processes on a
    /// machine each its share].
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024), value_name = "N", help_heading = "Running")]
    pub threads: Option<u16>,
    /// Suppress progress output.
    #[arg(long, short, help_heading = "Output")]
    pub quiet: bool,
}

impl DeviceArgs {
    /// The device, and the number of threads, which libtorch is told; what `auto` chose is said on
    /// stderr.
    ///
    /// # Errors
    ///
    /// A device that is not there.
    pub fn resolve(&self) -> Result<(Device, usize)> {
        let place = Place::of_environment()?;
        let device = self.device.resolve(&place)?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let share = || (cores / place.local_world).max(1);
        let threads = self.threads.map_or_else(share, usize::from);
        set_threads(threads);
        if self.device == DeviceChoice::Auto && !self.quiet {
            let (name, precision) = (device_name(device), self.precision.name());
            flava_base::say(&format!("device: {name} in {precision}, {threads} threads"));
        }
        Ok((device, threads))
    }
}

/// A device as it is written in records: cpu or cuda:N.
pub fn device_name(device: Device) -> String {
    match device {
        Device::Cuda(index) => format!("cuda:{index}"),
        _ => "cpu".into(),
    }
}

/// Whether the network may be used, the same for all programs.
#[derive(Debug, Args)]
pub struct NetworkArgs {
    /// Open no socket; `HF_HUB_OFFLINE=1` does the same.
    #[arg(long)]
    pub offline: bool,
}

/// How a model is loaded and run.
#[derive(Debug, Args)]
pub struct ModelArgs {
    /// Where.
    #[command(flatten)]
    pub device_args: DeviceArgs,
    /// Rows that are encoded at once: a number, or auto, which steps down where memory is short.
    ///
    /// Scores depend on it by rounding at most.
    #[arg(
        long,
        default_value = "auto",
        value_name = "N|auto",
        help_heading = "Running"
    )]
    pub batch_size: BatchSize,
    /// Pillow's way of resizing: 13 (today's) or 12 and before.
    ///
    /// About one byte in a hundred of tall images differs.
    #[arg(long, default_value_t = 13, value_parser = clap::value_parser!(u8).range(12..=13), value_name = "VERSION", help_heading = "Running")]
    pub pillow: u8,
    /// Leave rows with broken images out instead of failing the task.
    ///
    /// They are counted.
    #[arg(long, help_heading = "Running")]
    pub skip_broken: bool,
}

/// How many rows are encoded at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchSize {
    /// As many as the device is good for, fewer where its memory is too small.
    Auto,
    /// So many.
    Rows(usize),
}

impl BatchSize {
    /// Rows to begin with on a device.
    pub fn rows(self, device: tch::Device) -> usize {
        match self {
            Self::Rows(rows) => rows,
            Self::Auto if device.is_cuda() => 256,
            Self::Auto => 32,
        }
    }

    /// Whether it may be lowered.
    pub fn is_auto(self) -> bool {
        self == Self::Auto
    }
}

impl std::str::FromStr for BatchSize {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text.parse() {
            _ if text == "auto" => Ok(Self::Auto),
            Ok(rows @ 1..=4096) => Ok(Self::Rows(rows)),
            _ => Err(format!("{text:?} is neither auto nor 1 to 4096")),
        }
    }
}
