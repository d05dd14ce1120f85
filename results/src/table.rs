//! Records as a table for people.

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

use crate::Record;

/// One line per task: its main score in percent, interval, chance level, rows and time.
pub fn table(records: &[Record]) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(["task", "method", "metric", "score", "95 % interval", "chance", "n", "time"]);
    for record in records {
        let score = record.main();
        table.add_row([
            record.task.clone(),
            format!("{} ({})", record.method, record.feature),
            score.metric.clone(),
            percent(score.value),
            format!("{} to {}", percent(score.ci_low), percent(score.ci_high)),
            percent(record.chance),
            score.n.to_string(),
            format!("{:.1} s", record.seconds),
        ]);
    }
    for column in 3..8 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n")
}

fn percent(share: f64) -> String {
    format!("{:.1}", share * 100.0)
}
