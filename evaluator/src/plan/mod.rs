//! From what was typed to what will be done.

mod model;
mod settings;
mod subject;
mod task_run;

use std::path::{Path, PathBuf};

use flava_tasks::{Feature, Protocol, Recipe, Registry, Suite, Task, select};

pub use model::{Loaded, ModelChoice};
pub use settings::Settings;
pub(crate) use subject::OpenSubject;
pub use subject::Subject;
pub use task_run::TaskRun;

use crate::{
    Error, Result,
    args::{DataArgs, FinetuneRunArgs, MethodArg, ModelArgs, RunArgs, SweepArg},
    given::GivenFolder,
    locator::DataLocator,
};

/// A run, decided.
#[derive(Debug)]
pub struct Plan {
    /// What is measured.
    pub subject: Subject,
    /// On which tasks, in order.
    pub tasks: Vec<Task>,
    /// Whose rules the numbers follow.
    pub protocol: Protocol,
    /// Whether data that is not the protocol's is used all the same.
    pub allow_mismatch: bool,
    /// Where models and data are.
    pub locator: DataLocator,
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

/// The built-in tasks and those of files.
pub(crate) fn registry_of(files: &[PathBuf]) -> Result<Registry> {
    let mut registry = Registry::built_in()?;
    for file in files {
        registry.add_file(file)?;
    }
    Ok(registry)
}

/// Copies of the tasks that a list names.
fn tasks_of(registry: &Registry, list: &str, suite: Suite) -> Result<Vec<Task>> {
    Ok(select(registry, list, suite)?
        .into_iter()
        .cloned()
        .collect())
}

fn subject_of(args: &RunArgs) -> Result<Subject> {
    match &args.features_from {
        Some(folder) => GivenFolder::open(folder).map(Subject::Given),
        None => ModelChoice::new(args.model.as_ref()).map(Subject::Model),
    }
}

fn locator_of(data: &DataArgs, model: &ModelArgs) -> Result<DataLocator> {
    DataLocator::new(
        data.data.clone(),
        data.network.offline,
        model.device_args.quiet,
    )
}

impl Plan {
    /// Decides a run.
    pub fn new(args: &RunArgs) -> Result<Self> {
        if let Some(folder) = args.prompts.as_ref().filter(|folder| !folder.is_dir()) {
            return Err(Error::Argument {
                argument: "--prompts",
                value: folder.display().to_string(),
                reason: "there is no such folder".into(),
            });
        }
        let (data, model) = (&args.data_args, &args.model_args);
        let default = if args.model.is_some() || args.features_from.is_some() {
            Suite::Paper
        } else {
            Suite::Mini
        };
        let suite = args.suite.map_or(default, Into::into);
        let tasks = tasks_of(&registry_of(&data.task_file)?, &args.tasks, suite)?;
        let locator = locator_of(data, model)?;
        let mut settings = Settings::new(model)?;
        settings.store_f16 = args.store == "f16";
        let subject = subject_of(args)?;
        let mut plan = Self::plain(subject, tasks, args.out.clone(), locator, settings);
        plan.protocol = data.protocol.into();
        plan.allow_mismatch = data.allow_mismatch;
        plan.prompts.clone_from(&args.prompts);
        plan.limit = args.limit.map(|n| n as usize);
        plan.seed = args.seed;
        plan.method = args
            .method
            .filter(|method| *method != MethodArg::LinearProbe);
        plan.features.clone_from(&args.features);
        plan.full_sweep = args.sweep == SweepArg::Full;
        plan.preview = args.preview;
        plan.cache = !args.no_cache;
        plan.again = args.again;
        Ok(plan)
    }

    /// A subject on tasks as the paper has them, without stored features; results go to `out`.
    fn plain(
        subject: Subject,
        tasks: Vec<Task>,
        out: PathBuf,
        locator: DataLocator,
        settings: Settings,
    ) -> Self {
        Self {
            subject,
            tasks,
            protocol: Protocol::Flava,
            allow_mismatch: false,
            locator,
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
        locator: DataLocator,
        settings: Settings,
    ) -> Result<Self> {
        let tasks = tasks_of(&registry_of(&[])?, tasks, Suite::Paper)?;
        let subject = Subject::Model(ModelChoice::Directory(folder.to_owned()));
        Ok(Self::plain(subject, tasks, out, locator, settings))
    }

    /// Decides a fine-tuning, for one of its seeds.
    pub fn of_tuning(args: &FinetuneRunArgs, seed: u64) -> Result<Self> {
        let (data, model) = (&args.data_args, &args.model_args);
        let refused = |reason: String| Error::Usage {
            argument: "TASK",
            reason,
        };
        let none = || refused("name a task, such as vqa".into());
        let name = args.task.as_ref().ok_or_else(none)?;
        let tasks = tasks_of(&registry_of(&data.task_file)?, name, Suite::Paper)?;
        let [task] = tasks.as_slice() else {
            let count = tasks.len();
            let reason = format!("{name} names {count} tasks: one is fine-tuned at a time");
            return Err(refused(reason));
        };
        Recipe::of(task, args.recipe.as_deref(), &args.set)?;
        let out = if args.seeds > 1 {
            args.out.join(format!("seed-{seed}"))
        } else {
            args.out.clone()
        };
        let (locator, settings) = (locator_of(data, model)?, Settings::new(model)?);
        let subject = Subject::Model(ModelChoice::new(args.model.as_ref())?);
        let mut plan = Self::plain(subject, tasks, out, locator, settings);
        plan.protocol = data.protocol.into();
        plan.allow_mismatch = data.allow_mismatch;
        plan.limit = args.limit.map(|n| n as usize);
        plan.seed = seed;
        plan.tuning = Tuning::of(args, seed);
        plan.task_runs(&plan.tasks[0])?;
        Ok(plan)
    }
}

impl Tuning {
    fn of(args: &FinetuneRunArgs, seed: u64) -> Self {
        Self {
            always: true,
            recipe: args.recipe.clone(),
            set: args.set.clone(),
            random_init: args.random_init,
            micro_batch: args.micro_batch,
            recompute: args.recompute,
            resume: args.resume && seed == args.seed,
        }
    }
}
