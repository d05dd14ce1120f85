//! What can go wrong in a run.

use flava_training::LearnerError;

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Errors of a run; each says what, where and, where it helps, what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Of a file.
    #[error(transparent)]
    File(#[from] flava_base::Error),
    /// Of the model or its files.
    #[error(transparent)]
    Model(#[from] flava_model::Error),
    /// Of a head.
    #[error(transparent)]
    Head(#[from] flava_heads::Error),
    /// Of the registry or of data.
    #[error(transparent)]
    Task(#[from] flava_tasks::Error),
    /// Of result files.
    #[error(transparent)]
    Results(#[from] flava_results::Error),
    /// Training that cannot go on.
    #[error(transparent)]
    Training(flava_training::Error),
    /// A row whose image is broken.
    #[error("{id}: {reason} (--skip-broken leaves such rows out)")]
    Row {
        /// The row.
        id: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Ctrl-C was pressed.
    #[error("interrupted; the same command goes on from here")]
    Interrupted,
    /// Anything else, said in full.
    #[error("{0}")]
    Other(String),
}

impl From<tch::TchError> for Error {
    fn from(error: tch::TchError) -> Self {
        Self::Model(error.into())
    }
}

impl From<flava_training::Error> for Error {
    fn from(error: flava_training::Error) -> Self {
        match error {
            flava_training::Error::Interrupted => Self::Interrupted,
            other => Self::Training(other),
        }
    }
}

impl LearnerError for Error {
    fn is_out_of_memory(&self) -> bool {
        match self {
            Self::Model(error) | Self::Head(flava_heads::Error::Model(error)) => {
                error.is_out_of_memory()
            }
            Self::Training(error) => error.is_out_of_memory(),
            _ => false,
        }
    }
}
