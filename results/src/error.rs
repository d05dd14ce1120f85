//! What can go wrong with result files.

use std::path::Path;

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Errors of result files.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file that cannot be read or written, or does not hold what it should.
    #[error(transparent)]
    File(#[from] flava_base::Error),
    /// Results that do not go together, or that nothing can be made of.
    #[error("{0}")]
    Board(String),
    /// Predictions that cannot be read.
    #[error(transparent)]
    Task(#[from] flava_tasks::Error),
}

impl Error {
    pub(crate) fn file(path: &Path, reason: impl ToString) -> Self {
        Self::File(flava_base::Error::file(path, reason))
    }

    pub(crate) fn io(path: &Path, source: std::io::Error) -> Self {
        Self::File(flava_base::Error::io(path, source))
    }
}
