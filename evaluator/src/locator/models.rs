//! Where models are.

use std::path::PathBuf;

use flava_model::{
    Error as ModelError,
    hub::{Destination, RepoId, RepoKind, files_below},
    wanted_files,
};

use super::{DataLocator, jobs_of, model_jobs};
use crate::{Error, Result};

impl DataLocator {
    /// Whether a model of the Hub is here already.
    pub fn has_model(&self, repo: &RepoId) -> bool {
        self.model_here(repo).is_some()
    }

    /// The folder of a model in the folder of --data or in the cache, and its commit.
    fn model_here(&self, repo: &RepoId) -> Option<(PathBuf, String)> {
        if let Some(located) = self.in_data(&format!("models/{}", repo.name)) {
            return Some((located.root, located.revision));
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
        let jobs = model_jobs(&listing, &Destination::Cache)?;
        self.fetch(&jobs)?;
        let snapshot = self.fetched(repo, &listing)?;
        Ok((snapshot.folder, snapshot.commit))
    }

    /// A folder with some of a model's files, those of `names` that it has: a folder here, or
    /// `owner/name` on the Hub.
    pub fn part_of_model(&self, model: &str, names: &[&str]) -> Result<PathBuf> {
        let folder = PathBuf::from(model);
        if folder.is_dir() {
            return Ok(folder);
        }
        let repo = RepoId::parse(RepoKind::Model, model).map_err(|_| Error::Lacking {
            what: "model",
            reason: format!("{model}: is no folder, and no owner/name on the Hub"),
        })?;
        if let Some(snapshot) = self.hub.snapshot(&repo)
            && names.iter().any(|name| snapshot.folder.join(name).exists())
        {
            return Ok(snapshot.folder);
        }
        let listing = self.hub.list(&repo).map_err(ModelError::from)?;
        let jobs = jobs_of(&listing, names, &Destination::Cache);
        if jobs.is_empty() {
            return Err(Error::Lacking {
                what: "files",
                reason: format!("{model} has none of {}", names.join(", ")),
            });
        }
        self.fetch(&jobs)?;
        Ok(self.fetched(&repo, &listing)?.folder)
    }
}
