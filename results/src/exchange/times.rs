//! Times of records, in seconds since 1970.

use std::time::UNIX_EPOCH;

use crate::Record;

/// When a record's task ended; None where its date is none.
pub(super) fn ended(record: &Record) -> Option<f64> {
    let time = humantime::parse_rfc3339(&record.date).ok()?;
    Some(time.duration_since(UNIX_EPOCH).ok()?.as_secs_f64())
}

/// When the first of some tasks began.
pub(super) fn first_start(records: &[&Record]) -> f64 {
    let started = |record: &&Record| ended(record).map(|end| end - record.seconds);
    let first = records.iter().filter_map(started).reduce(f64::min);
    first.unwrap_or_default()
}

/// When the last of some tasks ended, as `2026-01-31T12:00:00Z`.
pub(super) fn last_date<'a>(records: &[&'a Record]) -> &'a str {
    let dates = records.iter().map(|record| record.date.as_str());
    dates.max().unwrap_or_default()
}
