//! From what was typed to what will be done.

mod limit;
mod model;
mod out;
mod own;
mod settings;
mod subject;
mod task_run;
mod tuning;

use std::path::{Path, PathBuf};

use flava_tasks::{Feature, Protocol, Registry, Suite, Task, select};

pub use limit::Limit;
pub use model::{Loaded, ModelChoice};
pub use out::Out;
pub(crate) use out::RUNS;
pub(crate) use own::{OwnData, OwnTask, columns_of, method};
pub use settings::Settings;
pub(crate) use subject::OpenSubject;
pub use subject::Subject;
pub use task_run::TaskRun;
pub use tuning::{Tuning, TuningRun};

use crate::{
    Error, Result,
    args::{HowArgs, MethodArg, NetworkArgs, OwnRunArgs, RunArgs, SweepArg},
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
    /// Where results go.
    pub out: Out,
    /// Rows of each split to use.
    pub limit: Option<Limit>,
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
    /// The folder that a linear probe is kept in; from the run's folder where it is relative.
    pub save_probe: Option<PathBuf>,
    /// Whether features are stored and stored ones used.
    pub cache: bool,
    /// Whether tasks whose records are there are run again.
    pub again: bool,
    /// How tasks are fine-tuned.
    pub tuning: Tuning,
    /// How the model is run.
    pub settings: Settings,
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

/// The tasks that are asked for by name; without a name those of the files, or where there are
/// none, those of a suite.
fn asked_for(
    files: &[PathBuf],
    list: Option<&str>,
    suite: Option<Suite>,
    default: Suite,
) -> Result<Vec<Task>> {
    let registry = registry_of(files)?;
    if let (None, None, [_, ..]) = (list, suite, files) {
        let built_in = Registry::built_in()?.tasks().len();
        return Ok(registry.tasks()[built_in..].to_vec());
    }
    tasks_of(&registry, list.unwrap_or("all"), suite.unwrap_or(default))
}

fn subject_of(args: &RunArgs) -> Result<Subject> {
    match &args.features_from {
        Some(folder) => GivenFolder::open(folder).map(Subject::Given),
        None => ModelChoice::new(args.how.model.as_ref()).map(Subject::Model),
    }
}

fn locator_of(data: Option<&PathBuf>, network: &NetworkArgs, quiet: bool) -> Result<DataLocator> {
    DataLocator::new(data.cloned(), network.offline, quiet)
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
        let (data, how) = (&args.data_args, &args.how);
        let default = if how.model.is_some() || args.features_from.is_some() {
            Suite::Paper
        } else {
            Suite::Mini
        };
        let suite = args.suite.map(Into::into);
        let tasks = asked_for(&data.task_file, args.tasks.as_deref(), suite, default)?;
        let quiet = how.model_args.device_args.quiet;
        let locator = locator_of(data.data.as_ref(), &data.network, quiet)?;
        let subject = subject_of(args)?;
        let mut plan = Self::measured(subject, tasks, locator, how)?;
        plan.protocol = data.protocol.into();
        plan.allow_mismatch = data.allow_mismatch;
        plan.prompts.clone_from(&args.prompts);
        Ok(plan)
    }

    /// Decides the run of a task of one's own.
    pub(crate) fn of_own(task: &OwnTask, args: &OwnRunArgs) -> Result<Self> {
        let how = &args.how;
        let quiet = how.model_args.device_args.quiet;
        let locator = locator_of(None, &args.network, quiet)?;
        let subject = Subject::Model(ModelChoice::new(how.model.as_ref())?);
        let tasks = vec![locator.whole(&task.read()?)?];
        if !quiet {
            task.say();
        }
        Self::measured(subject, tasks, locator, how)
    }

    /// A subject on tasks, as the arguments say.
    fn measured(
        subject: Subject,
        tasks: Vec<Task>,
        locator: DataLocator,
        how: &HowArgs,
    ) -> Result<Self> {
        let mut settings = Settings::new(&how.model_args)?;
        settings.store_f16 = how.store == "f16";
        let mut plan = Self::plain(
            subject,
            tasks,
            Out::new(how.out.as_ref()),
            locator,
            settings,
        );
        plan.limit = how.limit;
        plan.seed = how.seed;
        plan.method = how
            .method
            .filter(|method| *method != MethodArg::LinearProbe);
        plan.features.clone_from(&how.features);
        plan.full_sweep = how.sweep == SweepArg::Full;
        plan.preview = how.preview;
        plan.cache = !how.no_cache;
        plan.again = how.again;
        plan.complete_tasks();
        Ok(plan)
    }

    /// Fills in what the rows of tasks leave to their data; one of which that cannot be done fails
    /// where it is run.
    fn complete_tasks(&mut self) {
        for task in &mut self.tasks {
            if let Ok(whole) = self.locator.whole(task) {
                *task = whole;
            }
        }
    }

    /// A subject on tasks as the paper has them, without stored features; results go to `out`.
    fn plain(
        subject: Subject,
        tasks: Vec<Task>,
        out: Out,
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
            save_probe: None,
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
        let out = Out::Folder(out);
        Ok(Self::plain(subject, tasks, out, locator, settings))
    }
}
