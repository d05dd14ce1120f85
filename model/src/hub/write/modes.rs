//! How each file is to be sent: inside the commit, into large-file storage, or not at all.

use std::collections::HashMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Deserialize;
use serde_json::json;

use super::{
    channel::{Call, Channel, Load, broken},
    content::Weighed,
    error::WriteError,
};
use crate::hub::RepoId;

/// Files of one question.
pub(super) const FILES_A_CALL: usize = 256;
/// Largest file inside a commit.
const MAX_INLINE: u64 = 10 << 20;

#[derive(Deserialize)]
struct ModeAnswer {
    files: Vec<FileMode>,
}

#[derive(Deserialize)]
struct FileMode {
    path: String,
    #[serde(rename = "uploadMode")]
    mode: String,
    #[serde(rename = "shouldIgnore", default)]
    ignored: bool,
    oid: Option<String>,
}

/// What is done with files.
#[derive(Default)]
pub(super) struct Sorted<'a> {
    /// Sent inside the commit.
    pub(super) inline: Vec<Weighed<'a>>,
    /// Sent into large-file storage before it.
    pub(super) large: Vec<Weighed<'a>>,
    /// Ignored by the repository's `.gitignore`.
    pub(super) ignored: Vec<String>,
}

/// Asks how files are to be sent; those that the repository has already are left out.
pub(super) fn sort<'a>(
    channel: &Channel,
    target: &Target,
    files: Vec<Weighed<'a>>,
) -> Result<Sorted<'a>, WriteError> {
    let mut modes = HashMap::new();
    for files in files.chunks(FILES_A_CALL) {
        for mode in ask(channel, target, files)?.files {
            modes.insert(mode.path.clone(), mode);
        }
    }
    let mut sorted = Sorted::default();
    for file in files {
        let path = &file.upload.path;
        let mode = modes.get(path);
        let mode =
            mode.ok_or_else(|| broken(&target.repo.name, &format!("no mode of {path:?}")))?;
        // Storage takes no empty objects.
        let large = mode.mode == "lfs" && file.size > 0;
        if mode.ignored {
            sorted.ignored.push(path.clone());
        } else if mode
            .oid
            .as_ref()
            .is_some_and(|oid| [&file.sha256, &file.git].contains(&oid))
        {
            // It is there already, in one form or the other.
        } else if large {
            sorted.large.push(file);
        } else if file.size > MAX_INLINE {
            let reason = format!(
                "{path:?} has more than 10 MB and is to be sent as {:?}",
                mode.mode
            );
            return Err(broken(&target.repo.name, &reason));
        } else {
            sorted.inline.push(file);
        }
    }
    Ok(sorted)
}

/// Where a commit goes.
#[derive(Clone, Copy)]
pub(super) struct Target<'a> {
    pub(super) repo: &'a RepoId,
    /// As a pull request.
    pub(super) as_pr: bool,
}

impl Target<'_> {
    /// An address of the API about its branch.
    pub(super) fn url(&self, channel: &Channel, what: &str) -> String {
        let revision = self.repo.hub().url_revision();
        let query = if self.as_pr { "?create_pr=1" } else { "" };
        channel.api(self.repo, &format!("{what}/{revision}{query}"))
    }
}

fn ask(channel: &Channel, target: &Target, files: &[Weighed]) -> Result<ModeAnswer, WriteError> {
    let file = |file: &Weighed| {
        json!({
            "path": file.upload.path,
            "size": file.size,
            "sample": STANDARD.encode(&file.sample),
        })
    };
    let files: Vec<_> = files.iter().map(file).collect();
    let body = json!({ "files": files }).to_string();
    let answer = channel.ask(Call {
        what: &target.repo.name,
        method: "POST",
        url: &target.url(channel, "preupload"),
        load: Load::json(body.as_bytes()),
    })?;
    answer.json()
}
