//! What a board is made of: runs, records, tables, the paper, files of other tools.

use std::path::Path;

use super::{
    entry::{Entry, Measured, Member, Origin},
    paper::paper,
};
use crate::{
    Error, ForeignScore, MetricValue, Record, Result, Run, import, runs_in, table_rows::read_table,
};

/// The word for the paper's columns.
pub const PAPER: &str = "paper";

/// What was read, and what to say of it.
#[derive(Debug, Default)]
pub(super) struct Inputs {
    pub(super) entries: Vec<Entry>,
    pub(super) notes: Vec<String>,
}

impl Inputs {
    /// Reads arguments: folders of runs, files of records, CSV files, or [`PAPER`].
    ///
    /// # Errors
    /// If one cannot be read, or holds nothing; if a checkpoint has two records of one task that
    /// differ.
    pub(super) fn read(arguments: &[String]) -> Result<Self> {
        let mut inputs = Self::default();
        // The order of arguments decides nothing.
        let mut arguments: Vec<&String> = arguments.iter().collect();
        arguments.sort_unstable();
        arguments.dedup();
        for argument in arguments {
            if argument == PAPER && !Path::new(argument).exists() {
                inputs.entries.extend(paper()?);
            } else {
                for path in runs_in(Path::new(argument))? {
                    inputs.read_path(&path)?;
                }
            }
        }
        Ok(inputs)
    }

    fn read_path(&mut self, path: &Path) -> Result<()> {
        let from = path.display().to_string();
        if path.is_file() && self.read_foreign(path, &from)? {
            return Ok(());
        }
        let ending = path.extension().and_then(|ending| ending.to_str());
        if ending.is_some_and(|ending| ending.eq_ignore_ascii_case("csv")) {
            let (records, failed) = read_table(path)?;
            if let Some(first) = failed.first() {
                let count = failed.len();
                self.notes
                    .push(format!("{from}: {count} tasks failed, such as {first}"));
            }
            for record in records {
                self.add(record, Origin::Table, None, &from)?;
            }
            return Ok(());
        }
        let run = Run::read(path)?;
        if let Some(note) = unfinished(&run) {
            self.notes.push(format!("{from}: {note}"));
        }
        for record in run.records {
            check_program(&record, &from)?;
            self.add(record, Origin::Measured, Some(&run.folder), &from)?;
        }
        Ok(())
    }

    /// Rows of another tool's file; false of any other file.
    fn read_foreign(&mut self, path: &Path, from: &str) -> Result<bool> {
        let Some(imported) = import(path)? else {
            return Ok(false);
        };
        let left_out = imported.left_out.len();
        if let Some(first) = imported.left_out.first() {
            let (name, reason) = (&first.name, &first.reason);
            self.notes.push(format!(
                "{from}: {left_out} numbers are left out, such as {name}: {reason}"
            ));
        }
        if imported.scores.is_empty() {
            return Err(Error::file(
                path,
                "has no number of a task that is known here",
            ));
        }
        for record in foreign_records(imported.scores) {
            self.add(record, Origin::Foreign, None, from)?;
        }
        Ok(true)
    }

    fn add(
        &mut self,
        record: Record,
        origin: Origin,
        folder: Option<&Path>,
        from: &str,
    ) -> Result<()> {
        let measured = Measured {
            folder: folder.map(Path::to_owned),
            from: from.to_owned(),
            record,
        };
        let entry = self
            .entries
            .iter_mut()
            .find(|entry| is_of(entry, &measured, origin));
        let Some(entry) = entry else {
            self.entries.push(new_entry(measured, origin));
            return Ok(());
        };
        let member = &mut entry.members[0];
        let name = measured.record.name();
        let Some(known) = member
            .records
            .iter()
            .find(|known| known.record.name() == name)
        else {
            member.records.push(measured);
            return Ok(());
        };
        if known.record.metrics == measured.record.metrics {
            self.notes.push(format!(
                "{name} of {} is in {} and in {from}; it counts once",
                entry.model, known.from
            ));
            return Ok(());
        }
        Err(Error::Board(format!(
            "{name} of {} was measured twice, with other numbers: {} has {}, {from} has {}",
            entry.model,
            known.from,
            known.record.main().value,
            measured.record.main().value
        )))
    }
}

fn is_of(entry: &Entry, measured: &Measured, origin: Origin) -> bool {
    let record = &measured.record;
    entry.origin == origin
        && entry.protocol == record.protocol
        && entry.precision == record.precision
        && is_of_model(entry, record)
}

/// By the digest of its weights, where it is known. Given features have one for each task: they are
/// of the model that they are said to be of.
fn is_of_model(entry: &Entry, record: &Record) -> bool {
    let of_entry = entry.records().next().map(|known| &known.record);
    let same_name = || entry.model == record.model;
    match of_entry {
        Some(known) if known.is_given() || record.is_given() => {
            known.is_given() == record.is_given()
                && same_name()
                && known.model_revision == record.model_revision
        }
        _ => {
            let fingerprint = &entry.members[0].fingerprint;
            *fingerprint == record.model_fingerprint && (!fingerprint.is_empty() || same_name())
        }
    }
}

fn new_entry(measured: Measured, origin: Origin) -> Entry {
    let record = &measured.record;
    let fingerprint = if record.is_given() {
        String::new()
    } else {
        record.model_fingerprint.clone()
    };
    Entry {
        model: record.model.clone(),
        protocol: record.protocol.clone(),
        precision: record.precision.clone(),
        origin,
        members: vec![Member {
            fingerprint,
            records: vec![measured],
        }],
    }
}

/// Another tool's scores, a record for each model and task.
fn foreign_records(scores: Vec<ForeignScore>) -> Vec<Record> {
    let mut records: Vec<Record> = Vec::new();
    for score in scores {
        let is_of = |known: &&mut Record| known.task == score.task && known.model == score.model;
        let value = MetricValue {
            metric: score.metric.clone(),
            value: score.value,
            standard_error: score.standard_error.unwrap_or(0.0),
            n: score.n.unwrap_or(0),
            higher_is_better: true,
            ..MetricValue::default()
        };
        match records.iter_mut().find(is_of) {
            Some(known) => known.metrics.push(value),
            None => records.push(Record {
                task: score.task,
                model: score.model,
                protocol: score.tool,
                metrics: vec![value],
                publishable: true,
                ..Record::default()
            }),
        }
    }
    records
}

/// What to say of a run that has not ended as it was planned.
fn unfinished(run: &Run) -> Option<String> {
    let has = |name: &str| run.records.iter().any(|record| record.name() == name);
    let missing: Vec<&String> = run.status.keys().filter(|name| !has(name)).collect();
    let first = missing.first()?;
    let count = missing.len();
    let of = run.status.len();
    Some(format!(
        "{count} of {of} tasks have no record (yet), such as {first}"
    ))
}

/// A record of a newer program may mean what this one does not know.
fn check_program(record: &Record, from: &str) -> Result<()> {
    let own = version_of(concat!("flava ", env!("CARGO_PKG_VERSION")));
    match (version_of(&record.program), own) {
        (Some(theirs), Some(own)) if theirs > own => Err(Error::Board(format!(
            "{from}: {} was written by {}, which is newer than this program ({})",
            record.name(),
            record.program,
            env!("CARGO_PKG_VERSION")
        ))),
        _ => Ok(()),
    }
}

/// Major, minor and patch of `flava 0.1.0`.
fn version_of(program: &str) -> Option<[u32; 3]> {
    let version = program.split_whitespace().last()?;
    let mut parts = version
        .split(['.', '-', '+'])
        .map_while(|part| part.parse().ok());
    Some([parts.next()?, parts.next()?, parts.next().unwrap_or(0)])
}
