//! What an export writes, and what it has to leave out.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use flava_base::write_with;

use super::times::ended;
use crate::{Error, MetricValue, Record, Result, Run};

/// What a format has no place for, or should not tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// The record, its metric or what else it is.
    pub name: String,
    /// Why.
    pub reason: String,
}

impl LeftOut {
    pub(super) fn new(name: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            reason: reason.into(),
        }
    }
}

/// What was left out as lines for people, one for each reason.
pub fn left_out_text(left_out: &[LeftOut]) -> String {
    let mut lines: Vec<String> = Vec::new();
    for (at, left) in left_out.iter().enumerate() {
        let same = |other: &&LeftOut| other.reason == left.reason;
        if left_out[..at].iter().any(|other| same(&other)) {
            continue;
        }
        let names = left_out[at..].iter().filter(same);
        let names: Vec<&str> = names.map(|left| left.name.as_str()).collect();
        lines.push(format!("left out {}: {}", names.join(", "), left.reason));
    }
    lines.join("\n")
}

/// What an export wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// The files, in the order they were written.
    pub files: Vec<PathBuf>,
    /// What is not in them.
    pub left_out: Vec<LeftOut>,
}

/// The folder that a run is exported to.
pub(super) struct ExportFolder<'a> {
    pub(super) run: &'a Run,
    /// Those whose numbers are finite and whose date is known.
    pub(super) records: Vec<&'a Record>,
    out: &'a Path,
    written: BTreeSet<PathBuf>,
    exported: Exported,
}

impl<'a> ExportFolder<'a> {
    pub(super) fn new(run: &'a Run, out: &'a Path) -> Self {
        let mut folder = Self {
            run,
            records: Vec::new(),
            out,
            written: BTreeSet::new(),
            exported: Exported::default(),
        };
        for record in &run.records {
            match flaw(record) {
                Some(reason) => folder.leave_out(record.name(), reason),
                None => folder.records.push(record),
            }
        }
        folder
    }

    /// The records that may stand beside other models' numbers; the others are left out.
    pub(super) fn publishable(&mut self) -> Vec<&'a Record> {
        let all = self.records.clone();
        let mut kept = Vec::new();
        for record in all {
            match withheld(record) {
                Some(reason) => self.leave_out(record.name(), reason),
                None => kept.push(record),
            }
        }
        kept
    }

    pub(super) fn leave_out(&mut self, name: impl Into<String>, reason: impl Into<String>) {
        self.exported.left_out.push(LeftOut::new(name, reason));
    }

    /// Writes a file, whole or not at all.
    pub(super) fn write(&mut self, place: &Path, contents: &[u8]) -> Result<()> {
        self.write_by(place, |part| fs::write(part, contents))
    }

    /// The same of a file that `write` fills.
    ///
    /// # Errors
    /// If this export wrote the file before: two models' files would have the same name.
    pub(super) fn write_by(
        &mut self,
        place: &Path,
        write: impl FnOnce(&Path) -> std::io::Result<()>,
    ) -> Result<()> {
        let path = self.out.join(place);
        if !self.written.insert(path.clone()) {
            let reason = "would be written twice: export the models one by one";
            return Err(Error::file(&path, reason));
        }
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
        }
        write_with(&path, write)?;
        self.exported.files.push(path);
        Ok(())
    }

    /// Where a file of the folder is.
    pub(super) fn path(&self, place: &Path) -> PathBuf {
        self.out.join(place)
    }

    pub(super) fn finish(self) -> Exported {
        self.exported
    }
}

/// Why a record cannot be told by any format.
fn flaw(record: &Record) -> Option<String> {
    let finite = |score: &&MetricValue| {
        [
            score.value,
            score.standard_error,
            score.ci_low,
            score.ci_high,
        ]
        .iter()
        .all(|number| number.is_finite())
    };
    let infinite = record.metrics.iter().find(|score| !finite(score));
    if let Some(score) = infinite {
        return Some(format!("its {} is not finite", score.metric));
    }
    let others = [record.seconds, record.chance, record.flops_per_row];
    if record.metrics.is_empty() {
        Some("it has no score".into())
    } else if others.iter().any(|number| !number.is_finite()) {
        Some("one of its numbers is not finite".into())
    } else if ended(record).is_none() {
        Some(format!("its date is none: {:?}", record.date))
    } else {
        None
    }
}

/// Why a record is not to stand beside other models' numbers; None where it may.
pub(super) fn withheld(record: &Record) -> Option<String> {
    if record.publishable {
        None
    } else if record.departures.is_empty() {
        Some("it is not publishable".into())
    } else {
        let departures = record.departures.join("; ");
        Some(format!("it is not publishable: {departures}"))
    }
}
