//! What is to be committed, and what became of it.

use super::{
    content::{Content, Upload, check_paths},
    error::WriteError,
};
use crate::hub::repo::is_commit;

/// Shortest and longest summary, in characters: a pull request's title.
const SUMMARY: std::ops::RangeInclusive<usize> = 3..=200;

/// What is to be committed.
#[derive(Clone, Debug, Default)]
pub struct CommitPlan {
    /// Its message, a line.
    pub summary: String,
    /// The commit that it is to follow; the Hub refuses it if there is another since.
    pub parent: Option<String>,
    /// Files that are to be there afterwards.
    pub files: Vec<Upload>,
    /// Paths of files that are not.
    pub delete: Vec<String>,
    /// As a pull request, which changes nothing until it is merged.
    pub as_pr: bool,
}

/// How committing ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Committed {
    /// With a commit.
    Done {
        /// Its hash.
        oid: String,
        /// Its page.
        url: String,
        /// The page of the pull request that was made with it.
        pr_url: Option<String>,
        /// Files that the repository's `.gitignore` keeps out.
        ignored: Vec<String>,
    },
    /// The repository holds all of it already.
    NothingChanged,
}

impl CommitPlan {
    pub(super) fn check(&self) -> Result<(), WriteError> {
        let paths = self.files.iter().map(|file| &file.path);
        check_paths(paths.chain(&self.delete))?;
        let line = !self.summary.chars().any(char::is_control);
        if !line || !SUMMARY.contains(&self.summary.chars().count()) {
            let reason = "a commit's summary is one line of 3 to 200 characters";
            return Err(WriteError::Plan(reason.to_owned()));
        }
        match self.parent.as_deref().filter(|parent| !is_commit(parent)) {
            Some(parent) => Err(WriteError::Plan(format!("{parent:?} is no commit"))),
            None => Ok(()),
        }
    }

    /// The text of the card among its files.
    pub(super) fn card(&self) -> Result<Option<String>, WriteError> {
        let Some(card) = self.files.iter().find(|file| file.path == "README.md") else {
            return Ok(None);
        };
        let bytes = match &card.content {
            Content::Bytes(bytes) => bytes.clone(),
            Content::File(path) => std::fs::read(path).map_err(WriteError::io(path))?,
        };
        let text = String::from_utf8(bytes).map_err(|_| WriteError::Card {
            errors: "is no UTF-8 text".to_owned(),
        })?;
        Ok(Some(text))
    }
}
