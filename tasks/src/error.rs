//! What can be wrong with tasks and data, with the file and row inside.

use std::path::Path;

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Errors of the registry and of sources.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file that cannot be read, or does not hold what it should.
    #[error(transparent)]
    File(#[from] flava_base::Error),
    /// Data that is not there.
    #[error("no data for {task}: {reason}")]
    Missing {
        /// The task.
        task: String,
        /// Where it was looked for.
        reason: String,
    },
    /// Data that is there and is not what the protocol asks for.
    #[error(
        "the data for {task} does not deserve the protocol's name: {}\nhint: --allow-mismatch runs it and marks the record; --protocol as-published takes a source's own rows",
        reasons.join("; ")
    )]
    Mismatch {
        /// The task.
        task: String,
        /// What differs, for each source that was found.
        reasons: Vec<String>,
    },
    /// A task row that cannot be used.
    #[error("task file {file}: {reason}")]
    TaskFile {
        /// Its name.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Predictions that cannot be scored.
    #[error("predictions: {0}")]
    Predictions(String),
    /// A name that no task has.
    #[error("there is no task {name:?}{hint}\nhint: `flava-eval tasks` lists them")]
    UnknownTask {
        /// What was asked for.
        name: String,
        /// The nearest names.
        hint: String,
    },
}

impl Error {
    pub(crate) fn io(path: impl AsRef<Path>, source: std::io::Error) -> Self {
        Self::File(flava_base::Error::io(path, source))
    }

    pub(crate) fn data(path: impl AsRef<Path>, reason: impl ToString) -> Self {
        Self::File(flava_base::Error::file(path, reason))
    }
}
