//! Tables of results that somebody wrote, or that a spreadsheet saved again: `results.csv` as this
//! program writes it, with whatever columns are left of it.

use std::path::Path;

use csv::{ReaderBuilder, StringRecord};
use serde_json::{Map, Value};

use crate::{Error, MetricValue, Record, Result};

/// Largest table.
const MAX_BYTES: u64 = 256 << 20;
/// Columns without which a line says nothing.
const NEEDED: [&str; 4] = ["model", "task", "metric", "value"];
/// The column that says how a task stands; without it every line is of a score.
const STATUS: &str = "status";
/// Columns of a score that hold numbers.
const NUMBERS: [&str; 4] = ["value", "standard_error", "ci_low", "ci_high"];

/// The records of a table, in the order of their first lines, and the names of tasks that failed.
///
/// # Errors
/// If a needed column is missing, or a cell is no number, or none that is finite.
pub(crate) fn read_table(path: &Path) -> Result<(Vec<Record>, Vec<String>)> {
    let text = flava_base::read_text(path, MAX_BYTES)?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let head = text.lines().next().unwrap_or_default();
    let delimiter = delimiter(head);
    let mut reader = ReaderBuilder::new()
        .delimiter(delimiter)
        .from_reader(text.as_bytes());
    let head = reader.headers().map_err(|e| Error::file(path, e))?.clone();
    if let Some(missing) = NEEDED
        .iter()
        .find(|name| !head.iter().any(|column| column == **name))
    {
        let reason = format!("has no column {missing}; needed are {}", NEEDED.join(", "));
        return Err(Error::file(path, reason));
    }
    let (mut records, mut failed): (Vec<Record>, Vec<String>) = Default::default();
    for (number, line) in reader.records().enumerate() {
        let wrong = |reason: String| Error::file(path, format!("line {}: {reason}", number + 2));
        let line = line.map_err(|e| wrong(e.to_string()))?;
        let line = Line {
            head: &head,
            line: &line,
            decimal_comma: delimiter == b';',
        };
        if !line.is_of_score() {
            failed.push(line.cell("task").to_owned());
            continue;
        }
        let (record, score) = line.read().map_err(wrong)?;
        let known = records.iter_mut().find(|known| are_of_one(known, &record));
        match known {
            Some(known) if known.metrics.iter().any(|other| is_same(other, &score)) => {
                let name = record.name();
                return Err(wrong(format!(
                    "{} of {name} stands there twice",
                    score.metric
                )));
            }
            Some(known) => known.metrics.push(score),
            None => records.push(Record {
                metrics: vec![score],
                ..record
            }),
        }
    }
    if records.is_empty() {
        return Err(Error::file(path, "has no score"));
    }
    Ok((records, failed))
}

/// What separates the columns of a head: a comma, or what a spreadsheet in another language or a
/// terminal has put there.
fn delimiter(head: &str) -> u8 {
    let count = |delimiter: u8| head.bytes().filter(|byte| *byte == delimiter).count();
    let found = [b',', b';', b'\t']
        .into_iter()
        .rev()
        .max_by_key(|delimiter| count(*delimiter));
    found.unwrap_or(b',')
}

fn are_of_one(a: &Record, b: &Record) -> bool {
    a.name() == b.name()
        && a.model == b.model
        && a.model_fingerprint == b.model_fingerprint
        && a.protocol == b.protocol
        && a.precision == b.precision
}

fn is_same(a: &MetricValue, b: &MetricValue) -> bool {
    a.metric == b.metric && a.split == b.split
}

/// A line under its head.
struct Line<'a> {
    head: &'a StringRecord,
    line: &'a StringRecord,
    decimal_comma: bool,
}

impl Line<'_> {
    /// The cell of a column; empty where the table has no such column.
    fn cell(&self, name: &str) -> &str {
        let column = self.head.iter().position(|column| column == name);
        let cell = column.and_then(|column| self.line.get(column));
        cell.unwrap_or_default().trim()
    }

    fn is_of_score(&self) -> bool {
        matches!(self.cell(STATUS), "" | "done")
    }

    fn read(&self) -> std::result::Result<(Record, MetricValue), String> {
        let mut record = template(&Record::default());
        let mut score = template(&MetricValue::default());
        record.insert("publishable".into(), true.into());
        for (name, cell) in self.head.iter().zip(self.line) {
            let cell = cell.trim();
            if NUMBERS.contains(&name) || score.contains_key(name) && name != "chance" {
                put(&mut score, name, &self.number(cell))?;
            }
            if record.contains_key(name) && name != "metrics" {
                put(&mut record, name, &self.number(cell))?;
            }
        }
        let broken = |e: serde_json::Error| e.to_string();
        let score: MetricValue = serde_json::from_value(score.into()).map_err(broken)?;
        let record: Record = serde_json::from_value(record.into()).map_err(broken)?;
        let numbers = [
            score.value,
            score.standard_error,
            score.ci_low,
            score.ci_high,
        ];
        match numbers.iter().find(|number| !number.is_finite()) {
            Some(number) => Err(format!("{} of {} is {number}", score.metric, record.task)),
            None => Ok((record, score)),
        }
    }

    /// A number as everybody reads it.
    fn number(&self, cell: &str) -> String {
        let cell = cell.strip_prefix('\'').unwrap_or(cell); // what keeps a formula from being one
        let comma = self.decimal_comma && cell.matches(',').count() == 1;
        let dotted = cell.replace(',', ".");
        if comma && dotted.parse::<f64>().is_ok() {
            dotted
        } else {
            cell.to_owned()
        }
    }
}

/// The fields of something, with the types that they are of.
fn template(of: &impl serde::Serialize) -> Map<String, Value> {
    match serde_json::to_value(of) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    }
}

/// A cell as what its field is: text, a number, a truth, or a list.
fn put(fields: &mut Map<String, Value>, name: &str, cell: &str) -> std::result::Result<(), String> {
    let Some(field) = fields.get_mut(name) else {
        return Ok(());
    };
    let wrong = || format!("{name} is {cell:?}");
    let empty = cell.is_empty();
    *field = match field {
        Value::String(_) => cell.into(),
        Value::Array(_) if empty => Vec::<Value>::new().into(),
        Value::Array(_) => cell.split("; ").map(Value::from).collect::<Vec<_>>().into(),
        _ if empty && name == "value" => return Err(wrong()),
        _ if empty => return Ok(()),
        Value::Bool(_) => cell
            .to_lowercase()
            .parse::<bool>()
            .map_err(|_| wrong())?
            .into(),
        Value::Number(number) if number.is_f64() => {
            let number = cell.parse::<f64>().ok().filter(|number| number.is_finite());
            number.ok_or_else(wrong)?.into()
        }
        Value::Number(_) => {
            let number = cell
                .parse::<f64>()
                .ok()
                .filter(|n| *n >= 0.0 && n.fract() == 0.0);
            (number.ok_or_else(wrong)? as u64).into()
        }
        _ => return Ok(()),
    };
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{FailedTask, csv_table, record::record};

    fn read(text: &str) -> Result<Vec<Record>> {
        read_all(text).map(|(records, _)| records)
    }

    fn read_all(text: &str) -> Result<(Vec<Record>, Vec<String>)> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.csv");
        fs::write(&path, text).unwrap();
        read_table(&path)
    }

    #[test]
    fn our_own_table_reads_back() {
        let failed = FailedTask::new("c", "own", "because");
        let table = csv_table(&[record("a"), record("b")], &[failed]);
        let (read, failed) = read_all(&table).unwrap();
        assert_eq!((read.len(), failed), (2, vec!["c".to_owned()]));
        assert_eq!(read[0].suite, "mini");
        assert_eq!(read[0].metrics, record("a").metrics);
        assert_eq!(read[0].model, record("a").model);
        assert_eq!(read[1].data_fingerprint, record("b").data_fingerprint);
    }

    #[test]
    fn a_spreadsheets_table_is_read_and_what_is_no_number_named() {
        let saved = "\u{feff}model;task;metric;value;n;publishable\r\nm;a;accuracy;0,5;10;WAHR\r\n";
        assert!(
            read(saved)
                .unwrap_err()
                .to_string()
                .contains("line 2: publishable is \"WAHR\"")
        );
        let saved = saved.replace("WAHR", "TRUE");
        let table = read(&saved).unwrap();
        assert_eq!((table[0].main().value, table[0].main().n), (0.5, 10));
        for (from, to, told) in [
            ("0,5", "NaN", "value is \"NaN\""),
            ("0,5", "", "value is \"\""),
            ("0,5", "0.5%", "value is"),
            ("10", "10.5", "n is"),
            ("metric", "score", "has no column metric"),
        ] {
            let error = read(&saved.replacen(from, to, 1)).unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
        }
        let twice = format!("{saved}m;a;accuracy;0,6;10;TRUE\r\n");
        assert!(read(&twice).unwrap_err().to_string().contains("twice"));
    }
}
