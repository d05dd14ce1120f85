//! What is published, where, and how that ended.

use crate::Result;

/// Where results go.
#[derive(Clone, Debug, Default)]
pub struct PublishOptions {
    /// `owner/name` of a repository, `@branch` behind it where it is not the main one.
    pub repo: String,
    /// Only say what would be written.
    pub dry_run: bool,
    /// Let everybody see a repository that is made.
    pub public: bool,
    /// Propose the change instead of making it.
    pub pr: bool,
    /// Predictions too.
    pub predictions: bool,
    /// Say nothing.
    pub quiet: bool,
}

/// A model's own table, which nobody else writes to.
#[derive(Clone, Debug)]
pub struct LongTable {
    /// The name of its file in `results/`, without the ending; see [`table_name`](super::table_name).
    pub name: String,
    /// A line for each score.
    pub csv: String,
}

/// What is made of runs.
#[derive(Clone, Debug)]
pub struct Tables {
    /// Rows of the table that all models share.
    pub leaderboard: String,
    /// A table for each model.
    pub long: Vec<LongTable>,
    /// A page.
    pub report: Option<String>,
    /// What is made of the shared table once it has everybody's rows, such as their ranks.
    pub finish: fn(String) -> Result<String>,
}

/// What was published.
#[derive(Clone, Debug)]
pub struct Publication {
    /// The repository, its files and rows that change, in lines.
    pub plan: String,
    /// How it ended.
    pub ending: Ending,
}

/// How publishing ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Nothing was to be written.
    DryRun,
    /// Everything was there already.
    NothingChanged,
    /// With a commit.
    Done {
        /// Its page, or that of the pull request.
        url: String,
        /// Files that the repository's `.gitignore` kept out.
        ignored: Vec<String>,
    },
}
