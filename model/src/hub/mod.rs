//! The Hugging Face Hub: `owner/name@revision` to local files.
//!
//! `hf-hub` knows its addresses and its cache. The transfer is ours, behind [`Remote`], because
//! what is measured must be what was published: every file is checked against the Hub's listing
//! before it gets its name, a cut download goes on where it ended, no error page can become a file,
//! and the token goes to the Hub's own address alone.

mod addresses;
mod download;
mod environment;
mod error;
mod http;
mod patience;
mod remote;
mod repo;
mod store;
pub mod write;

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    fs,
    path::{Path, PathBuf},
    sync::{
        Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

pub use download::is_intact;
pub use error::HubError;
pub use remote::{Commit, FileBody, Remote};
pub use repo::{Checksum, RemoteFile, RepoId, RepoKind};
pub use store::{Destination, Snapshot, files_below};

use download::{Fetch, Meter, fetch_file};
use environment::Environment;
use patience::with_patience;
use store::{Store, make_folder};

/// Files that are fetched at once.
const PARALLEL: usize = 8;
/// Room that is left free on a disk.
const RESERVE: u64 = 64 << 20;

/// The files of a repository at a commit.
#[derive(Clone, Debug)]
pub struct Listing {
    /// The repository; its revision is a commit.
    pub repo: RepoId,
    /// All its files.
    pub files: Vec<RemoteFile>,
    /// What it is called today, if it was renamed.
    pub renamed: Option<String>,
}

/// A file to fetch.
#[derive(Clone, Debug)]
pub struct Job {
    /// Its repository, at a commit.
    pub repo: RepoId,
    /// Which file.
    pub file: RemoteFile,
    /// Where to.
    pub destination: Destination,
}

/// The Hub as far as the network may be used, and its cache.
pub struct Hub {
    remote: Option<Box<dyn Remote>>,
    store: Store,
    /// What was asked already: several tasks may need files of one repository.
    listings: Mutex<HashMap<RepoId, Listing>>,
    /// Why it could not be reached: a long run does not wait for that again with each task.
    unreachable: OnceLock<String>,
}

impl Hub {
    /// As the environment says (`HF_HOME`, `HF_HUB_CACHE`, `HF_TOKEN`, `HF_ENDPOINT`,
    /// `HF_HUB_OFFLINE`, ...); `offline` switches the network off in any case.
    pub fn from_environment(offline: bool) -> Self {
        let environment = Environment::read();
        if offline || environment.offline {
            return Self::new(None, environment.cache);
        }
        Self::at(
            &environment.endpoint,
            environment.token.as_deref(),
            environment.cache,
        )
    }

    /// The Hub at another address, asked with `token` or without.
    pub fn at(endpoint: &str, token: Option<&str>, cache: PathBuf) -> Self {
        let remote = http::HttpRemote::new(endpoint, token);
        Self::new(Some(Box::new(remote)), cache)
    }

    /// A Hub that is asked through `remote`, or not at all.
    pub fn new(remote: Option<Box<dyn Remote>>, cache: PathBuf) -> Self {
        Self {
            remote,
            store: Store { root: cache },
            listings: Mutex::default(),
            unreachable: OnceLock::new(),
        }
    }

    /// Whether the network is switched off.
    pub fn is_offline(&self) -> bool {
        self.remote.is_none()
    }

    /// The cache's folder.
    pub fn cache(&self) -> &Path {
        &self.store.root
    }

    /// What the cache has of a repository, without asking anybody; its files may be some of the
    /// repository's only.
    pub fn snapshot(&self, repo: &RepoId) -> Option<Snapshot> {
        self.store.snapshot(repo)
    }

    fn remote(&self, repo: &RepoId) -> Result<&dyn Remote, HubError> {
        self.remote.as_deref().ok_or_else(|| HubError::Offline {
            repo: repo.to_string(),
            cache: self.store.root.clone(),
        })
    }

    /// Asks the Hub, once, what a repository holds at its revision.
    pub fn list(&self, repo: &RepoId) -> Result<Listing, HubError> {
        let remote = self.remote(repo)?;
        let mut listings = lock(&self.listings);
        if let Some(listing) = listings.get(repo) {
            return Ok(listing.clone());
        }
        if let Some(reason) = self.unreachable.get() {
            return Err(HubError::Network {
                what: repo.to_string(),
                reason: reason.clone(),
            });
        }
        let commit = self.resolved(remote, repo)?;
        let at = repo.at(&commit.hash);
        let files = with_patience(|| remote.tree(&at))?;
        let listing = Listing {
            repo: at,
            files,
            renamed: commit.renamed,
        };
        listings.insert(repo.clone(), listing.clone());
        Ok(listing)
    }

    /// The commit that a revision stands for.
    fn resolved(&self, remote: &dyn Remote, repo: &RepoId) -> Result<Commit, HubError> {
        let commit = with_patience(|| remote.commit(repo)).inspect_err(|error| {
            if let HubError::Network { reason, .. } = error {
                self.unreachable.get_or_init(|| reason.clone());
            }
        })?;
        if repo::is_commit(&commit.hash) {
            return Ok(commit);
        }
        Err(HubError::Protocol {
            what: repo.to_string(),
            reason: format!("{:?} is no commit", commit.hash),
        })
    }

    /// Whether a job's file is where it should be. Its name was given to it after its checksum was
    /// found right.
    pub fn is_done(&self, job: &Job) -> bool {
        let target = self.target(job);
        has_size(&target, &job.file)
            && match job.destination {
                Destination::Cache => {
                    let commit = &job.repo.revision;
                    let folder = self.store.snapshot_folder(&job.repo, commit);
                    folder.join(&job.file.path).exists()
                }
                // A folder is not named by what is in it: a file of an earlier commit may have the
                // same size.
                Destination::Folder(_) => is_intact(&target, &job.file).unwrap_or(false),
            }
    }

    /// Where a job's bytes will lie.
    fn target(&self, job: &Job) -> PathBuf {
        match &job.destination {
            Destination::Cache => self.store.blob(&job.repo, &job.file),
            Destination::Folder(folder) => folder.join(&job.file.path),
        }
    }

    /// Fetches all jobs, several at once. `meter` gets the bytes as they come, also those that were
    /// there already.
    ///
    /// # Errors
    /// The first that is met; what was fetched until then stays, and another call goes on from
    /// there.
    pub fn fetch(&self, jobs: &[Job], meter: &(dyn Fn(i64) + Sync)) -> Result<(), HubError> {
        self.check_room(jobs)?;
        let queue: Mutex<VecDeque<&Job>> = Mutex::new(jobs.iter().collect());
        let next = || lock(&queue).pop_front();
        let (stop, first) = (AtomicBool::new(false), Mutex::new(None));
        std::thread::scope(|scope| {
            for _ in 0..PARALLEL.min(jobs.len()) {
                scope.spawn(|| {
                    while let Some(job) = next().filter(|_| !stop.load(Ordering::Relaxed)) {
                        if let Err(error) = self.fetch_one(job, meter) {
                            stop.store(true, Ordering::Relaxed);
                            lock(&first).get_or_insert(error);
                        }
                    }
                });
            }
        });
        first
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner)
            .map_or(Ok(()), Err)?;
        self.note_revisions(jobs)
    }

    /// Notes in the cache which commits the branches and tags stand for that were asked for, now
    /// that their files are there.
    fn note_revisions(&self, jobs: &[Job]) -> Result<(), HubError> {
        let fetched: BTreeSet<&RepoId> = jobs
            .iter()
            .filter(|job| job.destination == Destination::Cache)
            .map(|job| &job.repo)
            .collect();
        let listings = lock(&self.listings);
        let mut asked = listings
            .iter()
            .filter(|(_, listing)| fetched.contains(&listing.repo));
        asked.try_for_each(|(asked, listing)| {
            self.store.note_revision(asked, &listing.repo.revision)
        })
    }

    fn fetch_one(&self, job: &Job, meter: Meter) -> Result<(), HubError> {
        let target = self.target(job);
        if self.is_done(job) {
            meter(job.file.size as i64);
            return Ok(());
        }
        make_folder(target.parent().unwrap_or(Path::new(".")))?;
        match job.destination {
            Destination::Cache => self.fetch_to_cache(job, &target, meter),
            Destination::Folder(_) => self.fetch_to_folder(job, &target, meter),
        }
    }

    fn fetch_to_cache(&self, job: &Job, target: &Path, meter: Meter) -> Result<(), HubError> {
        let _lock = self.store.lock(&job.repo, &job.file)?;
        if has_size(target, &job.file) {
            meter(job.file.size as i64); // another program fetched it while we waited for the lock, or another commit has it too
        } else {
            fetch_file(self.sought(job, meter)?, target)?;
        }
        self.store.link(&job.repo, &job.repo.revision, &job.file)
    }

    fn fetch_to_folder(&self, job: &Job, target: &Path, meter: Meter) -> Result<(), HubError> {
        let blob = self.store.blob(&job.repo, &job.file);
        if !is_intact(&blob, &job.file).unwrap_or(false) {
            return fetch_file(self.sought(job, meter)?, target);
        }
        // The cache has it: no need to ask the Hub again. A copy, so that whoever edits the folder
        // does not change the cache.
        let part = store::beside(target);
        fs::copy(&blob, &part)
            .and_then(|_| fs::rename(&part, target))
            .map_err(HubError::io(target))?;
        meter(job.file.size as i64);
        Ok(())
    }

    /// A job whose bytes only the Hub has.
    fn sought<'a>(&'a self, job: &'a Job, meter: Meter<'a>) -> Result<Fetch<'a>, HubError> {
        Ok(Fetch {
            remote: self.remote(&job.repo)?,
            repo: &job.repo,
            file: &job.file,
            meter,
        })
    }

    /// Refuses what cannot fit before anything is fetched.
    fn check_room(&self, jobs: &[Job]) -> Result<(), HubError> {
        let needed = self.lacking(jobs);
        let Some(folder) = jobs.first().map(|job| self.target(job)) else {
            return Ok(());
        };
        let mut above = folder.ancestors();
        let existing = above.find(|path| path.is_dir()).unwrap_or(Path::new("."));
        let Ok(stat) = rustix::fs::statvfs(existing) else {
            return Ok(());
        };
        let free = stat.f_bavail.saturating_mul(stat.f_frsize);
        if needed == 0 || needed.saturating_add(RESERVE) <= free {
            return Ok(());
        }
        Err(HubError::Room {
            needed,
            free,
            folder: existing.to_owned(),
        })
    }

    /// Bytes of all jobs that are not there yet.
    fn lacking(&self, jobs: &[Job]) -> u64 {
        let there =
            |job: &Job| fs::metadata(store::beside(&self.target(job))).map_or(0, |part| part.len());
        let lacking = jobs
            .iter()
            .filter(|job| !has_size(&self.target(job), &job.file));
        lacking.fold(0u64, |sum, job| {
            sum.saturating_add(job.file.size.saturating_sub(there(job)))
        })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn has_size(path: &Path, file: &RemoteFile) -> bool {
    fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.len() == file.size)
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hub")
            .field("cache", &self.store.root)
            .field("offline", &self.is_offline())
            .finish_non_exhaustive()
    }
}
