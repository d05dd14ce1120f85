//! What can go wrong in a run.

use flava_base::MANIFEST;
use flava_tasks::Metric;
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
    /// What cannot be written as JSON, or is not named as in it.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// What cannot be written as TOML.
    #[error(transparent)]
    Toml(#[from] toml::ser::Error),
    /// Features that the system does not take on their way to a file.
    #[error("writing features: {0}")]
    Spool(#[source] std::io::Error),
    /// A fine-tuned model whose files are not those that were written.
    #[error("{source} (if that was meant, remove {MANIFEST})")]
    Changed {
        /// Which file, and how it differs.
        source: flava_base::Error,
    },
    /// The embedded model, where no folder takes it.
    #[error(
        "the embedded model cannot be unpacked: {}; set FLAVA_CACHE to a folder that can be written",
        joined(reasons)
    )]
    Unpack {
        /// Why not, for each folder that was tried.
        reasons: Vec<Error>,
    },
    /// What went wrong with one of several tasks.
    #[error("{task}: {source}")]
    OfTask {
        /// The task.
        task: String,
        /// What went wrong.
        source: Box<Error>,
    },
    /// A value of an argument or setting that cannot be.
    #[error("{argument} {value}: {reason}")]
    Argument {
        /// Such as `--model`, or a recipe's `answer_min_count`.
        argument: &'static str,
        /// What was given.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An argument that is missing, or does not go with the task or the others.
    #[error("{reason}")]
    Usage {
        /// Such as `--split`; `TASK` where it has no flag.
        argument: &'static str,
        /// What is wrong, in full.
        reason: String,
    },
    /// A task, model, repository or run that does not have what is needed of it.
    #[error("{reason}")]
    Lacking {
        /// What is needed, such as `protocol`, `split` or `feature`.
        what: &'static str,
        /// Who lacks it, in full.
        reason: String,
    },
    /// Things that belong together and differ: a model and a task, predictions and a record.
    #[error("{reason}")]
    Mismatch {
        /// What differs, such as `task`, `data` or `commit`.
        what: &'static str,
        /// How, in full.
        reason: String,
    },
    /// Class names that contradict each other, the labels or the task.
    #[error("{0}")]
    Classes(String),
    /// A row whose image is broken.
    #[error("{id}: {reason}\nhint: --skip-broken leaves such rows out")]
    Row {
        /// The row.
        id: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A row without what is read of it.
    #[error("{id} has no {what}")]
    RowLacks {
        /// The row.
        id: String,
        /// Such as its class.
        what: &'static str,
    },
    /// Rows of which what was asked for cannot be made: none, too few, or all of one class.
    #[error("{0}")]
    UnfitRows(String),
    /// Answers that do not fit into a test server's form.
    #[error("{0}")]
    Submission(String),
    /// Features, scores or outputs that are no numbers.
    #[error("{0}")]
    NotFinite(String),
    /// A metric that has no value.
    #[error("{} {reason}", metric.name())]
    Undefined {
        /// The metric.
        metric: Metric,
        /// Of what it is not defined.
        reason: String,
    },
    /// Fine-tuning of which no state could be chosen.
    #[error(
        "no evaluation gave a score: the model gives every row the same answer (another \
         learning_rate or clip_norm may help)"
    )]
    NeverScored,
    /// What cannot happen unless the program is wrong.
    #[error("{0}")]
    Internal(&'static str),
    /// What failed in another process of the run.
    #[error("{0}")]
    Elsewhere(String),
    /// Ctrl-C was pressed.
    #[error("interrupted; the same command goes on from here")]
    Interrupted,
}

/// Several errors on a line.
fn joined(errors: &[Error]) -> String {
    let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
    errors.join("; ")
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
