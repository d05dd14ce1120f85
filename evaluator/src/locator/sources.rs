//! Where data is.

use std::{
    borrow::Cow,
    path::{Path, PathBuf},
};

use flava_base::{cache_folder, hex};
use flava_model::{
    Error as ModelError,
    hub::{Destination, HubError, Listing, RepoId, RepoKind, Snapshot},
};
use flava_tasks::{
    Assignment, Source, SourceFormat, Task,
    sources::{Choice, Locate, Located, is_folder},
};
use sha2::{Digest, Sha256};

use super::{DataLocator, jobs_of, source_jobs};
use crate::{Error, Result};

impl DataLocator {
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
                self.fetch(&source_jobs(&listing, &source, &Destination::Cache))?;
                self.fetch_images(&source)?;
                let choice = task.find_source(assignment, self, allow_mismatch)?;
                mark_complete(&choice);
                Ok(choice)
            }
            other => Ok(other?),
        }
    }

    /// A folder beside the file of a user's task, for sources that name a folder.
    fn beside(source: &Source) -> Option<Located> {
        let base = &source.base;
        let folder = match source.folder.as_str() {
            "." => base.clone(),
            folder => base.join(folder),
        };
        let of_file = source.repo.is_empty() && !base.as_os_str().is_empty();
        (of_file && is_folder(&folder)).then(|| Located {
            root: folder,
            revision: String::new(),
        })
    }

    /// The first repository that has a task's files with the rows that are asked for.
    pub fn hub_files<'a>(
        &self,
        task: &'a Task,
        assignment: &Assignment,
        allow_mismatch: bool,
    ) -> Result<(RepoId, Listing, Cow<'a, Source>)> {
        let mut reasons = Vec::new();
        for source in task.hub_sources(assignment, allow_mismatch)? {
            let repo = RepoId::new(RepoKind::Dataset, &source.repo, &source.revision)
                .map_err(ModelError::from)?;
            match self.files_of(&repo, source)? {
                Ok(listing) => return Ok((repo, listing, Cow::Borrowed(source))),
                Err(reason) if source.note.is_empty() => reasons.push(reason),
                Err(reason) => reasons.push(format!("{reason} ({})", source.note)),
            }
            match self.converted_files(source)? {
                Ok((repo, listing, converted)) => {
                    self.say(&format!(
                        "{}; its rows are read from {repo}",
                        reasons.join("; ")
                    ));
                    return Ok((repo, listing, Cow::Owned(converted)));
                }
                Err(reason) => reasons.push(reason),
            }
        }
        Err(Error::Lacking {
            what: "source",
            reason: reasons.join("; "),
        })
    }

    /// The repositories of the images that a source has elsewhere, with their files.
    ///
    /// # Errors
    /// If one is not there, or lacks them.
    pub fn image_files(&self, source: &Source) -> Result<Vec<(RepoId, Listing, Source)>> {
        let mut places = Vec::new();
        for from in source
            .images_from
            .iter()
            .filter(|from| !from.repo.is_empty())
        {
            let place = from.as_source(&source.base);
            let repo = RepoId::new(RepoKind::Dataset, &place.repo, &place.revision);
            let repo = repo.map_err(ModelError::from)?;
            let listing = self.files_of(&repo, &place)?;
            let listing = listing.map_err(|reason| Error::Lacking {
                what: "images",
                reason: format!("the images of {} are to be of {reason}", source.name()),
            })?;
            places.push((repo, listing, place));
        }
        Ok(places)
    }

    /// Fetches the images that a source has elsewhere.
    pub(super) fn fetch_images(&self, source: &Source) -> Result<()> {
        for (_, listing, place) in self.image_files(source)? {
            self.fetch(&source_jobs(&listing, &place, &Destination::Cache))?;
        }
        Ok(())
    }

    /// The files of a repository, or why another source is to be tried.
    fn files_of(
        &self,
        repo: &RepoId,
        source: &Source,
    ) -> Result<std::result::Result<Listing, String>> {
        let listing = match self.hub.list(repo) {
            Ok(listing) => listing,
            // A name that is gone has successors; whatever else is wrong would only lead to other
            // data than was meant.
            Err(
                error @ (HubError::Missing { .. }
                | HubError::Private { .. }
                | HubError::Revision { .. }),
            ) => {
                self.say(&format!("{error}; trying the next source"));
                return Ok(Err(error.to_string()));
            }
            Err(error) => return Err(ModelError::from(error).into()),
        };
        let paths = listing.files.iter().map(|file| file.path.as_str());
        if let Some(pattern) = source.unmatched(paths) {
            return Ok(Err(format!("{repo} has no file {pattern}")));
        }
        self.say_renamed(repo, &listing);
        Ok(Ok(listing))
    }

    /// Fetches what is missing of a source in the cache; whether anything was. What was complete
    /// once is not asked for again.
    pub(crate) fn complete(&self, choice: &Choice) -> Result<bool> {
        let in_cache = choice.located.root.starts_with(self.hub.cache());
        let name = &choice.source.repo;
        if !in_cache || !self.may_fetch() || name.is_empty() || is_marked(choice) {
            return Ok(false);
        }
        let repo = RepoId::new(RepoKind::Dataset, name, &choice.located.revision)
            .map_err(ModelError::from)?;
        let listing = self.hub.list(&repo).map_err(ModelError::from)?;
        let mut jobs = source_jobs(&listing, &choice.source, &Destination::Cache);
        for (_, listing, place) in self.image_files(&choice.source)? {
            jobs.extend(source_jobs(&listing, &place, &Destination::Cache));
        }
        let lacking = jobs.iter().any(|job| !self.hub.is_done(job));
        if lacking {
            self.fetch(&jobs)?;
        }
        mark_complete(choice);
        Ok(lacking)
    }

    /// The folder in the cache where some small files of a data repository lie, fetched if they are
    /// not there.
    pub(crate) fn small_files(&self, repository: &str, files: &[&str]) -> Result<Option<Located>> {
        let repo = RepoId::parse(RepoKind::Dataset, repository).map_err(ModelError::from)?;
        let is_whole =
            |snapshot: &Snapshot| files.iter().all(|file| snapshot.folder.join(file).exists());
        if let Some(snapshot) = self.hub.snapshot(&repo).filter(is_whole) {
            return Ok(Some(located(snapshot)));
        }
        if !self.may_fetch() {
            return Ok(None);
        }
        let listing = self.hub.list(&repo).map_err(ModelError::from)?;
        self.fetch(&jobs_of(&listing, files, &Destination::Cache))?;
        let snapshot = self.hub.snapshot(&listing.repo);
        Ok(snapshot.filter(is_whole).map(located))
    }
}

impl Locate for DataLocator {
    fn locate(&self, source: &Source) -> Option<Located> {
        if matches!(source.format, SourceFormat::Mini { .. }) {
            return Some(Located {
                root: PathBuf::from("."),
                revision: String::new(),
            });
        }
        let in_data = self.in_data(source.data_folder());
        let beside = Self::beside(source);
        let holds = |located: &Located| beside.is_none() || source.absent(&located.root).is_none();
        if let Some(located) = in_data.filter(holds) {
            return Some(located);
        }
        if beside.is_some() {
            return beside;
        }
        let repo = RepoId::new(RepoKind::Dataset, &source.repo, &source.revision).ok()?;
        self.hub.snapshot(&repo).map(located)
    }

    fn instead(&self, source: &Source) -> Option<(Source, Located)> {
        self.converted(source)
    }

    fn searched(&self) -> String {
        let cache = format!("the cache {}", self.hub.cache().display());
        self.data.as_ref().map_or(cache.clone(), |data| {
            format!("{} or {cache}", data.display())
        })
    }
}

pub(super) fn located(snapshot: Snapshot) -> Located {
    Located {
        root: snapshot.folder,
        revision: snapshot.commit,
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
    let images = source.images_from.iter();
    let images: String = images
        .map(|from| format!(" {}", from.root.join(&from.files).display()))
        .collect();
    let digest = Sha256::digest(format!("{} {files:?}{images}", located.root.display()));
    let name = hex(&digest[..16]);
    Some(cache_folder()?.join("complete").join(name))
}

/// Whether all files of a source were there once.
fn is_marked(choice: &Choice) -> bool {
    mark_of(choice).is_some_and(|mark| mark.exists())
}

/// Notes that all files of a source are there; where that cannot be noted, the Hub is asked again.
fn mark_complete(choice: &Choice) {
    if let Some(mark) = mark_of(choice) {
        let folder: &Path = mark.parent().unwrap_or(&mark);
        let _noted = std::fs::create_dir_all(folder).and_then(|()| std::fs::write(&mark, ""));
    }
}
