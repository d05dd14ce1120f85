//! What pretraining can refuse.

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
    /// An error that libtorch raised.
    #[error("libtorch: {}", .0.to_string().lines().next().unwrap_or_default())]
    Torch(#[from] tch::TchError),
    /// Training that cannot go on.
    #[error("{0}")]
    Training(String),
    /// Ctrl-C was pressed.
    #[error("interrupted; the same command goes on from here")]
    Interrupted,
}
