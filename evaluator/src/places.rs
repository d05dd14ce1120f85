//! Where models and data are: the folder of --data, the cache shared with Python, and the Hub
//! behind them.

use std::{collections::HashSet, path::PathBuf, sync::Arc};

use flava_base::{cache_folder, hex};
use flava_model::{
    Error as ModelError,
    hub::{Hub, HubError, Job, Listing, Place, RepoId, RepoKind, files_below},
    wanted_files,
};
use flava_tasks::{
    Assignment, Source, SourceFormat, Task,
    sources::{Choice, Locate, Located},
};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use sha2::{Digest, Sha256};

use crate::{Error, Result, bundle::Manifest};

/// Where things are looked for.
#[derive(Debug)]
pub struct Places {
    /// The folder of --data.
    pub data: Option<PathBuf>,
    /// What a bundle in it says.
    pub manifest: Option<Manifest>,
    /// The cache, and the network where it may be used.
    pub hub: Arc<Hub>,
    /// Whether nothing is said on stderr.
    pub quiet: bool,
}

impl Places {
    /// Looks in `data` and in the cache that the environment names.
    pub fn new(data: Option<PathBuf>, offline: bool, quiet: bool) -> Result<Self> {
        if let Some(data) = data.as_ref().filter(|data| !data.is_dir()) {
            return Err(Error::Other(format!(
                "--data {}: there is no such folder",
                data.display()
            )));
        }
        let manifest = data.as_deref().map(Manifest::load).transpose()?.flatten();
        Ok(Self {
            data,
            manifest,
            hub: Arc::new(Hub::from_environment(offline)),
            quiet,
        })
    }

    /// Whether a model of the Hub is here already.
    pub fn has_model(&self, repo: &RepoId) -> bool {
        self.model_here(repo).is_some()
    }

    /// The folder of a model in the folder of --data or in the cache, and its commit.
    fn model_here(&self, repo: &RepoId) -> Option<(PathBuf, String)> {
        if let Some(folder) = self
            .data
            .as_ref()
            .map(|data| data.join("models").join(&repo.name))
            .filter(|folder| folder.is_dir())
        {
            let commit = self
                .manifest
                .as_ref()
                .and_then(|manifest| manifest.revision(&format!("models/{}", repo.name)));
            return Some((folder, commit.unwrap_or_default()));
        }
        let snapshot = self.hub.snapshot(repo)?;
        let files = files_below(&snapshot.folder).ok()?;
        wanted_files(&files)
            .is_ok()
            .then_some((snapshot.folder, snapshot.commit))
    }

    /// The folder of a model of the Hub and its commit: in the folder of --data, in the cache, or
    /// fetched.
    pub fn model(&self, repo: &RepoId) -> Result<(PathBuf, String)> {
        if let Some(here) = self.model_here(repo) {
            return Ok(here);
        }
        let listing = self.hub.list(repo).map_err(ModelError::from)?;
        self.say_renamed(repo, &listing);
        let jobs = model_jobs(&listing, &Place::Cache)?;
        self.fetch(&jobs)?;
        let snapshot = self.hub.snapshot(&listing.repo).ok_or_else(|| {
            ModelError::from(HubError::Missing {
                repo: repo.to_string(),
            })
        })?;
        Ok((snapshot.folder, snapshot.commit))
    }

    /// A folder with some of a model's files, those of `names` that it has: a folder here, or
    /// `owner/name` on the Hub.
    pub fn part_of_model(&self, model: &str, names: &[&str]) -> Result<PathBuf> {
        let folder = PathBuf::from(model);
        if folder.is_dir() {
            return Ok(folder);
        }
        let repo = RepoId::parse(RepoKind::Model, model).map_err(|_| {
            Error::Other(format!(
                "{model}: is no folder, and no owner/name on the Hub"
            ))
        })?;
        let there = |folder: &PathBuf| names.iter().any(|name| folder.join(name).exists());
        if let Some(snapshot) = self
            .hub
            .snapshot(&repo)
            .filter(|snapshot| there(&snapshot.folder))
        {
            return Ok(snapshot.folder);
        }
        let listing = self.hub.list(&repo).map_err(ModelError::from)?;
        let jobs = jobs_of(&listing, names, &Place::Cache);
        if jobs.is_empty() {
            return Err(Error::Other(format!(
                "{model} has none of {}",
                names.join(", ")
            )));
        }
        self.fetch(&jobs)?;
        let snapshot = self.hub.snapshot(&listing.repo).ok_or_else(|| {
            ModelError::from(HubError::Missing {
                repo: repo.to_string(),
            })
        })?;
        Ok(snapshot.folder)
    }

    /// The best source for a task, fetched if it is nowhere and the network may be used.
    pub fn source<'a>(
        &self,
        task: &'a Task,
        assignment: &Assignment,
        allow_mismatch: bool,
    ) -> Result<Choice<'a>> {
        match task.find_source(assignment, self, allow_mismatch) {
            Err(flava_tasks::Error::Missing { .. } | flava_tasks::Error::Mismatch { .. })
                if self.may_fetch() =>
            {
                let (_, listing, source) = self.hub_files(task, assignment, allow_mismatch)?;
                self.fetch(&source_jobs(&listing, source, &Place::Cache))?;
                let choice = task.find_source(assignment, self, allow_mismatch)?;
                mark_complete(&choice);
                Ok(choice)
            }
            other => Ok(other?),
        }
    }

    fn may_fetch(&self) -> bool {
        self.data.is_none() && !self.hub.is_offline()
    }

    /// The first repository that has a task's files with the rows that are asked for.
    pub fn hub_files<'a>(
        &self,
        task: &'a Task,
        assignment: &Assignment,
        allow_mismatch: bool,
    ) -> Result<(RepoId, Listing, &'a Source)> {
        let sources = task.hub_sources(assignment, allow_mismatch)?;
        let mut reasons = Vec::new();
        for source in sources {
            let repo = RepoId::new(RepoKind::Dataset, &source.repo, &source.revision)
                .map_err(ModelError::from)?;
            match self.hub.list(&repo) {
                Ok(listing) => {
                    match source.unmatched(listing.files.iter().map(|file| file.path.as_str())) {
                        None => {
                            self.say_renamed(&repo, &listing);
                            return Ok((repo, listing, source));
                        }
                        Some(pattern) => reasons.push(format!("{repo} has no file {pattern}")),
                    }
                }
                // A name that is gone has successors; whatever else is wrong would only lead to
                // other data than was meant.
                Err(
                    error @ (HubError::Missing { .. }
                    | HubError::Private { .. }
                    | HubError::Revision { .. }),
                ) => {
                    self.say(&format!("{error}; trying the next source"));
                    reasons.push(error.to_string());
                }
                Err(error) => return Err(ModelError::from(error).into()),
            }
        }
        Err(Error::Other(reasons.join("; ")))
    }

    fn say(&self, note: &str) {
        if !self.quiet {
            flava_base::say(&format!("note: {note}"));
        }
    }

    fn say_renamed(&self, repo: &RepoId, listing: &Listing) {
        if let Some(name) = &listing.renamed {
            self.say(&format!(
                "{} is called {name} now; use that name",
                repo.name
            ));
        }
    }

    /// Fetches what is missing of a source in the cache; whether anything was. What was complete
    /// once is not asked for again.
    pub(crate) fn complete(&self, choice: &Choice) -> Result<bool> {
        let in_cache = choice.located.root.starts_with(self.hub.cache());
        if !in_cache
            || !self.may_fetch()
            || choice.source.repo.is_empty()
            || mark_of(choice).is_some_and(|mark| mark.exists())
        {
            return Ok(false);
        }
        let repo = RepoId::new(
            RepoKind::Dataset,
            &choice.source.repo,
            &choice.located.revision,
        )
        .map_err(ModelError::from)?;
        let listing = self.hub.list(&repo).map_err(ModelError::from)?;
        let jobs = source_jobs(&listing, choice.source, &Place::Cache);
        let lacking = jobs.iter().any(|job| !self.hub.is_done(job));
        if lacking {
            self.fetch(&jobs)?;
        }
        mark_complete(choice);
        Ok(lacking)
    }

    /// Fetches files with a bar of all bytes.
    pub fn fetch(&self, jobs: &[Job]) -> Result<()> {
        let jobs: Vec<Job> = jobs
            .iter()
            .filter(|job| !self.hub.is_done(job))
            .cloned()
            .collect();
        let total: u64 = jobs.iter().map(|job| job.file.size).sum();
        let target = if self.quiet {
            ProgressDrawTarget::hidden()
        } else {
            ProgressDrawTarget::stderr()
        };
        let bar = ProgressBar::with_draw_target(Some(total), target);
        let style = ProgressStyle::with_template(
            "fetching {bar:28} {bytes}/{total_bytes}, {bytes_per_sec}, {eta} left",
        );
        bar.set_style(style.expect("the template is valid").progress_chars("=> "));
        if !self.quiet && !jobs.is_empty() {
            flava_base::say(&format!(
                "fetching {} files, {}",
                jobs.len(),
                indicatif::HumanBytes(total)
            ));
        }
        let result = self.hub.fetch(&jobs, &|bytes| {
            if bytes >= 0 {
                bar.inc(bytes as u64);
            } else {
                bar.dec(bytes.unsigned_abs());
            }
        });
        bar.finish_and_clear();
        Ok(result.map_err(ModelError::from)?)
    }
}

impl Locate for Places {
    fn locate(&self, source: &Source) -> Option<Located> {
        if matches!(source.format, SourceFormat::Mini { .. }) {
            return Some(Located {
                root: PathBuf::from("."),
                revision: String::new(),
            });
        }
        if let Some(root) = self
            .data
            .as_ref()
            .map(|data| data.join(source.place()))
            .filter(|root| root.is_dir())
        {
            let revision = self
                .manifest
                .as_ref()
                .and_then(|manifest| manifest.revision(source.place()))
                .unwrap_or_default();
            return Some(Located { root, revision });
        }
        let repo = RepoId::new(RepoKind::Dataset, &source.repo, &source.revision).ok()?;
        let snapshot = self.hub.snapshot(&repo)?;
        Some(Located {
            root: snapshot.folder,
            revision: snapshot.commit,
        })
    }

    fn places(&self) -> String {
        let cache = format!("the cache {}", self.hub.cache().display());
        self.data.as_ref().map_or(cache.clone(), |data| {
            format!("{} or {cache}", data.display())
        })
    }
}

/// The file in the user's cache that says that all files of a source are there.
fn mark_of(choice: &Choice) -> Option<PathBuf> {
    let Choice {
        source, located, ..
    } = choice;
    let files: Vec<&str> = source
        .splits()
        .map(|split| split.files.as_str())
        .chain(source.extra.iter().map(String::as_str))
        .collect();
    let digest = Sha256::digest(format!("{} {files:?}", located.root.display()));
    let name = hex(&digest[..16]);
    Some(cache_folder()?.join("complete").join(name))
}

/// Notes that all files of a source are there; where that cannot be noted, the Hub is asked again.
fn mark_complete(choice: &Choice) {
    if let Some(mark) = mark_of(choice) {
        let _noted = std::fs::create_dir_all(mark.parent().unwrap_or(&mark))
            .and_then(|()| std::fs::write(mark, ""));
    }
}

/// The files of a model that are needed.
pub(crate) fn model_jobs(listing: &Listing, place: &Place) -> Result<Vec<Job>> {
    let paths: Vec<String> = listing.files.iter().map(|file| file.path.clone()).collect();
    let wanted = wanted_files(&paths)
        .map_err(|reason| Error::Other(format!("{}: {reason}", listing.repo)))?;
    Ok(jobs_of(listing, &wanted, place))
}

/// The files of a source that its splits need.
pub(crate) fn source_jobs(listing: &Listing, source: &Source, place: &Place) -> Vec<Job> {
    jobs_of(
        listing,
        &source.wanted(listing.files.iter().map(|file| file.path.as_str())),
        place,
    )
}

pub(crate) fn jobs_of(listing: &Listing, wanted: &[&str], place: &Place) -> Vec<Job> {
    let wanted: HashSet<&str> = wanted.iter().copied().collect();
    let files = listing
        .files
        .iter()
        .filter(|file| wanted.contains(file.path.as_str()));
    files
        .map(|file| Job {
            repo: listing.repo.clone(),
            file: file.clone(),
            place: place.clone(),
        })
        .collect()
}

impl Places {
    /// The folder in the cache where some small files of a data repository lie, fetched if they are
    /// not there.
    pub(crate) fn small_files(&self, repository: &str, files: &[&str]) -> Result<Option<Located>> {
        let repo = RepoId::parse(RepoKind::Dataset, repository).map_err(ModelError::from)?;
        let there = |folder: &std::path::Path| files.iter().all(|file| folder.join(file).exists());
        if let Some(snapshot) = self
            .hub
            .snapshot(&repo)
            .filter(|snapshot| there(&snapshot.folder))
        {
            return Ok(Some(Located {
                root: snapshot.folder,
                revision: snapshot.commit,
            }));
        }
        if !self.may_fetch() {
            return Ok(None);
        }
        let listing = self.hub.list(&repo).map_err(ModelError::from)?;
        self.fetch(&jobs_of(&listing, files, &Place::Cache))?;
        let snapshot = self.hub.snapshot(&listing.repo);
        Ok(snapshot
            .filter(|snapshot| there(&snapshot.folder))
            .map(|s| Located {
                root: s.folder,
                revision: s.commit,
            }))
    }
}
