//! One commit: everything in it appears at once, or nothing does.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    account::validate_card,
    channel::{Answer, Call, Channel, LINES, Load},
    content::Weighed,
    error::WriteError,
    large,
    modes::{Sorted, Target, sort},
    plan::{CommitPlan, Committed},
    settle::{Sent, settle},
};
use crate::hub::{RepoId, http::HttpRemote};

/// Most bytes of all files inside a commit; the Hub takes four times as many.
const MAX_INLINE: u64 = 256 << 20;

#[derive(Deserialize)]
struct CommitAnswer {
    #[serde(rename = "commitUrl")]
    url: String,
    #[serde(rename = "commitOid")]
    oid: String,
    #[serde(rename = "pullRequestUrl")]
    pr_url: Option<String>,
}

impl CommitPlan {
    /// Commits to a repository's branch.
    pub(super) fn run(
        &self,
        channel: &Channel,
        remote: &HttpRemote,
        repo: &RepoId,
    ) -> Result<Committed, WriteError> {
        self.check()?;
        let files = self.files.iter().map(Weighed::new);
        let files = files.collect::<Result<Vec<_>, _>>()?;
        if let Some(card) = self.card()? {
            validate_card(channel, repo, &card)?;
        }
        let target = Target {
            repo,
            as_pr: self.as_pr,
        };
        let sorted = sort(channel, &target, files)?;
        if sorted.inline.is_empty() && sorted.large.is_empty() && self.delete.is_empty() {
            return Ok(Committed::NothingChanged);
        }
        let body = self.lines(&sorted)?;
        if !sorted.large.is_empty() {
            large::store(channel, &target, &sorted.large)?;
        }
        let url = target.url(channel, "commit");
        let answer = channel.send(Call {
            what: &repo.name,
            method: "POST",
            url: &url,
            load: Load::Bytes {
                bytes: &body,
                media: LINES,
            },
        });
        let sent = Sent {
            target,
            plan: self,
            sorted: &sorted,
        };
        self.outcome(channel, remote, &sent, answer)
    }

    /// What an answer to the commit means, or what happened where there is none.
    fn outcome(
        &self,
        channel: &Channel,
        remote: &HttpRemote,
        sent: &Sent,
        answer: Result<Answer, WriteError>,
    ) -> Result<Committed, WriteError> {
        let reason = match answer {
            Ok(answer) if answer.is_good() => match answer.json::<CommitAnswer>() {
                Ok(told) => return Ok(told.committed(sent.sorted)),
                Err(error) => error,
            },
            Ok(answer) if answer.status == 412 => {
                return Err(WriteError::Conflict {
                    repo: sent.target.repo.name.clone(),
                    parent: self.parent.clone().unwrap_or_default(),
                    refused: answer.refused,
                });
            }
            Ok(answer) if answer.status == 408 || answer.status >= 500 => answer.refusal(),
            Ok(answer) => return Err(answer.refusal()),
            Err(error @ WriteError::Network { .. }) => error,
            Err(error) => return Err(error),
        };
        settle(channel, remote, sent, &reason.to_string())
    }

    /// The commit as the Hub reads it, a line each.
    fn lines(&self, sorted: &Sorted) -> Result<Vec<u8>, WriteError> {
        let total = sorted.inline.iter().map(|file| file.size).sum::<u64>();
        if total > MAX_INLINE {
            let reason = format!(
                "{total} bytes of small files in one commit: too many; publish fewer runs at once"
            );
            return Err(WriteError::Plan(reason));
        }
        let mut body = Vec::new();
        let mut header = json!({ "summary": self.summary, "description": "" });
        if let Some(parent) = &self.parent {
            header["parentCommit"] = parent.as_str().into();
        }
        line(&mut body, "header", header);
        for file in &sorted.inline {
            let content = STANDARD.encode(file.bytes()?);
            let path = &file.upload.path;
            let value = json!({ "path": path, "content": content, "encoding": "base64" });
            line(&mut body, "file", value);
        }
        for file in &sorted.large {
            let (path, oid, size) = (&file.upload.path, &file.sha256, file.size);
            let value = json!({ "path": path, "algo": "sha256", "oid": oid, "size": size });
            line(&mut body, "lfsFile", value);
        }
        for path in &self.delete {
            line(&mut body, "deletedFile", json!({ "path": path }));
        }
        Ok(body)
    }
}

fn line(body: &mut Vec<u8>, key: &str, value: Value) {
    let line = json!({ "key": key, "value": value }).to_string();
    body.extend_from_slice(line.as_bytes());
    body.push(b'\n');
}

impl CommitAnswer {
    fn committed(self, sorted: &Sorted) -> Committed {
        Committed::Done {
            oid: self.oid,
            url: self.url,
            pr_url: self.pr_url.filter(|url| !url.is_empty()),
            ignored: sorted.ignored.clone(),
        }
    }
}
