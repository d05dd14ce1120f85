//! What can go wrong on the way to the Hub; each message says what to do.

use std::{fmt, path::PathBuf, time::Duration};

use crate::hub::{HubError, patience::Passing};

/// An answer that refuses, in the Hub's own words.
#[derive(Clone, Debug, Default)]
pub struct Refused {
    /// What was asked.
    pub what: String,
    /// The HTTP status.
    pub status: u16,
    /// `X-Error-Code`, or nothing.
    pub code: String,
    /// `X-Error-Message`, or what the body says.
    pub message: String,
    /// `X-Request-Id`: the Hub's people find the request by it.
    pub request_id: String,
    /// How long it asks to wait.
    pub wait: Option<Duration>,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: the Hub answers {}", self.what, self.status)?;
        let parts = [
            (" ", self.code.as_str()),
            (": ", self.message.as_str()),
            (" (request ", self.request_id.as_str()),
        ];
        for (before, part) in parts.iter().filter(|(_, part)| !part.is_empty()) {
            write!(f, "{before}{}", flava_base::escaped(part))?;
        }
        f.write_str(if self.request_id.is_empty() { "" } else { ")" })
    }
}

/// Errors of writing to the Hub. None holds a token.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// Of reading from it.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// The network is switched off.
    #[error(
        "the network is switched off: leave out --offline and HF_HUB_OFFLINE to write to {repo}"
    )]
    Offline {
        /// The repository.
        repo: String,
    },
    /// Nobody is logged in.
    #[error(
        "writing to {repo} needs a token: set HF_TOKEN to one that may write (or run `hf auth login`)"
    )]
    NoToken {
        /// The repository.
        repo: String,
    },
    /// The token is not valid.
    #[error("{refused}\nhint: the token is not valid or has expired; set HF_TOKEN to another")]
    Token {
        /// What the Hub says.
        refused: Box<Refused>,
    },
    /// The token may only read.
    #[error(
        "the token {token:?} of {account} may only read: make one with the role \"write\", or a fine-grained one that may write to {repo}"
    )]
    ReadOnly {
        /// The repository.
        repo: String,
        /// The account.
        account: String,
        /// The name that the account gave to the token.
        token: String,
    },
    /// Somebody else's repository.
    #[error("{account} may not write to {repo}: {reason}")]
    NotYours {
        /// The repository.
        repo: String,
        /// The account.
        account: String,
        /// Why, and what to do.
        reason: String,
    },
    /// The repository is called otherwise today.
    #[error("{repo} has moved: name it as it is called today{}", shown(to))]
    Moved {
        /// The repository.
        repo: String,
        /// Its name today; empty where the Hub does not say.
        to: String,
    },
    /// Another refusal.
    #[error("{0}")]
    Refused(Box<Refused>),
    /// Somebody committed since the branch was read.
    #[error("{repo} has another commit since {parent}: {refused}")]
    Conflict {
        /// The repository.
        repo: String,
        /// The commit that was thought to be the last.
        parent: String,
        /// What the Hub says.
        refused: Box<Refused>,
    },
    /// The connection failed or broke off.
    #[error("{what}: {reason}")]
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
    /// A commit that did not happen, though the Hub did not say so itself.
    #[error(
        "nothing was written to {repo}: its last commit is still {head} ({reason}); the same command tries again"
    )]
    NotCommitted {
        /// The repository.
        repo: String,
        /// Its last commit.
        head: String,
        /// What came instead of an answer.
        reason: String,
    },
    /// A commit of which nobody knows whether it happened.
    #[error(
        "whether {repo} has the commit is not known: {reason}, and then {then}; look at {page} before trying again"
    )]
    Unsettled {
        /// The repository.
        repo: String,
        /// Where to look.
        page: String,
        /// What came instead of an answer.
        reason: String,
        /// Why it could not be found out.
        then: Box<WriteError>,
    },
    /// A card that the Hub does not take.
    #[error("README.md: {errors}")]
    Card {
        /// What is wrong with it.
        errors: String,
    },
    /// A file that cannot be in a repository.
    #[error("{path:?}: {reason}")]
    Path {
        /// Its path there.
        path: String,
        /// Why not.
        reason: String,
    },
    /// A commit that the Hub would not take.
    #[error("{0}")]
    Plan(String),
    /// The operating system refused a file.
    #[error("{}: {source}", flava_base::escaped(&path.to_string_lossy()))]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl WriteError {
    pub(super) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }

    /// Whether the branch has moved on: read it, merge, and commit again.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Conflict { .. })
    }
}

/// A name in brackets, if there is one.
fn shown(name: &str) -> String {
    if name.is_empty() {
        String::new()
    } else {
        format!(" ({name})")
    }
}

impl Passing for WriteError {
    fn passes(&self) -> bool {
        match self {
            Self::Network { .. } => true,
            Self::Refused(refused) => {
                matches!(refused.status, 408 | 409 | 429 | 500 | 502 | 503 | 504)
            }
            Self::Hub(error) => error.passes(),
            _ => false,
        }
    }

    fn is_silence(&self) -> bool {
        matches!(self, Self::Network { .. })
    }

    fn wait(&self) -> Option<Duration> {
        match self {
            Self::Refused(refused) => refused.wait,
            Self::Hub(error) => error.wait(),
            _ => None,
        }
    }
}
