//! From what was typed to what will be done.

use std::path::{Path, PathBuf};

use flava_model::{
    AttentionKind, LoadOptions, Pretrained,
    hub::{RepoId, RepoKind},
    processor::PassOrder,
    runtime::{DeviceChoice, LoaderOptions, set_threads},
};
use flava_tasks::{Protocol, Registry, Suite, Task, select};

use crate::{
    Error, Result,
    args::{ModelArgs, RunArgs},
    embedded::embedded,
    places::Places,
};

/// Which model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelChoice {
    /// The small one that is part of the program.
    Embedded,
    /// A Hugging Face directory.
    Directory(PathBuf),
    /// A repository of the Hub.
    Hub(RepoId),
}

/// A model that was loaded, and the commit that it came from.
pub struct Loaded {
    /// The model.
    pub model: Pretrained,
    /// Empty where nobody knows.
    pub revision: String,
}

impl ModelChoice {
    pub(crate) fn new(model: Option<&String>) -> Result<Self> {
        let Some(text) = model else { return Ok(Self::Embedded) };
        // A folder that is there wins over a repository of the same name.
        if Path::new(text).exists() {
            return Ok(Self::Directory(text.into()));
        }
        let repo = RepoId::parse(RepoKind::Model, text);
        repo.map(Self::Hub).map_err(|_| Error::Other(format!("--model {text}: is no folder, and no owner/name on the Hub")))
    }

    /// As it is written in records.
    pub fn name(&self) -> String {
        match self {
            Self::Embedded => "embedded".into(),
            Self::Directory(path) => path.display().to_string(),
            Self::Hub(repo) => repo.name.clone(),
        }
    }

    /// Loads it for inference.
    pub fn load(&self, settings: &Settings, places: &Places) -> Result<Loaded> {
        let (model, revision) = match self {
            Self::Embedded => (embedded(settings.load)?, String::new()),
            Self::Directory(path) => (Pretrained::open(path, settings.load)?, String::new()),
            Self::Hub(repo) => {
                let (folder, commit) = places.model(repo)?;
                (Pretrained::open(&folder, settings.load)?, commit)
            }
        };
        Ok(Loaded { model, revision })
    }
}

/// The built-in tasks and those of files.
pub(crate) fn registry_of(files: &[PathBuf]) -> Result<Registry> {
    let mut registry = Registry::built_in()?;
    for file in files {
        registry.add_file(file)?;
    }
    Ok(registry)
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
    /// Whose rules the numbers follow.
    pub protocol: Protocol,
    /// Whether data that is not the protocol's is used all the same.
    pub allow_mismatch: bool,
    /// Where models and data are.
    pub places: Places,
    /// Folder of class names and templates.
    pub prompts: Option<PathBuf>,
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
        let registry = registry_of(&args.data_args.task_file)?;
        let default = if args.model.is_some() { Suite::Paper } else { Suite::Mini };
        let suite = args.suite.map_or(default, Into::into);
        let quiet = args.model_args.quiet;
        let tasks = select(&registry, &args.tasks, suite)?.into_iter().cloned().collect();
        Ok(Self {
            places: Places::new(args.data_args.data.clone(), args.data_args.offline, quiet)?,
            model: ModelChoice::new(args.model.as_ref())?,
            tasks,
            protocol: args.data_args.protocol.into(),
            allow_mismatch: args.data_args.allow_mismatch,
            prompts: args.prompts.clone(),
            out: args.out.clone(),
            limit: args.limit.map(|n| n as usize),
            seed: args.seed,
            settings: Settings::new(&args.model_args)?,
        })
    }
}
