//! What pretraining can refuse.

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Errors of pretraining.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A batch that lacks what a loss needs, or contradicts itself.
    #[error("{0}")]
    Input(String),
    /// An error of the model below.
    #[error(transparent)]
    Model(#[from] flava_model::Error),
    /// An error of a head.
    #[error(transparent)]
    Head(#[from] flava_heads::Error),
    /// An error that libtorch raised.
    #[error("libtorch: {0}")]
    Torch(#[from] tch::TchError),
}
