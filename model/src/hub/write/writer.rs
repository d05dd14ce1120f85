//! The writing side of a Hub.

use std::io::Read;

use super::{
    account::{self, Access, Created, Head, Visibility, Writable},
    channel::{Channel, broken},
    error::WriteError,
    plan::{CommitPlan, Committed},
};
use crate::hub::{
    HubError, RemoteFile, RepoId, download::is_right, environment::Environment, http::HttpRemote,
    patience::with_patience, remote::Remote,
};

/// How the Hub can be reached.
enum Way {
    /// Not at all: no socket is opened.
    Offline,
    /// Without a token, which nobody may write without.
    NoToken,
    /// With one.
    Open(Box<Online>),
}

struct Online {
    channel: Channel,
    remote: HttpRemote,
}

/// Writes to the Hub.
pub struct HubWriter {
    way: Way,
}

impl HubWriter {
    /// As the environment says; see [`Hub::from_environment`](crate::hub::Hub::from_environment).
    pub fn from_environment(offline: bool) -> Self {
        let environment = Environment::read();
        if offline || environment.offline {
            return Self { way: Way::Offline };
        }
        Self::at(&environment.endpoint, environment.token.as_deref())
    }

    /// The Hub at another address.
    pub fn at(endpoint: &str, token: Option<&str>) -> Self {
        let online = |token: &str| Online {
            channel: Channel::new(endpoint, token),
            remote: HttpRemote::new(endpoint, Some(token)),
        };
        let way = token.map_or(Way::NoToken, |token| Way::Open(online(token).into()));
        Self { way }
    }

    /// Whether the network is switched off.
    pub fn is_offline(&self) -> bool {
        matches!(self.way, Way::Offline)
    }

    fn online(&self, repo: &RepoId) -> Result<&Online, WriteError> {
        let repo = repo.name.clone();
        match &self.way {
            Way::Offline => Err(WriteError::Offline { repo }),
            Way::NoToken => Err(WriteError::NoToken { repo }),
            Way::Open(online) => Ok(online),
        }
    }

    /// Whether the token may write to a repository or make it. Asked before anything is sent, once
    /// a run.
    pub fn may_write(&self, repo: &RepoId) -> Result<Writable, WriteError> {
        let writable = self.may_propose(repo)?;
        if writable.access != Access::Propose {
            return Ok(writable);
        }
        Err(WriteError::NotYours {
            repo: repo.name.clone(),
            account: writable.account,
            reason: "it may only read it; --pr proposes the change to its owner".to_owned(),
        })
    }

    /// Whether the token may at least propose changes to a repository.
    pub fn may_propose(&self, repo: &RepoId) -> Result<Writable, WriteError> {
        account::writable(&self.online(repo)?.channel, repo)
    }

    /// Makes a repository; one that is there already stays as it is.
    pub fn create(&self, repo: &RepoId, visibility: Visibility) -> Result<Created, WriteError> {
        account::create(&self.online(repo)?.channel, repo, visibility)
    }

    /// The last commit of a repository's branch.
    pub fn head(&self, repo: &RepoId) -> Result<Head, WriteError> {
        account::head(&self.online(repo)?.channel, repo)
    }

    /// All files of a repository at a commit.
    pub fn files(&self, repo: &RepoId, commit: &str) -> Result<Vec<RemoteFile>, WriteError> {
        let (remote, at) = (&self.online(repo)?.remote, repo.at(commit));
        Ok(with_patience(|| remote.tree(&at))?)
    }

    /// A file at a commit, checked against the Hub's listing; None where there is none.
    ///
    /// # Errors
    /// If it has more than `limit` bytes, or cannot be read.
    pub fn read(
        &self,
        repo: &RepoId,
        commit: &str,
        path: &str,
        limit: u64,
    ) -> Result<Option<Vec<u8>>, WriteError> {
        let files = self.files(repo, commit)?;
        let file = files.iter().find(|file| file.path == path);
        file.map(|file| self.read_listed(repo, commit, file, limit))
            .transpose()
    }

    /// The same of a file that was listed.
    pub fn read_listed(
        &self,
        repo: &RepoId,
        commit: &str,
        file: &RemoteFile,
        limit: u64,
    ) -> Result<Vec<u8>, WriteError> {
        let (remote, at, path) = (&self.online(repo)?.remote, repo.at(commit), &file.path);
        if file.size > limit {
            let reason = format!("{path} has more than {limit} bytes");
            return Err(broken(&repo.name, &reason));
        }
        let failed = |reason: String| HubError::Network {
            what: format!("{path} of {at}"),
            reason,
        };
        let bytes = with_patience(|| {
            let mut bytes = Vec::new();
            let mut reader = remote.open(&at, path, 0)?.reader.take(file.size + 1);
            let read = reader.read_to_end(&mut bytes);
            read.map_err(|e| failed(e.to_string()))?;
            if is_right(&bytes, file) {
                return Ok(bytes);
            }
            Err(failed("what arrived is not what the Hub lists".to_owned()))
        });
        Ok(bytes?)
    }

    /// Commits files to a repository's branch; all of them appear at once, or none.
    ///
    /// # Errors
    /// [`WriteError::Conflict`] where the plan's parent is no longer the last commit: read the
    /// branch again, merge, and commit once more.
    pub fn commit(&self, repo: &RepoId, plan: &CommitPlan) -> Result<Committed, WriteError> {
        let online = self.online(repo)?;
        plan.run(&online.channel, &online.remote, repo)
    }
}
