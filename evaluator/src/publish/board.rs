//! Results into a dataset repository, beside those of others.

use flava_model::hub::{
    HubError, RepoId, RepoKind,
    write::{Access, CommitPlan, Head, HubWriter, Upload, Visibility},
};
use flava_results::{MergeRule, Run, merge_rows, row_changes};

use super::{
    card::{card, shows_tables},
    check::check,
    files::{own_files, summary},
    on_head::{commit_on_head, hub},
    options::{Ending, Publication, PublishOptions, Tables},
    outline::{There, rows, title},
};
use crate::{Error, Result};

/// The table that everybody writes to.
const LEADERBOARD: MergeRule = MergeRule {
    table: "leaderboard.csv",
    keys: &["model_fingerprint", "protocol"],
    common: &["suite_version"],
    order: &["model", "model_fingerprint", "protocol"],
};
/// A checkpoint's own table.
const LONG: MergeRule = MergeRule {
    table: "results",
    keys: &["task", "variant", "protocol", "split", "metric"],
    common: &[],
    order: &[],
};
const CARD: &str = "README.md";
/// Largest table and card that are read.
pub(super) const MAX_TABLE: u64 = 64 << 20;

/// Publishes runs in a repository of results: in one commit, or not at all.
///
/// # Errors
/// If a record may not be published or does not compare with another, if the token may not write
/// there, if the shared table does not take the rows, or if others are faster three times.
pub fn publish(
    writer: &HubWriter,
    runs: &[Run],
    tables: &Tables,
    options: &PublishOptions,
) -> Result<Publication> {
    check(runs)?;
    let repo = parse(RepoKind::Dataset, &options.repo)?;
    let may = if options.pr {
        writer.may_propose(&repo)
    } else {
        writer.may_write(&repo)
    };
    let is_new = may.map_err(hub)?.access == Access::Create;
    if is_new && options.pr {
        return Err(Error::Usage {
            argument: "--pr",
            reason: format!("there is no {repo} to propose a change to: leave out --pr"),
        });
    }
    let job = Job {
        writer,
        repo: &repo,
        runs,
        tables,
        options,
    };
    if options.dry_run {
        let head = (!is_new).then(|| writer.head(&repo)).transpose();
        let made = job.make(head.map_err(hub)?)?;
        return Ok(Publication {
            plan: made.text,
            ending: Ending::DryRun,
        });
    }
    if is_new {
        let visibility = if options.public {
            Visibility::Public
        } else {
            Visibility::Private
        };
        writer.create(&repo, visibility).map_err(hub)?;
    }
    let mut plan = String::new();
    let ending = commit_on_head(writer, &repo, &mut |head| {
        let made = job.make(Some(head.clone()))?;
        if !options.quiet && made.text != plan {
            made.text.lines().for_each(flava_base::say);
        }
        plan = made.text;
        Ok(CommitPlan {
            summary: summary(runs),
            files: made.files,
            as_pr: options.pr,
            ..CommitPlan::default()
        })
    })?;
    Ok(Publication { plan, ending })
}

/// A repository that somebody named.
pub(super) fn parse(kind: RepoKind, name: &str) -> Result<RepoId> {
    RepoId::parse(kind, name).map_err(|error: HubError| Error::Model(error.into()))
}

/// What is published, and where.
struct Job<'a> {
    writer: &'a HubWriter,
    repo: &'a RepoId,
    runs: &'a [Run],
    tables: &'a Tables,
    options: &'a PublishOptions,
}

/// Files that differ from what is there, and all of them in lines.
struct Draft {
    files: Vec<Upload>,
    text: String,
}

impl Job<'_> {
    /// What is to be written on top of a commit, or into a repository that is not there yet.
    fn make(&self, head: Option<Head>) -> Result<Draft> {
        let files = match &head {
            Some(head) => self.writer.files(self.repo, &head.oid).map_err(hub)?,
            None => Vec::new(),
        };
        let there = There { head, files };
        let mut text = title(self.repo, &there, self.options.public);
        let (card, note) = self.card(&there)?;
        let board = self.leaderboard(&there)?;
        let mut files: Vec<Upload> = card.into_iter().collect();
        files.push(Upload::bytes(LEADERBOARD.table, board.csv));
        files.extend(own_files(self.runs, self.tables, self.options));
        let files = there.sift(files, &mut text)?;
        text.push_str(&note);
        text.push_str(&board.changes);
        text.push_str(&self.long_changes(&there)?);
        Ok(Draft { files, text })
    }

    /// A card where there is none: somebody's own stays as it is.
    fn card(&self, there: &There) -> Result<(Option<Upload>, String)> {
        let Some(old) = self.read(there, CARD)? else {
            let card = Upload::bytes(CARD, card(&self.repo.name));
            return Ok((Some(card), String::new()));
        };
        let note = if shows_tables(&old) {
            ""
        } else {
            "  README.md stays as it is; it has no config for leaderboard.csv and results/*.csv, without which the viewer shows neither\n"
        };
        Ok((None, note.to_owned()))
    }

    /// The shared table with our rows.
    fn leaderboard(&self, there: &There) -> Result<Board> {
        let old = self.read(there, LEADERBOARD.table)?;
        let merged = merge_rows(old.as_deref(), &self.tables.leaderboard, &LEADERBOARD)?;
        let csv = (self.tables.finish)(merged)?;
        let changes = row_changes(old.as_deref(), &csv, &LEADERBOARD)?;
        let mut lines = rows(&changes);
        if !lines.is_empty() {
            lines = format!("  rows of {}:\n{lines}", LEADERBOARD.table);
        }
        Ok(Board {
            csv,
            changes: lines,
        })
    }

    /// Rows of the own tables that change: they are replaced as a whole.
    fn long_changes(&self, there: &There) -> Result<String> {
        let mut text = String::new();
        for table in &self.tables.long {
            let path = format!("results/{}.csv", table.name);
            let Some(old) = self.read(there, &path)? else {
                continue;
            };
            // A table that is none is replaced as well.
            let lines = row_changes(Some(&old), &table.csv, &LONG).map(|changes| rows(&changes));
            let lines = lines.unwrap_or_else(|error| format!("    all: {error}\n"));
            if !lines.is_empty() {
                text.extend(["  rows of ", &path, ":\n", &lines]);
            }
        }
        Ok(text)
    }

    /// A text that is there.
    fn read(&self, there: &There, path: &str) -> Result<Option<String>> {
        let (Some(head), Some(file)) = (&there.head, there.file(path)) else {
            return Ok(None);
        };
        let read = self
            .writer
            .read_listed(self.repo, &head.oid, file, MAX_TABLE);
        text_of(self.repo, path, read.map_err(hub)?).map(Some)
    }
}

/// The text of a file.
pub(super) fn text_of(repo: &RepoId, path: &str, bytes: Vec<u8>) -> Result<String> {
    String::from_utf8(bytes).map_err(|_| Error::Mismatch {
        what: "file",
        reason: format!("{path} of {repo} is no UTF-8 text: it is not touched"),
    })
}

/// The shared table and its rows that change, in lines.
struct Board {
    csv: String,
    changes: String,
}
