//! What can be wrong with a file, whatever it holds.

use std::path::{Path, PathBuf};

use crate::escaped;

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Errors of reading and writing files.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused a file.
    #[error("{}: {source}", escaped(&path.to_string_lossy()))]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file that is not what it should be.
    #[error("{}: {reason}", escaped(&path.to_string_lossy()))]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Another program writes to the folder.
    #[error("{}: another run (process {process}) is using this folder\nhint: wait for it, or \
             choose another with --out", escaped(&folder.to_string_lossy()))]
    Locked {
        /// The folder.
        folder: PathBuf,
        /// The other's process id.
        process: String,
    },
}

impl Error {
    /// An error of the operating system about `path`.
    pub fn io(path: impl AsRef<Path>, source: std::io::Error) -> Self {
        Self::Io {
            path: path.as_ref().to_owned(),
            source,
        }
    }

    /// What is wrong, without the path.
    pub fn reason(&self) -> String {
        match self {
            Self::Io { source, .. } => source.to_string(),
            Self::File { reason, .. } => reason.clone(),
            Self::Locked { process, .. } => format!("is in use by process {process}"),
        }
    }

    /// An error in the contents of `path`.
    pub fn file(path: impl AsRef<Path>, reason: impl ToString) -> Self {
        Self::File {
            path: path.as_ref().to_owned(),
            reason: reason.to_string(),
        }
    }
}
