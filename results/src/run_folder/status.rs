//! How the tasks of a run stand.

use std::{collections::BTreeMap, path::Path, time::SystemTime};

use flava_base::{MAX_SETTINGS, is_there, read_json};

use serde::{Deserialize, Serialize};

use crate::Result;

/// The file that says how each task stands.
pub(super) const STATUS: &str = "status.json";

/// How the tasks of a folder stand; nothing where it does not say.
///
/// # Errors
/// If its file is damaged.
pub(crate) fn read_status(folder: &Path) -> Result<BTreeMap<String, Status>> {
    let status = folder.join(STATUS);
    if is_there(&status) {
        Ok(read_json(&status, MAX_SETTINGS)?)
    } else {
        Ok(BTreeMap::new())
    }
}

/// The current time, such as `2026-01-31T12:00:00Z`.
pub fn timestamp() -> String {
    humantime::format_rfc3339_seconds(SystemTime::now()).to_string()
}

/// How a task stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Its turn has not come.
    Waiting,
    /// It is being run, or was when the program was killed.
    Running,
    /// Its record is written.
    Done,
    /// It ended with an error.
    Failed,
}

/// How a task stands, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The suite that it is of; empty in folders of older programs.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub suite: String,
    /// How it stands.
    pub state: State,
    /// Why it failed; empty otherwise.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Since when, UTC.
    pub since: String,
}

impl Status {
    /// Since now.
    pub(super) fn new(suite: &str, state: State, reason: &str) -> Self {
        Self {
            suite: suite.to_owned(),
            state,
            reason: reason.to_owned(),
            since: timestamp(),
        }
    }
}

/// A task of a run, before anything is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedTask {
    /// The name of its record.
    pub name: String,
    /// The suite that it is of.
    pub suite: String,
}

/// A task that ended with an error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FailedTask {
    /// The name that its record would have.
    pub task: String,
    /// The suite that it is of.
    pub suite: String,
    /// How it stands: failed.
    pub status: State,
    /// Why.
    pub reason: String,
    /// When it failed, UTC.
    pub date: String,
}

impl FailedTask {
    /// Now.
    pub fn new(task: &str, suite: &str, reason: &str) -> Self {
        Self {
            task: task.to_owned(),
            suite: suite.to_owned(),
            status: State::Failed,
            reason: reason.to_owned(),
            date: timestamp(),
        }
    }
}
