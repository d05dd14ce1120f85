//! `results.csv`: a line for each score, and for each task that failed. It holds what was measured,
//! on which day, and nothing of how fast: the same measurements of a day give the same bytes.

use serde_json::{Map, Value, json};

use crate::{FailedTask, Record, State, csv_line::csv_line};

/// Columns, each a field of a score or of its record; new ones are added at the end.
const COLUMNS: [&str; 42] = [
    "task",
    "variant",
    "task_version",
    "family",
    "protocol",
    "method",
    "feature",
    "split",
    "metric",
    "value",
    "standard_error",
    "ci_low",
    "ci_high",
    "interval",
    "chance",
    "n",
    "skipped",
    "train_rows",
    "model",
    "model_revision",
    "model_fingerprint",
    "data",
    "data_revision",
    "data_fingerprint",
    "transform",
    "precision",
    "seed",
    "publishable",
    "initialisation",
    "recipe",
    "recipe_digest",
    "departures",
    "unit",
    "higher_is_better",
    "rows_of",
    "parameters",
    "flops_per_row",
    "main",
    "suite",
    "date",
    "status",
    "reason",
];
/// Letters of a time that are its day.
const DAY: usize = 10;

/// The whole table of some records, then of tasks that failed, with its head.
pub fn csv_table(records: &[Record], failed: &[FailedTask]) -> String {
    let head = csv_line(COLUMNS.map(cell));
    let measured = records.iter().flat_map(values_of);
    let lines = measured.chain(failed.iter().map(values_of_failed));
    lines.map(csv_line).fold(head, |table, line| table + &line)
}

/// Names of the columns.
pub(crate) fn columns_of() -> [&'static str; COLUMNS.len()] {
    COLUMNS
}

/// The cells of a record, a line for each score.
pub(crate) fn values_of(record: &Record) -> Vec<[String; COLUMNS.len()]> {
    let mut fields = fields(record);
    fields.insert("status".into(), json!(State::Done));
    let line = |(index, score)| {
        let mut row = fields.clone();
        row.extend(self::fields(score));
        row.insert("main".into(), (index == 0).into());
        if index > 0 {
            row.remove("chance"); // of the main metric alone
        }
        cells(row)
    };
    record.metrics.iter().enumerate().map(line).collect()
}

/// The cells of a task that failed.
fn values_of_failed(failed: &FailedTask) -> [String; COLUMNS.len()] {
    let mut row = fields(failed);
    let reason = failed.reason.split_whitespace().collect::<Vec<_>>();
    row.insert("reason".into(), reason.join(" ").into());
    cells(row)
}

fn cells(mut row: Map<String, Value>) -> [String; COLUMNS.len()] {
    let day = row.get("date").and_then(Value::as_str);
    if let Some(day) = day.and_then(|date| date.get(..DAY)).map(Value::from) {
        row.insert("date".into(), day);
    }
    let text = |column| row.get(column).map_or_else(String::new, text);
    COLUMNS.map(|column| cell(&text(column)))
}

/// What serde writes of a record or a score.
fn fields(of: &impl serde::Serialize) -> Map<String, Value> {
    match serde_json::to_value(of) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    }
}

/// A field as text: a number by its shortest digits that read back the same, a list with
/// semicolons.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().map(text).collect::<Vec<_>>().join("; "),
        Value::Number(number) if number.is_f64() => {
            number.as_f64().map_or_else(String::new, |n| n.to_string())
        }
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// A cell that a spreadsheet takes for text: what begins as a formula does, and is no number, has
/// an apostrophe before it.
pub(crate) fn cell(text: &str) -> String {
    let formula =
        text.starts_with(['=', '+', '-', '@', '\t', '\r']) && text.parse::<f64>().is_err();
    if formula {
        format!("'{text}")
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::record;

    #[test]
    fn no_cell_is_a_formula() {
        assert_eq!(
            ["=cmd|x", "@a", "-1.5", "-x", "a=b", ""].map(cell),
            ["'=cmd|x", "'@a", "-1.5", "'-x", "a=b", ""]
        );
    }

    #[test]
    fn numbers_and_names_read_back_exactly() {
        let failed = FailedTask::new("c", "own", "no such\nfolder");
        let table = csv_table(&[record("a"), record("b")], &[failed]);
        let mut reader = csv::Reader::from_reader(table.as_bytes());
        let rows: Vec<csv::StringRecord> = reader.records().map(|row| row.unwrap()).collect();
        assert_eq!(rows.len(), 5);
        assert_eq!(
            rows[0][9].parse::<f64>().unwrap().to_bits(),
            (0.1f64 + 0.2).to_bits()
        );
        assert_eq!(
            (&rows[2][0], &rows[3][8], &rows[0][18]),
            ("b", "mean_per_class", "a, \"quoted\" folder")
        );
        let last = |row: usize| rows[row].iter().skip(37).collect::<Vec<_>>();
        assert_eq!(last(0), ["true", "mini", "2026-01-31", "done", ""]);
        assert_eq!(last(1)[0], "false");
        assert_eq!((&rows[4][0], &rows[4][9]), ("c", ""));
        let of_failed = last(4);
        assert_eq!(
            [of_failed[0], of_failed[1], of_failed[3], of_failed[4]],
            ["", "own", "failed", "no such folder"]
        );
    }
}
