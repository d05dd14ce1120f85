//! What a head can refuse.

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Errors of heads.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An input whose shape or values do not fit.
    #[error("{0}")]
    Input(String),
    /// An error of the model below.
    #[error(transparent)]
    Model(#[from] flava_model::Error),
}

impl From<tch::TchError> for Error {
    fn from(error: tch::TchError) -> Self {
        Self::Model(error.into())
    }
}
