//! What cannot stand in one column, with the names of both sides.

use std::collections::BTreeMap;

use super::{
    columns::Column,
    entry::{Entry, Measured, Origin},
};
use crate::{Error, Record, Result};

/// What all records of a column must agree in.
const SAME: [&str; 4] = ["task version", "data fingerprint", "protocol", "transform"];

fn told(record: &Record, what: &str) -> String {
    match what {
        "task version" if record.task_version == 0 => String::new(),
        "task version" => record.task_version.to_string(),
        "data fingerprint" => record.data_fingerprint.clone(),
        "protocol" => record.protocol.clone(),
        // Another backbone's own, which its features were computed with.
        _ if record.is_given() => String::new(),
        _ => record.transform.clone(),
    }
}

/// Nothing, if each column holds one question's answers.
///
/// # Errors
/// What differs in which column, with a row of either side; or the records that are not
/// publishable.
pub(super) fn check(entries: &[Entry], columns: &[Column], all: bool) -> Result<()> {
    for column in columns {
        let of_column = || {
            entries
                .iter()
                .flat_map(|entry| entry.of_column(column).map(move |m| (entry, m)))
        };
        let comparable = |(entry, _): &(&Entry, &Measured)| {
            matches!(entry.origin, Origin::Measured | Origin::Table)
        };
        for what in SAME {
            let mut sides: BTreeMap<String, String> = BTreeMap::new();
            for (entry, measured) in of_column().filter(comparable) {
                let side = told(&measured.record, what);
                if !side.is_empty() {
                    let who = || format!("{} in {}", entry.title(), measured.from);
                    sides.entry(side).or_insert_with(who);
                }
            }
            let mut sides = sides.iter();
            if let (Some(one), Some(other)) = (sides.next(), sides.next()) {
                return Err(Error::Board(differ(column, what, one, other)));
            }
        }
    }
    if all { Ok(()) } else { publishable(entries) }
}

/// One side's value and its row.
type Side<'a> = (&'a String, &'a String);

fn differ(column: &Column, what: &str, one: Side, other: Side) -> String {
    let ((a, of_a), (b, of_b)) = (one, other);
    let remedy = if what == "protocol" {
        "\nhint: --protocol takes one of them"
    } else {
        ""
    };
    let task = &column.task;
    format!("{task}: two values of its {what} in one column: {a} of {of_a}, {b} of {of_b}{remedy}")
}

fn publishable(entries: &[Entry]) -> Result<()> {
    let records = entries.iter().flat_map(Entry::records);
    let refused: Vec<&Measured> = records
        .filter(|measured| !measured.record.publishable)
        .collect();
    let Some(first) = refused.first() else {
        return Ok(());
    };
    let (record, count) = (&first.record, refused.len());
    let reasons = record.departures.join(", ");
    Err(Error::Board(format!(
        "{count} records may not stand in a leaderboard, such as {} of {} in {}: {reasons}\nhint: --all shows them, marked",
        record.name(),
        record.model,
        first.from
    )))
}
