//! `flava-eval fetch`: what tasks and a model need from the Hub, into the cache or into a sealed
//! folder.

use std::{collections::BTreeMap, path::PathBuf};

use flava_model::{
    Error as ModelError,
    hub::{Hub, Job, Place, RepoId, RepoKind},
};
use flava_tasks::{Method, Task, select, sources::PROMPT_FILES};
use indicatif::HumanBytes;

use crate::{
    Error, Result,
    args::FetchArgs,
    bundle::{Manifest, SealedTask},
    places::{Places, jobs_of, model_jobs, source_jobs},
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

/// Finds out what is needed, says so, and fetches it.
pub fn fetch(args: &FetchArgs) -> Result<Fetched> {
    let registry = registry_of(&args.task_file)?;
    let tasks = match &args.tasks {
        Some(list) => select(&registry, list, args.suite.into())?,
        None => Vec::new(),
    };
    let places = Places {
        data: None,
        manifest: None,
        hub: Hub::from_environment(false).into(),
        quiet: args.quiet,
    };
    let mut fetched = Fetched::default();
    let (mut parts, mut sealed) = (BTreeMap::new(), BTreeMap::new());
    if let Some(model) = &args.model {
        let part = model_part(&places, model, args.to.as_ref())?;
        parts.insert(part.folder.clone(), part);
    }
    for task in tasks {
        match task_part(&places, task, args) {
            Ok(None) => {}
            Ok(Some((task_parts, entry))) => {
                sealed.insert(task.name.clone(), entry);
                for part in task_parts {
                    add(&mut parts, part)?;
                }
            }
            Err(error) => fetched.failures.push((task.name.clone(), error)),
        }
    }
    fetched.plan = describe(&parts, &places.hub, args.to.as_ref());
    if !args.quiet {
        fetched.plan.lines().for_each(flava_base::say);
    }
    if args.dry_run {
        return Ok(fetched);
    }
    let jobs: Vec<Job> = parts
        .values()
        .flat_map(|part| part.jobs.iter().cloned())
        .collect();
    places.fetch(&jobs)?;
    if let Some(to) = &args.to {
        let mut manifest = Manifest::load(to)?.unwrap_or_default();
        manifest.program = format!("flava {}", env!("CARGO_PKG_VERSION"));
        manifest.tasks.extend(sealed);
        for part in parts.values() {
            if manifest
                .revisions
                .insert(part.folder.clone(), part.commit.clone())
                .is_some_and(|before| before != part.commit)
            {
                manifest.forget(&part.folder);
            }
            for job in &part.jobs {
                manifest.seal(to, &format!("{}/{}", part.folder, job.file.path))?;
            }
        }
        manifest.write(to)?;
    }
    Ok(fetched)
}

/// Several tasks may need files of one repository; in one folder they must be of one commit.
fn add(parts: &mut BTreeMap<String, Part>, part: Part) -> Result<()> {
    let known = parts.entry(part.folder.clone()).or_insert_with(|| Part {
        folder: part.folder.clone(),
        commit: part.commit.clone(),
        jobs: Vec::new(),
    });
    if known.commit != part.commit {
        return Err(Error::Other(format!(
            "{} is needed at {} and at {}: fetch the tasks apart",
            part.folder, known.commit, part.commit
        )));
    }
    for job in part.jobs {
        if !known
            .jobs
            .iter()
            .any(|other| other.file.path == job.file.path)
        {
            known.jobs.push(job);
        }
    }
    Ok(())
}

fn place(to: Option<&PathBuf>, folder: &str) -> Place {
    to.map_or(Place::Cache, |to| Place::Folder(to.join(folder)))
}

fn model_part(places: &Places, model: &str, to: Option<&PathBuf>) -> Result<Part> {
    let repo = RepoId::parse(RepoKind::Model, model).map_err(ModelError::from)?;
    let listing = places.hub.list(&repo).map_err(ModelError::from)?;
    let folder = format!("models/{}", repo.name);
    Ok(Part {
        commit: listing.repo.revision.clone(),
        jobs: model_jobs(&listing, &place(to, &folder))?,
        folder,
    })
}

/// What a task needs; nothing if its data is drawn.
fn task_part(
    places: &Places,
    task: &Task,
    args: &FetchArgs,
) -> Result<Option<(Vec<Part>, SealedTask)>> {
    if task
        .sources
        .iter()
        .all(|source| source.repo.is_empty() && source.folder.is_empty())
    {
        return Ok(None);
    }
    let protocol = args.protocol.into();
    let assignment = task
        .assign(protocol)
        .ok_or_else(|| Error::Other(format!("has no protocol {}", protocol.name())))?;
    let (repo, listing, source) = places.hub_files(task, &assignment, args.allow_mismatch)?;
    let jobs = source_jobs(&listing, source, &place(args.to.as_ref(), &repo.name));
    let mut parts = vec![Part {
        folder: repo.name.clone(),
        commit: listing.repo.revision.clone(),
        jobs,
    }];
    if let Method::ZeroShot {
        prompts,
        class_names,
        ..
    } = &assignment.method
        && class_names.is_empty()
        && !listing
            .files
            .iter()
            .any(|file| file.path == PROMPT_FILES[0])
        && !prompts.is_empty()
    {
        let mut refused = None;
        let answered = prompts.iter().find_map(|repository| {
            prompts_part(places, repository, args.to.as_ref())
                .map_err(|error| {
                    refused.get_or_insert(error);
                })
                .ok()
        });
        match (answered, refused) {
            (Some(part), _) => parts.push(part),
            (None, Some(error)) => return Err(error),
            (None, None) => {}
        }
    }
    let sealed = SealedTask {
        source: repo.name,
        protocol: assignment.protocol.name().into(),
        splits: source
            .splits()
            .map(|split| (split.name.clone(), split.rows))
            .collect(),
        licence: task.licence.clone(),
        citation: task.citation.clone(),
    };
    Ok(Some((parts, sealed)))
}

/// The class names and templates of a repository that is fetched for nothing else.
fn prompts_part(places: &Places, repository: &str, to: Option<&PathBuf>) -> Result<Part> {
    let repo = RepoId::parse(RepoKind::Dataset, repository).map_err(ModelError::from)?;
    let listing = places.hub.list(&repo).map_err(ModelError::from)?;
    let jobs = jobs_of(&listing, &PROMPT_FILES, &place(to, &repo.name));
    Ok(Part {
        folder: repo.name,
        commit: listing.repo.revision,
        jobs,
    })
}

/// What will be fetched, a line for each repository, and how much of it is there already.
fn describe(parts: &BTreeMap<String, Part>, hub: &Hub, to: Option<&PathBuf>) -> String {
    let size = |jobs: &[&Job]| HumanBytes(jobs.iter().map(|job| job.file.size).sum()).to_string();
    let mut lines = Vec::new();
    let mut missing = Vec::new();
    for part in parts.values() {
        let all: Vec<&Job> = part.jobs.iter().collect();
        let lacking: Vec<&Job> = part.jobs.iter().filter(|job| !hub.is_done(job)).collect();
        lines.push(format!(
            "{} at {}: {} files, {}, of which {} are missing",
            part.folder,
            &part.commit[..8],
            all.len(),
            size(&all),
            size(&lacking)
        ));
        missing.extend(lacking);
    }
    let folder = to.map_or_else(
        || hub.cache().display().to_string(),
        |to| to.display().to_string(),
    );
    lines.push(format!(
        "{} files, {} to fetch into {folder}",
        missing.len(),
        size(&missing)
    ));
    lines.join("\n")
}
