//! What a Hub can be asked.

use std::io::Read;

use super::{HubError, RemoteFile, RepoId};

/// A revision, resolved.
#[derive(Clone, Debug)]
pub struct Commit {
    /// Its hash.
    pub hash: String,
    /// What the repository is called today, if that is not what was asked for.
    pub renamed: Option<String>,
}

/// The bytes of a file from an offset on.
pub struct FileBody {
    /// Where they begin: what was asked for, or 0 if the server does not serve parts.
    pub start: u64,
    /// The bytes.
    pub reader: Box<dyn Read + Send>,
}

/// What is asked of a Hub.
pub trait Remote: Send + Sync {
    /// The commit that a revision stands for.
    fn commit(&self, repo: &RepoId) -> Result<Commit, HubError>;
    /// All files of a repository whose revision is a commit.
    fn tree(&self, repo: &RepoId) -> Result<Vec<RemoteFile>, HubError>;
    /// A file from byte `start` on.
    fn open(&self, repo: &RepoId, path: &str, start: u64) -> Result<FileBody, HubError>;
}
