//! Tasks of people's own: a short row names data and method; what the data tells is filled in.

mod complete;
mod fill;
mod keys;
mod labels;
mod lines;
mod read;
mod splits;

pub use complete::TEMPLATE;
pub use read::tasks_of;
pub use splits::SPLIT_NAMES;

/// What of a task its row leaves to its data.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Open {
    /// Number and names of the classes.
    pub classes: bool,
    /// The states that are read.
    pub feature: bool,
    /// The part of the model that it measures.
    pub family: bool,
    /// The metrics.
    pub metrics: bool,
    /// What the main metric gives without looking.
    pub chance: bool,
    /// The form of the files, or which files there are.
    pub files: bool,
}

impl Open {
    /// Whether anything is.
    pub fn any(&self) -> bool {
        *self != Self::default()
    }
}
