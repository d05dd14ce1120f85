//! The block of a `model-index`, as YAML.

use std::fmt::Write;

use super::key::{PROGRAM, configuration};
use crate::{
    Error, MetricValue, Record, Result,
    exchange::{
        datasets::is_on_the_hub,
        parts::{Part, parts},
    },
};

/// The `model-index` of some records under a model's name: percent of two decimals, with intervals.
///
/// Correlations are times 100 too, as in the tables of GLUE.
///
/// # Errors
/// If there is no record, if one is not publishable or has a number that is not finite, or if one
/// does not say which of the Hub's tasks it is.
pub fn model_index_block(records: &[Record], name: &str) -> Result<String> {
    let refuse = |record: &Record, reason: &str| {
        let place = format!("{}.json", record.name());
        Error::file(place.as_ref(), reason)
    };
    if records.is_empty() || name.is_empty() {
        let reason = "a model-index needs a name and a record";
        return Err(Error::file("README.md".as_ref(), reason));
    }
    let mut text = String::new();
    let _written = write!(text, "model-index:\n- name: {}\n  results:\n", quoted(name));
    for record in records {
        let finite = |score: &MetricValue| {
            let ends = [score.value, score.ci_low, score.ci_high];
            ends.iter().all(|number| number.is_finite())
        };
        if !record.publishable {
            return Err(refuse(record, "is not publishable"));
        } else if record.hub_task.is_empty() {
            return Err(refuse(
                record,
                "does not say which of the Hub's tasks it is",
            ));
        } else if !record.metrics.iter().all(finite) || record.metrics.is_empty() {
            return Err(refuse(record, "has a number that is not finite, or none"));
        }
        for part in parts(record) {
            text.push_str(&result(&part));
        }
    }
    Ok(text)
}

/// A result; the lines of a list are indented as the Hub's library writes them.
fn result(part: &Part) -> String {
    let record = part.record;
    let mut text = String::new();
    let mut line = |indent: usize, key: &str, value: &str| {
        let space = if value.is_empty() { "" } else { " " };
        let _written = writeln!(text, "{:indent$}{key}:{space}{value}", "");
    };
    line(2, "- task", "");
    line(6, "type", &quoted(&record.hub_task));
    line(6, "name", &quoted(&method_name(record)));
    line(4, "dataset", "");
    let data = if is_on_the_hub(record) {
        &record.data
    } else {
        &record.task
    };
    line(6, "type", &quoted(data));
    line(6, "name", &quoted(&part.name));
    line(6, "config", &quoted(&configuration(record, &part.name)));
    line(6, "split", &quoted(part.split));
    if !record.data_revision.is_empty() {
        line(6, "revision", &quoted(&record.data_revision));
    }
    line(4, "metrics", "");
    for score in &part.metrics {
        text.push_str(&metric(score, record));
    }
    text
}

fn method_name(record: &Record) -> String {
    let method = record.method.replace('_', " ");
    let mut letters = method.chars();
    let first = letters.next().map(|letter| letter.to_ascii_uppercase());
    let method: String = first.into_iter().chain(letters).collect();
    format!("{method} ({})", record.feature)
}

fn metric(score: &MetricValue, record: &Record) -> String {
    let percent = |share: f64| format!("{:.2}", share * 100.0);
    let [value, low, high] = [score.value, score.ci_low, score.ci_high].map(percent);
    let name = format!("{} (95 % {low} to {high})", score.metric);
    let version = record.program.rsplit(' ').next().unwrap_or_default();
    let told = [
        ("program", format!("{PROGRAM} {version}")),
        ("protocol", record.protocol.clone()),
        ("interval", score.interval.clone()),
        ("model_revision", record.model_revision.clone()),
        ("model_fingerprint", record.model_fingerprint.clone()),
        ("data_fingerprint", record.data_fingerprint.clone()),
        ("precision", record.precision.clone()),
        ("date", record.date.clone()),
    ];
    let mut text = String::new();
    let _written = write!(
        text,
        "    - type: {}\n      name: {}\n      value: {value}\n      args:\n",
        quoted(&score.metric),
        quoted(&name)
    );
    for (key, value) in told.iter().filter(|(_, value)| !value.is_empty()) {
        let _written = writeln!(text, "        {key}: {}", quoted(value));
    }
    let _written = write!(
        text,
        "        task_version: {}\n        n: {}\n        standard_error: {}\n",
        record.task_version,
        score.n,
        percent(score.standard_error)
    );
    text
}

/// Text in double quotes, which YAML reads as JSON does; what some of its readers refuse is
/// escaped.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::from('"');
    for c in text.chars() {
        let plain = matches!(c, ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
            && !matches!(c, '"' | '\\' | '\u{2028}' | '\u{2029}' | '\u{feff}');
        if plain {
            out.push(c);
        } else if matches!(c, '"' | '\\') {
            out.push('\\');
            out.push(c);
        } else {
            let _written = write!(out, "\\u{:04x}", u32::from(c));
        }
    }
    out.push('"');
    out
}
