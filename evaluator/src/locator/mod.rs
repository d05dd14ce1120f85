//! Where models and data are: the folder of --data, the cache shared with Python, and the Hub
//! behind them.

mod jobs;
mod models;
mod own;
mod sources;

use std::{path::PathBuf, sync::Arc};

use flava_model::{
    Error as ModelError,
    hub::{Hub, HubError, Job, Listing, RepoId, Snapshot},
};
use flava_tasks::sources::{Located, is_folder};
use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::{Error, Result, bundle::Manifest};

pub(crate) use jobs::{jobs_of, model_jobs, source_jobs};

/// Where things are looked for.
#[derive(Debug)]
pub struct DataLocator {
    /// The folder of --data.
    pub data: Option<PathBuf>,
    /// What a bundle in it says.
    pub manifest: Option<Manifest>,
    /// The cache, and the network where it may be used.
    pub hub: Arc<Hub>,
    /// Whether nothing is said on stderr.
    pub quiet: bool,
}

impl DataLocator {
    /// Looks in `data` and in the cache that the environment names.
    pub fn new(data: Option<PathBuf>, offline: bool, quiet: bool) -> Result<Self> {
        if let Some(data) = data.as_ref().filter(|data| !data.is_dir()) {
            return Err(Error::Argument {
                argument: "--data",
                value: data.display().to_string(),
                reason: "there is no such folder".into(),
            });
        }
        let manifest = data.as_deref().map(Manifest::load).transpose()?.flatten();
        Ok(Self {
            data,
            manifest,
            hub: Arc::new(Hub::from_environment(offline)),
            quiet,
        })
    }

    /// What lies at a place in the folder of --data, with the commit that a bundle's manifest
    /// tells.
    pub(crate) fn in_data(&self, destination: &str) -> Option<Located> {
        let data = self.data.as_ref()?;
        let root = match destination {
            "." => data.clone(),
            inside => data.join(inside),
        };
        let of_manifest = || self.manifest.as_ref()?.revision(destination);
        is_folder(&root).then(|| Located {
            revision: of_manifest().unwrap_or_default(),
            root,
        })
    }

    fn may_fetch(&self) -> bool {
        self.data.is_none() && !self.hub.is_offline()
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

    /// What was fetched of a repository.
    fn fetched(&self, repo: &RepoId, listing: &Listing) -> Result<Snapshot> {
        let missing = || HubError::Missing {
            repo: repo.to_string(),
        };
        let snapshot = self.hub.snapshot(&listing.repo).ok_or_else(missing);
        Ok(snapshot.map_err(ModelError::from)?)
    }

    /// Fetches files with a bar of all bytes.
    pub fn fetch(&self, jobs: &[Job]) -> Result<()> {
        let lacking = jobs.iter().filter(|job| !self.hub.is_done(job));
        let jobs: Vec<Job> = lacking.cloned().collect();
        let total: u64 = jobs.iter().map(|job| job.file.size).sum();
        let bar = self.bar(total);
        if !self.quiet && !jobs.is_empty() {
            let (count, size) = (jobs.len(), HumanBytes(total));
            flava_base::say(&format!("fetching {count} files, {size}"));
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

    fn bar(&self, total: u64) -> ProgressBar {
        let target = if self.quiet {
            ProgressDrawTarget::hidden()
        } else {
            ProgressDrawTarget::stderr()
        };
        let bar = ProgressBar::with_draw_target(Some(total), target);
        let style = ProgressStyle::with_template(
            "fetching {bar:28} {bytes}/{total_bytes}, {bytes_per_sec}, {eta} left",
        );
        match style {
            Ok(style) => bar.with_style(style.progress_chars("=> ")),
            Err(_) => bar,
        }
    }
}
