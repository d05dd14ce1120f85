//! What can go wrong in a run.

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
    /// libtorch's.
    #[error("libtorch: {}", .0.to_string().lines().next().unwrap_or_default())]
    Torch(#[from] tch::TchError),
    /// A row whose picture is broken.
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
