//! Where fetched files lie: in the cache that Python's `huggingface_hub` shares, or in a plain
//! folder.
//!
//! The cache: `blobs/<hash>` hold the bytes, `snapshots/<commit>/<path>` link to them,
//! `refs/<revision>` name commits, and `.locks/` keeps two programs from writing one blob at once.

use std::{
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
};

use hf_hub::Cache;

use super::{
    HubError, RemoteFile, RepoId,
    repo::{is_commit, is_short_hash},
};

/// Where a file is to lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// The cache.
    Cache,
    /// `<folder>/<path>`, as a plain file.
    Folder(PathBuf),
}

/// What the cache has of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The commit.
    pub commit: String,
    /// The folder of its files.
    pub folder: PathBuf,
}

/// The cache's folder.
#[derive(Clone, Debug)]
pub(super) struct Store {
    pub(super) root: PathBuf,
}

impl Store {
    fn cache(&self) -> Cache {
        Cache::new(self.root.clone())
    }

    /// The snapshot that a revision stands for, as far as the cache knows.
    pub(super) fn snapshot(&self, repo: &RepoId) -> Option<Snapshot> {
        let folder = self.root.join(repo.hub().folder_name());
        let commit = if repo.is_commit() {
            repo.revision.clone()
        } else if is_short_hash(&repo.revision) {
            let names = fs::read_dir(folder.join("snapshots"))
                .ok()?
                .filter_map(|entry| entry.ok()?.file_name().into_string().ok());
            names
                .filter(|name| name.starts_with(&repo.revision))
                .min()?
        } else {
            fs::read_to_string(folder.join("refs").join(&repo.revision))
                .ok()?
                .trim()
                .to_owned()
        };
        let folder = self.snapshot_folder(repo, &commit);
        (is_commit(&commit) && folder.is_dir()).then_some(Snapshot { commit, folder })
    }

    pub(super) fn snapshot_folder(&self, repo: &RepoId, commit: &str) -> PathBuf {
        self.cache().repo(repo.hub()).pointer_path(commit)
    }

    /// Notes which commit a branch or tag stands for.
    pub(super) fn note_revision(&self, repo: &RepoId, commit: &str) -> Result<(), HubError> {
        if repo.is_commit() || is_short_hash(&repo.revision) {
            return Ok(());
        }
        self.cache()
            .repo(repo.hub())
            .create_ref(commit)
            .map_err(HubError::io(self.root.join(repo.hub().folder_name())))
    }

    /// The file of a blob.
    pub(super) fn blob(&self, repo: &RepoId, file: &RemoteFile) -> PathBuf {
        self.cache()
            .repo(repo.hub())
            .blob_path(file.checksum.blob())
    }

    /// Waits until no other program writes the blob, and keeps others from it until the lock is
    /// dropped.
    pub(super) fn lock(&self, repo: &RepoId, file: &RemoteFile) -> Result<File, HubError> {
        let folder = self.root.join(".locks").join(repo.hub().folder_name());
        let path = folder.join(format!("{}.lock", file.checksum.blob()));
        make_folder(&folder)?;
        let lock = File::options()
            .create(true)
            .append(true)
            .open(&path)
            .map_err(HubError::io(&path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                flava_base::say(&format!(
                    "waiting for another program that fetches {} ({})",
                    file.path,
                    path.display()
                ));
                lock.lock().map_err(HubError::io(&path))?;
            }
            // Without locks, two programs that fetch the same at once spoil each other's bytes:
            // their digest tells.
            Err(TryLockError::Error(_)) => {}
        }
        Ok(lock)
    }

    /// Links a snapshot's path to its blob.
    pub(super) fn link(
        &self,
        repo: &RepoId,
        commit: &str,
        file: &RemoteFile,
    ) -> Result<(), HubError> {
        let pointer = self.snapshot_folder(repo, commit).join(&file.path);
        let up = "../".repeat(file.path.split('/').count() + 1);
        let target = format!("{up}blobs/{}", file.checksum.blob());
        if fs::read_link(&pointer).is_ok_and(|there| there == Path::new(&target)) {
            return Ok(());
        }
        make_folder(pointer.parent().unwrap_or(&self.root))?;
        let fresh =
            pointer.with_file_name(format!(".{}.{}", file.checksum.blob(), std::process::id()));
        let _stale = fs::remove_file(&fresh);
        std::os::unix::fs::symlink(&target, &fresh)
            .and_then(|()| fs::rename(&fresh, &pointer))
            .map_err(HubError::io(&pointer))
    }
}

/// Where a file's bytes are gathered until they are whole.
pub(super) fn beside(target: &Path) -> PathBuf {
    target.with_file_name(format!(
        "{}.incomplete",
        target.file_name().unwrap_or_default().to_string_lossy()
    ))
}

/// Makes a folder and those above it.
pub(super) fn make_folder(folder: &Path) -> Result<(), HubError> {
    fs::create_dir_all(folder).map_err(HubError::io(folder))
}

/// The files below a folder, relative, with slashes, sorted; links to files count, links to folders
/// are not followed.
pub fn files_below(folder: &Path) -> std::io::Result<Vec<String>> {
    let mut found = Vec::new();
    let mut folders = vec![String::new()];
    while let Some(prefix) = folders.pop() {
        for entry in fs::read_dir(folder.join(&prefix))? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            let path = if prefix.is_empty() {
                name
            } else {
                format!("{prefix}/{name}")
            };
            if entry.file_type()?.is_dir() {
                folders.push(path);
            } else if !entry.path().is_dir() {
                found.push(path); // a link that leads nowhere too: whoever opens it says so
            }
        }
    }
    found.sort();
    Ok(found)
}
