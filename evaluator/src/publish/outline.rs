//! What would be written, in lines: repository, files, rows.

use std::fmt::Write;

use flava_model::hub::{
    RemoteFile, RepoId,
    write::{Head, Upload},
};
use flava_results::RowChanges;
use indicatif::HumanBytes;

use super::on_head::hub;
use crate::Result;

/// Rows that are named; of the others their number is told.
const NAMED: usize = 20;

/// What a repository holds before it is written to.
#[derive(Default)]
pub(super) struct There {
    /// Its last commit; None where the repository is not there.
    pub(super) head: Option<Head>,
    /// Its files.
    pub(super) files: Vec<RemoteFile>,
}

impl There {
    pub(super) fn file(&self, path: &str) -> Option<&RemoteFile> {
        self.files.iter().find(|file| file.path == path)
    }

    /// Of some files those that it does not hold already, and all of them in lines.
    pub(super) fn sift(&self, files: Vec<Upload>, text: &mut String) -> Result<Vec<Upload>> {
        let mut sifted = Vec::new();
        for file in files {
            let size = file.size().map_err(hub)?;
            let state = match self.file(&file.path) {
                None => "new",
                Some(there) if file.is(there).map_err(hub)? => "as it is there",
                Some(_) => "changed",
            };
            let _ = writeln!(text, "  {}  {}  {state}", file.path, HumanBytes(size));
            if state != "as it is there" {
                sifted.push(file);
            }
        }
        Ok(sifted)
    }
}

/// The repository in a line.
pub(super) fn title(repo: &RepoId, there: &There, public: bool) -> String {
    let seen = |private| if private { "private" } else { "public" };
    match &there.head {
        None => format!("{repo} (to be made, {})\n", seen(!public)),
        Some(head) => {
            let (seen, commit) = (seen(head.private), &head.oid[..12.min(head.oid.len())]);
            format!("{repo} ({seen}, last commit {commit})\n")
        }
    }
}

/// Rows that change, in lines.
pub(super) fn rows(changes: &RowChanges) -> String {
    let added = changes.added.iter().map(|key| format!("    + {key}"));
    let changed = changes.changed.iter().map(|row| {
        let emptied = match row.emptied {
            0 => String::new(),
            count => format!(", {count} of them now empty"),
        };
        let cells = if row.cells == 1 { "cell" } else { "cells" };
        format!("    ~ {}: {} {cells}{emptied}", row.key, row.cells)
    });
    let removed = changes.removed.iter().map(|key| format!("    - {key}"));
    let lines: Vec<String> = added.chain(changed).chain(removed).collect();
    let mut text = String::new();
    for line in lines.iter().take(NAMED) {
        let _ = writeln!(text, "{}", flava_base::escaped(line));
    }
    if lines.len() > NAMED {
        let _ = writeln!(text, "    and {} rows more", lines.len() - NAMED);
    }
    text
}
