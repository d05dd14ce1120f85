//! What a board is made of: runs, records, tables, the paper, files of other tools.

use std::path::Path;

use super::entry::{Entry, Measured, Member, Origin};
use crate::{Error, MetricValue, Record, Result, Run, published, table_rows::read_table};

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
                inputs.entries.extend(paper());
            } else {
                inputs.read_path(Path::new(argument))?;
            }
        }
        Ok(inputs)
    }

    fn read_path(&mut self, path: &Path) -> Result<()> {
        let from = path.display().to_string();
        let ending = path.extension().and_then(|ending| ending.to_str());
        if ending.is_some_and(|ending| ending.eq_ignore_ascii_case("csv")) {
            for record in read_table(path)? {
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
    let (record, fingerprint) = (&measured.record, &entry.members[0].fingerprint);
    entry.origin == origin
        && entry.protocol == record.protocol
        && entry.precision == record.precision
        && *fingerprint == record.model_fingerprint
        && (!fingerprint.is_empty() || entry.model == record.model)
}

fn new_entry(measured: Measured, origin: Origin) -> Entry {
    let record = &measured.record;
    Entry {
        model: record.model.clone(),
        protocol: record.protocol.clone(),
        precision: record.precision.clone(),
        origin,
        members: vec![Member {
            fingerprint: record.model_fingerprint.clone(),
            records: vec![measured],
        }],
    }
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

/// The columns of the paper's Table 4 as rows.
fn paper() -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    let cells = published();
    let cells = cells
        .iter()
        .filter(|cell| cell.table == "Table 4" && !cell.task.starts_with("average"));
    for cell in cells {
        let score = MetricValue {
            metric: cell.metric.clone(),
            value: cell.value / 100.0,
            higher_is_better: true,
            ..MetricValue::default()
        };
        let model = format!("{} (paper)", cell.column);
        if entries.last().is_none_or(|entry| entry.model != model) {
            entries.push(Entry {
                model: model.clone(),
                protocol: "flava".into(),
                precision: String::new(),
                origin: Origin::Published,
                members: vec![Member {
                    fingerprint: String::new(),
                    records: Vec::new(),
                }],
            });
        }
        let Some(entry) = entries.last_mut() else {
            continue;
        };
        let records = &mut entry.members[0].records;
        match records
            .iter_mut()
            .find(|known| known.record.task == cell.task)
        {
            Some(known) => known.record.metrics.push(score),
            None => records.push(Measured {
                record: Record {
                    task: cell.task.clone(),
                    protocol: "flava".into(),
                    model,
                    metrics: vec![score],
                    publishable: true,
                    ..Record::default()
                },
                folder: None,
                from: cell.table.clone(),
            }),
        }
    }
    entries
}
