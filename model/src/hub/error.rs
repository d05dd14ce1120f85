//! What can go wrong between here and the Hub; each message says what to do.

use std::{path::PathBuf, time::Duration};

use super::patience::Passing;

/// Errors of the Hub and of its cache. None holds a token.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// A text that names no repository.
    #[error("{text:?} is no repository: write owner/name or owner/name@revision")]
    Name {
        /// What was given.
        text: String,
    },
    /// Terms have to be accepted first.
    #[error(
        "{repo} is gated: accept its terms at {page} with your account, then set HF_TOKEN to a token of that account (or run `hf auth login`)"
    )]
    Gated {
        /// The repository.
        repo: String,
        /// Where to accept.
        page: String,
    },
    /// Not shown without a token that may see it.
    #[error(
        "{repo} is private, or the name is misspelt: set HF_TOKEN to a token that may read it (or run `hf auth login`), or correct the name"
    )]
    Private {
        /// The repository.
        repo: String,
    },
    /// The token is not valid.
    #[error(
        "the Hub refuses the token that was sent for {repo}: set HF_TOKEN to a valid one, or remove it for public repositories"
    )]
    Token {
        /// The repository.
        repo: String,
    },
    /// No such repository.
    #[error("there is no {repo} on the Hub, or the token may not see it: check the name")]
    Missing {
        /// The repository.
        repo: String,
    },
    /// No such branch, tag or commit.
    #[error("{repo} has no revision {revision:?}: check it, or leave it out for the main branch")]
    Revision {
        /// The repository.
        repo: String,
        /// What was asked for.
        revision: String,
    },
    /// No such file.
    #[error("{repo} has no file {path}")]
    File {
        /// The repository.
        repo: String,
        /// The path that was asked for.
        path: String,
    },
    /// Something is not here, and the network may not be used.
    #[error("{repo} is not in the cache {} and the network is switched off: run `flava-eval fetch` where there is a network, or leave out --offline and HF_HUB_OFFLINE", cache.display())]
    Offline {
        /// The repository.
        repo: String,
        /// The cache.
        cache: PathBuf,
    },
    /// The Hub is busy or broken; tried again after a while.
    #[error("the Hub answers {status} for {what}")]
    Busy {
        /// The HTTP status.
        status: u16,
        /// The request.
        what: String,
        /// How long it asks to wait.
        wait: Option<Duration>,
    },
    /// The connection failed or broke off; tried again after a while.
    #[error("{what}: {reason} (is there a network? --data and --offline need none)")]
    Network {
        /// The request.
        what: String,
        /// What happened.
        reason: String,
    },
    /// An answer that is none of the protocol.
    #[error("{what}: the answer is not the Hub's: {reason}")]
    Protocol {
        /// The request.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A file whose bytes are not those that the Hub promised. It was removed.
    #[error(
        "{path} of {repo}: what arrived is not what the Hub lists ({reason}); nothing of it was kept"
    )]
    Integrity {
        /// The repository.
        repo: String,
        /// The file.
        path: String,
        /// Length or checksum.
        reason: String,
    },
    /// Too little room.
    #[error("{needed} bytes are to be fetched and {} has room for {free}: free some, or choose another folder (HF_HOME, --to)", folder.display())]
    Room {
        /// What is missing yet.
        needed: u64,
        /// What is free.
        free: u64,
        /// Where it would go.
        folder: PathBuf,
    },
    /// The operating system refused a file.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl HubError {
    pub(super) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }
}

impl Passing for HubError {
    fn passes(&self) -> bool {
        matches!(self, Self::Busy { .. } | Self::Network { .. })
    }

    fn is_silence(&self) -> bool {
        matches!(self, Self::Network { .. })
    }

    fn wait(&self) -> Option<Duration> {
        match self {
            Self::Busy { wait, .. } => *wait,
            _ => None,
        }
    }
}
