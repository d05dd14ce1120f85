//! From what was typed to what will be done.

use std::path::PathBuf;

use flava_model::{
    AttentionKind, LoadOptions, Pretrained,
    processor::PassOrder,
    runtime::{DeviceChoice, LoaderOptions, set_threads},
};
use flava_tasks::{Registry, Suite, Task, select};

use crate::{
    Error, Result,
    args::{ModelArgs, RunArgs, SuiteArg},
    embedded::embedded,
};

/// Which model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelChoice {
    /// The small one that is part of the program.
    Embedded,
    /// A Hugging Face directory.
    Directory(PathBuf),
}

impl ModelChoice {
    pub(crate) fn new(model: Option<&PathBuf>) -> Self {
        model.map_or(Self::Embedded, |path| Self::Directory(path.clone()))
    }

    /// As it is written in records.
    pub fn name(&self) -> String {
        match self {
            Self::Embedded => "embedded".into(),
            Self::Directory(path) => path.display().to_string(),
        }
    }

    /// Loads it for inference.
    pub fn load(&self, settings: &Settings) -> Result<Pretrained> {
        Ok(match self {
            Self::Embedded => embedded(settings.load)?,
            Self::Directory(path) => Pretrained::open(path, settings.load)?,
        })
    }
}

/// How a model is run.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Device, precision, attention.
    pub load: LoadOptions,
    /// Rows encoded at once.
    pub batch_size: usize,
    /// Threads of decoding.
    pub threads: usize,
    /// Order of the passes of resizing.
    pub order: PassOrder,
    /// Whether rows with broken pictures are left out.
    pub skip_broken: bool,
    /// Whether nothing is said on stderr but errors.
    pub quiet: bool,
}

impl Settings {
    /// Resolves the device, saying on stderr what `auto` chose, and sets libtorch's threads.
    pub fn new(args: &ModelArgs) -> Result<Self> {
        let device = args.device.resolve()?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = args.threads.map_or(cores, usize::from);
        set_threads(threads);
        let settings = Self {
            load: LoadOptions { device, precision: args.precision, attention: AttentionKind::Fused },
            batch_size: args.batch_size.into(),
            threads,
            order: if args.pillow == 12 { PassOrder::Pillow12 } else { PassOrder::Pillow13 },
            skip_broken: args.skip_broken,
            quiet: args.quiet,
        };
        if args.device == DeviceChoice::Auto && !args.quiet {
            eprintln!("device: {} in {}, {threads} threads", settings.device_name(), args.precision.name());
        }
        Ok(settings)
    }

    /// How batches are prepared: on all threads, one batch more than there are of them.
    pub(crate) fn loader(&self) -> LoaderOptions {
        LoaderOptions { threads: self.threads, ahead: self.threads + 1 }
    }

    /// As it is written in records.
    pub fn device_name(&self) -> String {
        match self.load.device {
            tch::Device::Cuda(index) => format!("cuda:{index}"),
            _ => "cpu".into(),
        }
    }
}

/// A run, decided.
#[derive(Debug)]
pub struct Plan {
    /// What is measured.
    pub model: ModelChoice,
    /// On which tasks, in order.
    pub tasks: Vec<Task>,
    /// Folder of the data.
    pub data: Option<PathBuf>,
    /// Folder of the results.
    pub out: PathBuf,
    /// Rows of each split to use.
    pub limit: Option<usize>,
    /// Of sampling, splitting and drawing.
    pub seed: u64,
    /// How the model is run.
    pub settings: Settings,
}

impl Plan {
    /// Decides a run.
    pub fn new(args: &RunArgs) -> Result<Self> {
        let mut registry = Registry::built_in()?;
        for file in &args.task_file {
            registry.add_file(file)?;
        }
        let suite = match args.suite {
            Some(SuiteArg::Paper) => Suite::Paper,
            Some(SuiteArg::Mini) => Suite::Mini,
            Some(SuiteArg::Own) => Suite::Own,
            None if args.model.is_some() => Suite::Paper,
            None => Suite::Mini,
        };
        if let Some(data) = args.data.as_ref().filter(|data| !data.is_dir()) {
            return Err(Error::Other(format!("--data {}: there is no such folder", data.display())));
        }
        let tasks = select(&registry, &args.tasks, suite)?.into_iter().cloned().collect();
        Ok(Self {
            model: ModelChoice::new(args.model.as_ref()),
            tasks,
            data: args.data.clone(),
            out: args.out.clone(),
            limit: args.limit.map(|n| n as usize),
            seed: args.seed,
            settings: Settings::new(&args.model_args)?,
        })
    }
}
