//! What can go wrong in training.

use std::path::Path;

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Errors of training.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Of a file.
    #[error(transparent)]
    File(#[from] flava_base::Error),
    /// Of the model below.
    #[error(transparent)]
    Model(#[from] flava_model::Error),
    /// A folder that holds a training of something else.
    #[error(
        "{folder}: holds a training of other settings, weights or data\nhint: choose another --out, or \
         remove it"
    )]
    OtherTraining {
        /// The folder.
        folder: String,
    },
    /// A saved state that cannot be gone on from.
    #[error("{reason}\nhint: remove {folder} to begin again")]
    DamagedState {
        /// What is wrong, and where.
        reason: String,
        /// The state's folder.
        folder: String,
    },
    /// Losses, gradients or weights that are no numbers.
    #[error("{reason}\nhint: lower learning_rate, or set clip_norm")]
    NotFinite {
        /// Which, and when.
        reason: String,
    },
    /// More rows than allowed cannot be read.
    #[error("{0}")]
    BrokenRows(String),
    /// Another process of the training has something else.
    #[error("process {rank} has other {what} than process 0: {reason}")]
    OtherProcess {
        /// Which.
        rank: usize,
        /// What is other.
        what: &'static str,
        /// How.
        reason: String,
    },
    /// Another process lacks memory.
    #[error("memory is short in another process")]
    MemoryElsewhere,
    /// Ctrl-C was pressed; the state is saved.
    #[error("interrupted; the same command goes on from here")]
    Interrupted,
}

impl Error {
    pub(crate) fn io(path: &Path, source: std::io::Error) -> Self {
        Self::File(flava_base::Error::io(path, source))
    }
}

impl From<tch::TchError> for Error {
    fn from(error: tch::TchError) -> Self {
        Self::Model(error.into())
    }
}

/// What a learner's own errors must tell the trainer.
pub trait LearnerError: std::error::Error + From<Error> {
    /// Whether the device's memory was short: fewer rows at once may fit.
    fn is_out_of_memory(&self) -> bool;
}

impl LearnerError for Error {
    fn is_out_of_memory(&self) -> bool {
        match self {
            Self::Model(error) => error.is_out_of_memory(),
            Self::MemoryElsewhere => true,
            _ => false,
        }
    }
}
