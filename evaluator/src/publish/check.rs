//! Which records may be published.

use std::collections::BTreeMap;

use flava_results::{Record, Run};
use sha2::{Digest, Sha256};

use crate::{Error, Result};

/// Refuses runs with a record that may not stand in a leaderboard, or with two that do not compare.
pub(super) fn check(runs: &[Run]) -> Result<()> {
    let records: Vec<&Record> = runs.iter().flat_map(|run| &run.records).collect();
    if records.is_empty() {
        return Err(Error::Lacking {
            what: "record",
            reason: "there is no record to publish".to_owned(),
        });
    }
    let unfit: Vec<String> = records
        .iter()
        .filter_map(|record| objection(record))
        .collect();
    if !unfit.is_empty() {
        let reason = format!("not publishable: {}", unfit.join("; "));
        return Err(Error::Mismatch {
            what: "record",
            reason,
        });
    }
    let mut seen: BTreeMap<(String, &str), Vec<&Record>> = BTreeMap::new();
    for record in records {
        let others = seen.entry((record.name(), &record.protocol)).or_default();
        others
            .iter()
            .try_for_each(|other| check_pair(record, other))?;
        others.push(record);
    }
    Ok(())
}

fn objection(record: &Record) -> Option<String> {
    if record.publishable {
        return None;
    }
    let reasons: Vec<&str> = [&record.departures, &record.mismatches, &record.notes]
        .into_iter()
        .flatten()
        .map(String::as_str)
        .collect();
    let (name, reasons) = (record.name(), reasons.join(", "));
    Some(if reasons.is_empty() {
        name
    } else {
        format!("{name} ({reasons})")
    })
}

/// Two records of one task: of the same rows and version, and of different models.
fn check_pair(one: &Record, other: &Record) -> Result<()> {
    let name = one.name();
    let differ = |what: &'static str, a: &str, b: &str| {
        let reason = format!(
            "{name}: {} and {} have the {what} {a} and {b}, and such numbers do not compare",
            one.model, other.model
        );
        Err(Error::Mismatch { what, reason })
    };
    let versions = [one, other].map(|record| record.task_version.to_string());
    if versions[0] != versions[1] {
        return differ("task version", &versions[0], &versions[1]);
    }
    if one.data_fingerprint != other.data_fingerprint {
        return differ("data", &one.data_fingerprint, &other.data_fingerprint);
    }
    if one.transform != other.transform {
        return differ("transform", &one.transform, &other.transform);
    }
    if one.model_fingerprint == other.model_fingerprint {
        return Err(Error::Mismatch {
            what: "record",
            reason: format!("{name} of {} is in two runs: leave one out", one.model),
        });
    }
    Ok(())
}

/// The beginning of the digest of records' keys.
pub(super) fn digest(keys: &[&str]) -> String {
    let mut digest = flava_base::hex(&Sha256::digest(keys.join("\n")));
    digest.truncate(12);
    digest
}
