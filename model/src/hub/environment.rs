//! The variables that Python's `huggingface_hub` reads, with the same meanings.

use std::{env, fs, path::PathBuf};

use hf_hub::Cache;

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
        let home = variable("HF_HOME").map_or_else(default_home, PathBuf::from);
        let cache = variable("HF_HUB_CACHE").or_else(|| variable("HUGGINGFACE_HUB_CACHE")).map_or_else(|| home.join("hub"), PathBuf::from);
        let token_file = variable("HF_TOKEN_PATH").map_or_else(|| home.join("token"), PathBuf::from);
        let stored = || fs::read_to_string(token_file).ok().filter(|_| !is_on("HF_HUB_DISABLE_IMPLICIT_TOKEN"));
        let token = variable("HF_TOKEN").or_else(|| variable("HUGGING_FACE_HUB_TOKEN")).or_else(stored);
        Self {
            endpoint: variable("HF_ENDPOINT").unwrap_or_else(|| ENDPOINT.into()).trim_end_matches('/').to_owned(),
            cache,
            // A line break in it would end the header that it is sent in.
            token: token.map(|t| t.trim().to_owned()).filter(|t| !t.is_empty() && t.chars().all(|c| c.is_ascii_graphic())),
            offline: is_on("HF_HUB_OFFLINE"),
        }
    }
}

/// `~/.cache/huggingface`, or below `XDG_CACHE_HOME`.
fn default_home() -> PathBuf {
    variable("XDG_CACHE_HOME").map_or_else(|| Cache::default().path().with_file_name(""), |xdg| PathBuf::from(xdg).join("huggingface"))
}

fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

fn is_on(name: &str) -> bool {
    variable(name).is_some_and(|value| ["1", "on", "yes", "true"].contains(&value.to_lowercase().as_str()))
}
