//! Records as a table for people.

use std::ops::Range;

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

use crate::Record;

const HEAD: [&str; 8] = [
    "task",
    "method",
    "metric",
    "score",
    "95 % interval",
    "chance",
    "n",
    "time",
];

/// One line per task: its main score in percent, interval, chance level, rows and time.
pub fn table(records: &[Record]) -> String {
    let row = |record: &Record| {
        let score = record.main();
        vec![
            record.name(),
            format!("{} ({})", record.method, record.feature),
            score.metric.clone(),
            percent(score.value),
            format!("{} to {}", percent(score.ci_low), percent(score.ci_high)),
            percent(record.chance),
            score.n.to_string(),
            format!("{:.1} s", record.seconds),
        ]
    };
    rows_table(&HEAD, records.iter().map(row), 3..8)
}

/// Rows of cells in columns, those of `right` to the right.
pub fn rows_table(
    head: &[&str],
    rows: impl Iterator<Item = Vec<String>>,
    right: Range<usize>,
) -> String {
    let mut table = Table::new();
    table
        .load_preset(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(head);
    for row in rows {
        table.add_row(row);
    }
    for column in right {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let lines: Vec<String> = table
        .lines()
        .map(|line| line.trim_end().to_owned())
        .collect();
    lines.join("\n")
}

fn percent(share: f64) -> String {
    format!("{:.1}", share * 100.0)
}
