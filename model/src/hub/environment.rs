//! The variables that Python's `huggingface_hub` reads, with the same meanings.

use std::{env, fs, path::PathBuf};

/// Where the Hub is and where its files are kept.
#[derive(Clone)]
pub(super) struct Environment {
    /// Such as `https://huggingface.co`, without a slash at its end.
    pub(super) endpoint: String,
    /// The folder of repositories.
    pub(super) cache: PathBuf,
    /// Sent to the endpoint, and nowhere else.
    pub(super) token: Option<String>,
    /// Whether no socket may be opened.
    pub(super) offline: bool,
}

const ENDPOINT: &str = "https://huggingface.co";

impl Environment {
    pub(super) fn read() -> Self {
        let home = path("HF_HOME").unwrap_or_else(default_home);
        let cache = path("HF_HUB_CACHE")
            .or_else(|| path("HUGGINGFACE_HUB_CACHE"))
            .unwrap_or_else(|| home.join("hub"));
        let token_file = path("HF_TOKEN_PATH").unwrap_or_else(|| home.join("token"));
        let stored = || fs::read_to_string(token_file).ok();
        let token = variable("HF_TOKEN")
            .or_else(|| variable("HUGGING_FACE_HUB_TOKEN"))
            .or_else(stored);
        let token = token.filter(|_| !is_on("HF_HUB_DISABLE_IMPLICIT_TOKEN"));
        Self {
            endpoint: variable("HF_ENDPOINT")
                .unwrap_or_else(|| ENDPOINT.into())
                .trim_end_matches('/')
                .to_owned(),
            cache,
            // A line break in it would end the header that it is sent in.
            token: token
                .map(|t| t.trim().to_owned())
                .filter(|t| !t.is_empty() && t.chars().all(|c| c.is_ascii_graphic())),
            offline: is_on("HF_HUB_OFFLINE") || is_on("TRANSFORMERS_OFFLINE"),
        }
    }
}

/// `~/.cache/huggingface`, or below `XDG_CACHE_HOME`; where there is no home, as in some
/// containers, among temporary files.
fn default_home() -> PathBuf {
    let user = || env::home_dir().map(|home| home.join(".cache"));
    path("XDG_CACHE_HOME")
        .or_else(user)
        .unwrap_or_else(env::temp_dir)
        .join("huggingface")
}

/// A path, a tilde at its start standing for the user's home.
fn path(name: &str) -> Option<PathBuf> {
    let value = variable(name)?;
    let home = value
        .strip_prefix("~/")
        .and_then(|rest| Some(env::home_dir()?.join(rest)));
    Some(home.unwrap_or_else(|| value.into()))
}

fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

fn is_on(name: &str) -> bool {
    variable(name)
        .is_some_and(|value| ["1", "on", "yes", "true"].contains(&value.to_lowercase().as_str()))
}
