//! From what was typed to what will be done.

use std::path::{Path, PathBuf};

use flava_model::{
    AttentionKind, LoadOptions, Pretrained,
    hub::{RepoId, RepoKind},
    processor::PassOrder,
    runtime::{DeviceChoice, LoaderOptions, set_threads},
};
use flava_tasks::{Assignment, Feature, Method, Protocol, Recipe, Registry, Suite, Task, select};

use crate::{
    Error, Result,
    args::{BatchSize, FinetuneRunArgs, MethodArg, ModelArgs, RunArgs, SweepArg},
    embedded,
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
    /// Its folder.
    pub folder: PathBuf,
}

impl ModelChoice {
    pub(crate) fn new(model: Option<&String>) -> Result<Self> {
        let Some(text) = model else {
            return Ok(Self::Embedded);
        };
        // A folder that is there wins over a repository of the same name.
        let folder = Path::new(text);
        if folder.exists() {
            // What flava-finetune writes holds its best checkpoint in a folder of its own.
            let best = folder.join("best");
            let tuned = !folder.join("config.json").exists() && best.join("config.json").exists();
            return Ok(Self::Directory(if tuned {
                best
            } else {
                folder.to_owned()
            }));
        }
        let repo = RepoId::parse(RepoKind::Model, text);
        repo.map(Self::Hub).map_err(|_| {
            Error::Other(format!(
                "--model {text}: is no folder, and no owner/name on the Hub"
            ))
        })
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
        let (folder, revision) = match self {
            Self::Embedded => (embedded::folder()?, String::new()),
            Self::Directory(path) => (path.clone(), String::new()),
            Self::Hub(repo) => places.model(repo)?,
        };
        Ok(Loaded {
            model: Pretrained::open(&folder, settings.load)?,
            revision,
            folder,
        })
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
    pub batch_size: BatchSize,
    /// Whether features are kept in f16.
    pub store_f16: bool,
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
            load: LoadOptions {
                device,
                precision: args.precision,
                attention: AttentionKind::Fused,
            },
            batch_size: args.batch_size,
            store_f16: false,
            threads,
            order: if args.pillow == 12 {
                PassOrder::Pillow12
            } else {
                PassOrder::Pillow13
            },
            skip_broken: args.skip_broken,
            quiet: args.quiet,
        };
        if args.device == DeviceChoice::Auto && !args.quiet {
            flava_base::say(&format!(
                "device: {} in {}, {threads} threads",
                settings.device_name(),
                args.precision.name()
            ));
        }
        Ok(settings)
    }

    /// How batches are prepared: on all threads, one batch more than there are of them.
    pub(crate) fn loader(&self) -> LoaderOptions {
        LoaderOptions {
            threads: self.threads,
            ahead: self.threads + 1,
        }
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
    /// How the tasks of linear probes are run, if not by one.
    pub method: Option<MethodArg>,
    /// The states that are read, if not those of the tasks' rows.
    pub features: Vec<Feature>,
    /// Whether probes try every penalty.
    pub full_sweep: bool,
    /// Whether ridge regression comes first.
    pub preview: bool,
    /// Whether features are stored and stored ones used.
    pub cache: bool,
    /// Whether tasks whose records are there are run again.
    pub again: bool,
    /// How tasks are fine-tuned.
    pub tuning: Tuning,
    /// How the model is run.
    pub settings: Settings,
}

/// How tasks are fine-tuned.
#[derive(Clone, Debug, Default)]
pub struct Tuning {
    /// Whether every task is, also those that are probed otherwise.
    pub always: bool,
    /// In place of the tasks' recipes.
    pub recipe: Option<PathBuf>,
    /// Over the recipe: `key=value`.
    pub set: Vec<String>,
    /// Whether weights start at random.
    pub random_init: bool,
    /// Rows at once; 0 decides by itself.
    pub micro_batch: usize,
    /// Whether activations are computed again.
    pub recompute: bool,
    /// Whether there must be something to go on from.
    pub resume: bool,
}

/// A task, read and run in one way.
#[derive(Clone, Debug)]
pub struct TaskRun {
    /// The task.
    pub task: Task,
    /// How it is run.
    pub assignment: Assignment,
    /// What differs from the task's row; empty if nothing does.
    pub variant: String,
}

impl TaskRun {
    /// The name of its files.
    pub fn name(&self) -> String {
        if self.variant.is_empty() {
            self.task.name.clone()
        } else {
            format!("{}.{}", self.task.name, self.variant)
        }
    }

    /// A task that is fine-tuned, whatever its own method is.
    fn tuned(task: &Task, assignment: Assignment) -> Result<Self> {
        let method = assignment.method.name();
        let is_own = matches!(assignment.method, Method::FineTune { .. });
        let Some(feature) = assignment.method.feature() else {
            let name = &task.name;
            let reason = format!("{name} is run by {method}: there is nothing to fine-tune");
            return Err(Error::Other(reason));
        };
        Ok(Self {
            task: task.clone(),
            assignment: Assignment {
                method: Method::FineTune { feature },
                ..assignment
            },
            variant: if is_own { "" } else { "fine_tune" }.to_owned(),
        })
    }
}

impl Plan {
    /// Decides a run.
    pub fn new(args: &RunArgs) -> Result<Self> {
        let registry = registry_of(&args.data_args.task_file)?;
        let default = if args.model.is_some() {
            Suite::Paper
        } else {
            Suite::Mini
        };
        if let Some(folder) = args.prompts.as_ref().filter(|folder| !folder.is_dir()) {
            return Err(Error::Other(format!(
                "--prompts {}: there is no such folder",
                folder.display()
            )));
        }
        let suite = args.suite.map_or(default, Into::into);
        let quiet = args.model_args.quiet;
        let tasks = select(&registry, &args.tasks, suite)?
            .into_iter()
            .cloned()
            .collect();
        let places = Places::new(args.data_args.data.clone(), args.data_args.offline, quiet)?;
        let settings = Settings {
            store_f16: args.store == "f16",
            ..Settings::new(&args.model_args)?
        };
        Ok(Self {
            protocol: args.data_args.protocol.into(),
            allow_mismatch: args.data_args.allow_mismatch,
            prompts: args.prompts.clone(),
            limit: args.limit.map(|n| n as usize),
            seed: args.seed,
            method: args
                .method
                .filter(|method| *method != MethodArg::LinearProbe),
            features: args.features.clone(),
            full_sweep: args.sweep == SweepArg::Full,
            preview: args.preview,
            cache: !args.no_cache,
            again: args.again,
            ..Self::plain(
                ModelChoice::new(args.model.as_ref())?,
                tasks,
                args.out.clone(),
                (places, settings),
            )
        })
    }

    /// A model on tasks as the paper has them, without stored features; results go to `out`.
    fn plain(
        model: ModelChoice,
        tasks: Vec<Task>,
        out: PathBuf,
        (places, settings): (Places, Settings),
    ) -> Self {
        Self {
            model,
            tasks,
            protocol: Protocol::Flava,
            allow_mismatch: false,
            places,
            prompts: None,
            out,
            limit: None,
            seed: 0,
            method: None,
            features: Vec::new(),
            full_sweep: false,
            preview: false,
            cache: false,
            again: false,
            tuning: Tuning::default(),
            settings,
        }
    }

    /// The measurement of a folder's model on built-in tasks, while it is trained.
    pub fn of_checkpoint(
        folder: &Path,
        tasks: &str,
        out: PathBuf,
        how: (Places, Settings),
    ) -> Result<Self> {
        let registry = registry_of(&[])?;
        let tasks = select(&registry, tasks, Suite::Paper)?
            .into_iter()
            .cloned()
            .collect();
        Ok(Self::plain(
            ModelChoice::Directory(folder.to_owned()),
            tasks,
            out,
            how,
        ))
    }

    /// Decides a fine-tuning, for one of its seeds.
    pub fn of_tuning(args: &FinetuneRunArgs, seed: u64) -> Result<Self> {
        let registry = registry_of(&args.data_args.task_file)?;
        let name = args
            .task
            .as_ref()
            .ok_or_else(|| Error::Other("name a task, such as vqa".into()))?;
        let tasks: Vec<Task> = select(&registry, name, Suite::Paper)?
            .into_iter()
            .cloned()
            .collect();
        if tasks.len() != 1 {
            return Err(Error::Other(format!(
                "{name} names {} tasks: one is fine-tuned at a time",
                tasks.len()
            )));
        }
        Recipe::of(&tasks[0], args.recipe.as_deref(), &args.set)?;
        let places = Places::new(
            args.data_args.data.clone(),
            args.data_args.offline,
            args.model_args.quiet,
        )?;
        let out = if args.seeds > 1 {
            args.out.join(format!("seed-{seed}"))
        } else {
            args.out.clone()
        };
        let model = ModelChoice::new(args.model.as_ref())?;
        let plan = Self {
            protocol: args.data_args.protocol.into(),
            allow_mismatch: args.data_args.allow_mismatch,
            limit: args.limit.map(|n| n as usize),
            seed,
            tuning: Tuning {
                always: true,
                recipe: args.recipe.clone(),
                set: args.set.clone(),
                random_init: args.random_init,
                micro_batch: args.micro_batch,
                recompute: args.recompute,
                resume: args.resume && seed == args.seed,
            },
            ..Self::plain(
                model,
                tasks,
                out,
                (places, Settings::new(&args.model_args)?),
            )
        };
        plan.task_runs(&plan.tasks[0])?;
        Ok(plan)
    }

    /// The ways in which a task is run, one for each feature that is asked for.
    pub(crate) fn task_runs(&self, task: &Task) -> Result<Vec<TaskRun>> {
        let protocol = self.protocol.name();
        let none = || Error::Other(format!("{} has no protocol {protocol}", task.name));
        let assignment = task.assign(self.protocol).ok_or_else(none)?;
        if self.tuning.always {
            return Ok(vec![TaskRun::tuned(task, assignment)?]);
        }
        let Method::LinearProbe { feature } = assignment.method else {
            return Ok(vec![TaskRun {
                task: task.clone(),
                assignment,
                variant: String::new(),
            }]);
        };
        let features = if self.features.is_empty() {
            vec![feature]
        } else {
            self.features.clone()
        };
        let fitting = features
            .into_iter()
            .filter(|read| read.tower == feature.tower);
        let task_runs: Vec<TaskRun> = fitting
            .map(|read| self.probed(task, &assignment, read))
            .collect();
        if task_runs.is_empty() {
            let (name, feature) = (&task.name, feature.name());
            let reason = format!("{name} reads {feature}: none of --features is of that encoder");
            return Err(Error::Other(reason));
        }
        Ok(task_runs)
    }

    /// A task of a linear probe, on other states or by another method where that is asked for.
    fn probed(&self, task: &Task, assignment: &Assignment, read: Feature) -> TaskRun {
        let own = assignment.method.feature();
        let mut assignment = assignment.clone();
        let mut variant = Vec::new();
        match self.method {
            Some(MethodArg::Knn) => assignment.method = Method::Knn { feature: read },
            Some(MethodArg::FewShot) => assignment.method = Method::FewShot { feature: read },
            _ => assignment.method.set_feature(read),
        }
        if self.method.is_some() {
            variant.push(assignment.method.name().to_owned());
        }
        if own != Some(read) {
            variant.push(read.name());
        }
        if self.full_sweep && self.method.is_none() {
            variant.push("full_sweep".to_owned());
        }
        TaskRun {
            task: task.clone(),
            assignment,
            variant: variant.join("."),
        }
    }
}
