//! A commit on top of whatever is there: read, merge, commit; and again where somebody was faster.

use flava_model::hub::{
    RepoId,
    write::{CommitPlan, Committed, Head, HubWriter, WriteError},
};

use super::options::Ending;
use crate::{Error, Result};

/// Times that somebody else may be faster.
const TRIES: usize = 3;

/// Commits what `make` makes of a repository's last commit.
pub(super) fn commit_on_head(
    writer: &HubWriter,
    repo: &RepoId,
    make: &mut dyn FnMut(&Head) -> Result<CommitPlan>,
) -> Result<Ending> {
    for _ in 0..TRIES {
        let head = writer.head(repo).map_err(hub)?;
        let mut plan = make(&head)?;
        if plan.files.is_empty() {
            return Ok(Ending::NothingChanged);
        }
        plan.parent = Some(head.oid);
        match writer.commit(repo, &plan) {
            Ok(committed) => return Ok(outcome(committed)),
            Err(error) if error.is_conflict() => {}
            Err(error) => return Err(hub(error)),
        }
    }
    Err(Error::Mismatch {
        what: "commit",
        reason: format!(
            "{repo}: {TRIES} times another commit came between reading and writing; nothing was written; try again later, or let only one program publish there at a time (a token that may only propose changes is refused in the same way: --pr)"
        ),
    })
}

fn outcome(committed: Committed) -> Ending {
    match committed {
        Committed::NothingChanged => Ending::NothingChanged,
        Committed::Done {
            url,
            pr_url,
            ignored,
            ..
        } => Ending::Done {
            url: pr_url.unwrap_or(url),
            ignored,
        },
    }
}

pub(super) fn hub(error: WriteError) -> Error {
    Error::Model(error.into())
}
