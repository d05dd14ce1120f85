//! Whether a commit happened whose answer was lost: the branch tells.

use std::{collections::HashMap, thread, time::Duration};

use serde::Deserialize;

use super::{
    account::{get, head},
    channel::Channel,
    error::{Refused, WriteError},
    modes::{Sorted, Target},
    plan::{CommitPlan, Committed},
};
use crate::hub::{RepoId, http::HttpRemote, patience::with_patience, remote::Remote};

/// Pauses before the branch is read: the Hub may be at work on the commit still.
const PAUSES: [Duration; 3] = [
    Duration::ZERO,
    Duration::from_secs(1),
    Duration::from_secs(2),
];

/// A commit that was sent.
#[derive(Clone, Copy)]
pub(super) struct Sent<'a> {
    pub(super) target: Target<'a>,
    pub(super) plan: &'a CommitPlan,
    pub(super) sorted: &'a Sorted<'a>,
}

#[derive(Deserialize)]
struct LogEntry {
    id: String,
    title: String,
}

#[derive(Deserialize)]
struct Proposals {
    discussions: Vec<Proposal>,
}

#[derive(Deserialize)]
struct Proposal {
    num: u64,
    title: String,
    #[serde(rename = "isPullRequest", default)]
    is_pr: bool,
    #[serde(default)]
    status: String,
}

/// Finds out what became of a commit, of which `reason` is all that came back.
pub(super) fn settle(
    channel: &Channel,
    remote: &HttpRemote,
    sent: &Sent,
    reason: &str,
) -> Result<Committed, WriteError> {
    let repo = sent.target.repo;
    let unsettled = |then| WriteError::Unsettled {
        repo: repo.name.clone(),
        page: page(channel, repo, "commits/main"),
        reason: reason.to_owned(),
        then: Box::new(then),
    };
    for pause in PAUSES {
        thread::sleep(pause);
        let found = if sent.target.as_pr {
            proposal(channel, remote, sent)
        } else {
            commit(channel, remote, sent)
        };
        match found {
            Ok(Some(committed)) => return Ok(committed),
            Ok(None) => {}
            Err(error) if error.is_conflict() => return Err(error),
            Err(error) => return Err(unsettled(error)),
        }
    }
    Err(WriteError::NotCommitted {
        repo: repo.name.clone(),
        head: head(channel, repo).map_err(unsettled)?.oid,
        reason: reason.to_owned(),
    })
}

/// The commit on the branch: what follows its parent, with our summary and our files.
fn commit(
    channel: &Channel,
    remote: &HttpRemote,
    sent: &Sent,
) -> Result<Option<Committed>, WriteError> {
    let Sent { target, plan, .. } = sent;
    let what = format!("commits/{}", target.repo.hub().url_revision());
    let answer = channel.ask(get(&target.repo.name, &channel.api(target.repo, &what)))?;
    let log: Vec<LogEntry> = answer.json()?;
    let place = match &plan.parent {
        Some(parent) => log.iter().position(|entry| entry.id == *parent),
        None => Some(1),
    };
    let Some(entry) = place.and_then(|place| log.get(place.checked_sub(1)?)) else {
        return Ok(None);
    };
    if entry.title == plan.summary && sent.is_held(remote, &target.repo.at(&entry.id))? {
        let url = page(channel, target.repo, &format!("commit/{}", entry.id));
        return Ok(Some(sent.done(&entry.id, url, None)));
    }
    match &plan.parent {
        // Another's commit took its place, and ours can no longer follow that parent.
        Some(parent) => Err(WriteError::Conflict {
            repo: target.repo.name.clone(),
            parent: parent.clone(),
            refused: Box::new(Refused {
                what: format!("{:?}", entry.title),
                status: 412,
                ..Refused::default()
            }),
        }),
        None => Ok(None),
    }
}

/// An open pull request with our summary and our files.
fn proposal(
    channel: &Channel,
    remote: &HttpRemote,
    sent: &Sent,
) -> Result<Option<Committed>, WriteError> {
    let repo = sent.target.repo;
    let answer = channel.ask(get(&repo.name, &channel.api(repo, "discussions")))?;
    let proposals: Proposals = answer.json()?;
    let ours = |it: &&Proposal| it.is_pr && it.title == sent.plan.summary && it.status != "closed";
    for proposal in proposals.discussions.iter().filter(ours) {
        let branch = repo.at(&format!("refs/pr/{}", proposal.num));
        let commit = with_patience(|| remote.commit(&branch))?.hash;
        if sent.is_held(remote, &repo.at(&commit))? {
            let pr = page(channel, repo, &format!("discussions/{}", proposal.num));
            let url = page(channel, repo, &format!("commit/{commit}"));
            return Ok(Some(sent.done(&commit, url, Some(pr))));
        }
    }
    Ok(None)
}

fn page(channel: &Channel, repo: &RepoId, what: &str) -> String {
    format!("{}/{}/{what}", channel.endpoint, repo.hub().url())
}

impl Sent<'_> {
    /// Whether a commit has all files as they were sent, and none that was to go.
    fn is_held(&self, remote: &HttpRemote, at: &RepoId) -> Result<bool, WriteError> {
        let tree = with_patience(|| remote.tree(at))?;
        let there: HashMap<&str, &str> = tree
            .iter()
            .map(|file| (file.path.as_str(), file.checksum.blob()))
            .collect();
        let inline = self.sorted.inline.iter().map(|file| (file, &file.git));
        let large = self.sorted.large.iter().map(|file| (file, &file.sha256));
        let mut files = inline.chain(large);
        let held =
            files.all(|(file, oid)| there.get(file.upload.path.as_str()) == Some(&oid.as_str()));
        let mut deleted = self.plan.delete.iter();
        Ok(held && deleted.all(|path| !there.contains_key(path.as_str())))
    }

    fn done(&self, oid: &str, url: String, pr_url: Option<String>) -> Committed {
        Committed::Done {
            oid: oid.to_owned(),
            url,
            pr_url,
            ignored: self.sorted.ignored.clone(),
        }
    }
}
