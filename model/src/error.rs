//! What can go wrong between a file and a hidden state, with the offending value inside.

use std::path::{Path, PathBuf};

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Errors of reading, preprocessing and running a model.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file that cannot be read, or does not hold what it should.
    #[error(transparent)]
    File(#[from] flava_base::Error),
    /// A configuration that contradicts itself or asks for what FLAVA does not have.
    #[error("config: {0}")]
    Config(String),
    /// Tensors that a checkpoint lacks or has in another shape.
    #[error("{}: {reason}", path.display())]
    Checkpoint {
        /// The checkpoint's file or folder.
        path: PathBuf,
        /// The report of what does not fit.
        reason: String,
    },
    /// Of the Hub or its cache.
    #[error(transparent)]
    Hub(#[from] crate::hub::HubError),
    /// Of writing to the Hub.
    #[error(transparent)]
    HubWrite(#[from] crate::hub::write::WriteError),
    /// An image that cannot be decoded.
    #[error("{0}")]
    Image(String),
    /// A text that cannot be tokenized.
    #[error("tokenizer: {0}")]
    Tokenizer(String),
    /// An input whose shape or values do not fit the model.
    #[error("input: {0}")]
    Input(String),
    /// A device or precision that this machine does not offer.
    #[error("{0}")]
    Device(String),
    /// What several processes of one run cannot settle.
    #[error("{0}")]
    Process(String),
    /// The device has no room for what was asked of it.
    #[error("memory is short: {0}")]
    OutOfMemory(String),
    /// Nor has the host any: its libraries cannot do with less, and some end the program then.
    #[error("the host's memory is short: {0}")]
    HostOutOfMemory(String),
    /// An error that libtorch raised.
    #[error("libtorch: {}", first_line(.0))]
    Torch(tch::TchError),
}

impl From<tch::TchError> for Error {
    /// libtorch has a class of its own for a lack of memory, of which only the message comes here.
    fn from(error: tch::TchError) -> Self {
        let line = first_line(&error);
        if line.contains("out of memory") || line.contains("not enough memory") {
            Self::OutOfMemory(line)
        } else if line.contains("can't allocate memory") {
            Self::HostOutOfMemory(line)
        } else {
            Self::Torch(error)
        }
    }
}

impl Error {
    /// Whether the device's memory was short: fewer rows at once may fit.
    pub fn is_out_of_memory(&self) -> bool {
        matches!(self, Self::OutOfMemory(_))
    }

    /// An error of the operating system about `path`.
    pub fn io(path: impl AsRef<Path>, source: std::io::Error) -> Self {
        Self::File(flava_base::Error::io(path, source))
    }

    /// An error in the contents of `path`.
    pub fn file(path: impl AsRef<Path>, reason: impl ToString) -> Self {
        Self::File(flava_base::Error::file(path, reason))
    }
}

/// libtorch appends a C++ backtrace of some fifty lines.
fn first_line(error: &tch::TchError) -> String {
    error
        .to_string()
        .lines()
        .next()
        .unwrap_or_default()
        .to_owned()
}
