//! What pretraining can refuse.

use flava_training::LearnerError;

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Errors of pretraining.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A batch that lacks what a loss needs, or contradicts itself.
    #[error("{0}")]
    Input(String),
    /// A recipe that cannot be run.
    #[error("recipe {name}: {reason}")]
    Recipe {
        /// Its name or file.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Of a file.
    #[error(transparent)]
    File(#[from] flava_base::Error),
    /// An error of the model below.
    #[error(transparent)]
    Model(#[from] flava_model::Error),
    /// An error of a head.
    #[error(transparent)]
    Head(#[from] flava_heads::Error),
    /// Of a corpus.
    #[error(transparent)]
    Corpus(#[from] flava_tasks::Error),
    /// Of an evaluation.
    #[error(transparent)]
    Evaluator(#[from] flava_evaluator::Error),
    /// Of the folder of results.
    #[error(transparent)]
    Results(#[from] flava_results::Error),
    /// Training that cannot go on.
    #[error(transparent)]
    Training(flava_training::Error),
    /// Ctrl-C was pressed.
    #[error("interrupted; the same command goes on from here")]
    Interrupted,
}

impl Error {
    /// Whether Ctrl-C ended it.
    pub fn is_interruption(&self) -> bool {
        matches!(
            self,
            Self::Interrupted | Self::Evaluator(flava_evaluator::Error::Interrupted)
        )
    }
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
