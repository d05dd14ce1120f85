//! `flava-eval fetch`: what tasks and a model need from the Hub, into the cache or into a sealed
//! folder.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use flava_model::{
    Error as ModelError,
    hub::{Destination, Hub, Job, Listing, RepoId, RepoKind},
};
use flava_tasks::{Method, Protocol, Source, Task, select, sources::PROMPT_FILES};
use indicatif::HumanBytes;

use crate::{
    Error, Result,
    args::FetchArgs,
    bundle::{Manifest, SealedTask},
    locator::{DataLocator, jobs_of, model_jobs, source_jobs},
    plan::registry_of,
};

/// How fetching ended.
#[derive(Debug, Default)]
pub struct Fetched {
    /// What was said before it started.
    pub plan: String,
    /// Tasks whose data could not be found, and why.
    pub failures: Vec<(String, Error)>,
}

/// Files of one repository.
struct Part {
    folder: String,
    commit: String,
    jobs: Vec<Job>,
}

/// What a task needs.
struct TaskNeeds {
    parts: Vec<Part>,
    sealed: SealedTask,
}

/// What tasks and a model need.
#[derive(Default)]
struct Needs {
    /// By folder.
    parts: BTreeMap<String, Part>,
    /// By name.
    tasks: BTreeMap<String, SealedTask>,
}

/// Finds out what is needed, says so, and fetches it.
pub fn fetch(args: &FetchArgs) -> Result<Fetched> {
    let locator = DataLocator {
        data: None,
        manifest: None,
        hub: Hub::from_environment(false).into(),
        quiet: args.quiet,
    };
    let mut fetched = Fetched::default();
    let needs = needs(&locator, args, &mut fetched.failures)?;
    fetched.plan = needs.describe(&locator.hub, args.to.as_ref());
    if !args.quiet {
        fetched.plan.lines().for_each(flava_base::say);
    }
    if args.dry_run {
        return Ok(fetched);
    }
    locator.fetch(&needs.jobs())?;
    if let Some(to) = &args.to {
        needs.seal(to)?;
    }
    Ok(fetched)
}

/// What is asked for needs; tasks whose data cannot be found go to the failures.
fn needs(
    locator: &DataLocator,
    args: &FetchArgs,
    failures: &mut Vec<(String, Error)>,
) -> Result<Needs> {
    let registry = registry_of(&args.task_file)?;
    let tasks = match &args.tasks {
        Some(list) => select(&registry, list, args.suite.into())?,
        None => Vec::new(),
    };
    let mut needs = Needs::default();
    if let Some(model) = &args.model {
        needs.add(model_part(locator, model, args.to.as_ref())?)?;
    }
    for task in tasks {
        match of_task(locator, task, args) {
            Ok(None) => {}
            Ok(Some(of_task)) => needs.add_task(&task.name, of_task)?,
            Err(error) => failures.push((task.name.clone(), error)),
        }
    }
    Ok(needs)
}

impl Needs {
    fn add_task(&mut self, name: &str, needs: TaskNeeds) -> Result<()> {
        self.tasks.insert(name.to_owned(), needs.sealed);
        needs.parts.into_iter().try_for_each(|part| self.add(part))
    }

    /// Several tasks may need files of one repository; in one folder they must be of one commit.
    fn add(&mut self, part: Part) -> Result<()> {
        let Some(known) = self.parts.get_mut(&part.folder) else {
            self.parts.insert(part.folder.clone(), part);
            return Ok(());
        };
        if known.commit != part.commit {
            let (folder, one, other) = (&part.folder, &known.commit, &part.commit);
            return Err(Error::Mismatch {
                what: "commit",
                reason: format!(
                    "{folder} is needed at {one} and at {other}: fetch the tasks apart"
                ),
            });
        }
        for job in part.jobs {
            let is_known = |other: &Job| other.file.path == job.file.path;
            if !known.jobs.iter().any(is_known) {
                known.jobs.push(job);
            }
        }
        Ok(())
    }

    fn jobs(&self) -> Vec<Job> {
        let parts = self.parts.values();
        parts.flat_map(|part| part.jobs.iter().cloned()).collect()
    }

    /// What will be fetched, a line for each repository, and how much of it is there already.
    fn describe(&self, hub: &Hub, to: Option<&PathBuf>) -> String {
        let size = |jobs: &[&Job]| HumanBytes(jobs.iter().map(|job| job.file.size).sum());
        let mut lines = Vec::new();
        let mut missing = Vec::new();
        for part in self.parts.values() {
            let all: Vec<&Job> = part.jobs.iter().collect();
            let lacking: Vec<&Job> = part.jobs.iter().filter(|job| !hub.is_done(job)).collect();
            let (folder, commit) = (&part.folder, &part.commit[..8]);
            let (count, bytes, left) = (all.len(), size(&all), size(&lacking));
            lines.push(format!(
                "{folder} at {commit}: {count} files, {bytes}, of which {left} are missing"
            ));
            missing.extend(lacking);
        }
        let folder = to.map_or_else(|| hub.cache().display(), |to| to.display());
        let (count, bytes) = (missing.len(), size(&missing));
        lines.push(format!("{count} files, {bytes} to fetch into {folder}"));
        lines.join("\n")
    }

    /// Says in a folder's manifest what was fetched into it.
    fn seal(self, to: &Path) -> Result<()> {
        let mut manifest = Manifest::load(to)?.unwrap_or_default();
        manifest.program = format!("flava {}", env!("CARGO_PKG_VERSION"));
        manifest.tasks.extend(self.tasks);
        for part in self.parts.into_values() {
            manifest.set_revision(&part.folder, part.commit);
            for job in &part.jobs {
                manifest.seal(to, &format!("{}/{}", part.folder, job.file.path))?;
            }
        }
        manifest.write(to)
    }
}

fn destination(to: Option<&PathBuf>, folder: &str) -> Destination {
    to.map_or(Destination::Cache, |to| {
        Destination::Folder(to.join(folder))
    })
}

fn model_part(locator: &DataLocator, model: &str, to: Option<&PathBuf>) -> Result<Part> {
    let repo = RepoId::parse(RepoKind::Model, model).map_err(ModelError::from)?;
    let listing = locator.hub.list(&repo).map_err(ModelError::from)?;
    let folder = format!("models/{}", repo.name);
    Ok(Part {
        commit: listing.repo.revision.clone(),
        jobs: model_jobs(&listing, &destination(to, &folder))?,
        folder,
    })
}

/// What a task needs; nothing if its data is drawn.
fn of_task(locator: &DataLocator, task: &Task, args: &FetchArgs) -> Result<Option<TaskNeeds>> {
    let task = &locator.whole(task)?;
    let is_drawn = |source: &Source| source.repo.is_empty() && source.folder.is_empty();
    if task.sources.iter().all(is_drawn) {
        return Ok(None);
    }
    let protocol = Protocol::from(args.protocol);
    let none = || Error::Lacking {
        what: "protocol",
        reason: format!("has no protocol {}", protocol.name()),
    };
    let assignment = task.assign(protocol).ok_or_else(none)?;
    let (repo, listing, source) = locator.hub_files(task, &assignment, args.allow_mismatch)?;
    let to = args.to.as_ref();
    let mut parts = vec![Part {
        jobs: source_jobs(&listing, &source, &destination(to, &repo.name)),
        folder: repo.name.clone(),
        commit: listing.repo.revision.clone(),
    }];
    for (repo, listing, place) in locator.image_files(&source)? {
        parts.push(Part {
            jobs: source_jobs(&listing, &place, &destination(to, &repo.name)),
            folder: repo.name,
            commit: listing.repo.revision,
        });
    }
    parts.extend(prompts_of(locator, &assignment.method, &listing, to)?);
    let splits = source
        .splits()
        .map(|split| (split.name.clone(), split.rows));
    let sealed = SealedTask {
        source: repo.name,
        protocol: assignment.protocol.name().into(),
        splits: splits.collect(),
        licence: task.licence.clone(),
        citation: task.citation.clone(),
    };
    Ok(Some(TaskNeeds { parts, sealed }))
}

/// The class names and templates of a zero-shot task that are neither in its row nor beside its
/// data: of the first repository that has them.
fn prompts_of(
    locator: &DataLocator,
    method: &Method,
    listing: &Listing,
    to: Option<&PathBuf>,
) -> Result<Option<Part>> {
    let Method::ZeroShot {
        prompts,
        class_names,
        ..
    } = method
    else {
        return Ok(None);
    };
    let mut files = listing.files.iter();
    if !class_names.is_empty() || files.any(|file| file.path == PROMPT_FILES[0]) {
        return Ok(None);
    }
    let mut refused = None;
    for repository in prompts {
        match prompts_part(locator, repository, to) {
            Ok(part) => return Ok(Some(part)),
            Err(error) => refused = refused.or(Some(error)),
        }
    }
    refused.map_or(Ok(None), Err)
}

/// The class names and templates of a repository that is fetched for nothing else.
fn prompts_part(locator: &DataLocator, repository: &str, to: Option<&PathBuf>) -> Result<Part> {
    let repo = RepoId::parse(RepoKind::Dataset, repository).map_err(ModelError::from)?;
    let listing = locator.hub.list(&repo).map_err(ModelError::from)?;
    let jobs = jobs_of(&listing, &PROMPT_FILES, &destination(to, &repo.name));
    Ok(Part {
        folder: repo.name,
        commit: listing.repo.revision,
        jobs,
    })
}
