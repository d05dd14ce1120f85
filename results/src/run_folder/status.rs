//! How the tasks of a run stand.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

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
    pub(super) fn new(state: State, reason: &str) -> Self {
        Self {
            state,
            reason: reason.to_owned(),
            since: timestamp(),
        }
    }
}
