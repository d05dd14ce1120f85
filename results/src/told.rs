//! What a run gave, as text: a table for a terminal, Markdown, CSV or JSON.

use serde_json::{Value, json};

use crate::{FailedTask, MetricValue, Record, State, csv_table, table::TableKind};

/// Columns of a score in tables for people.
const COLUMNS: [ScoreColumn; 8] = [
    ScoreColumn::new("task", 0, false),
    ScoreColumn::new("method", 4, false),
    ScoreColumn::new("metric", 0, false),
    ScoreColumn::new("score", 0, true),
    ScoreColumn::new("95 % interval", 0, true),
    ScoreColumn::new("chance", 1, true),
    ScoreColumn::new("n", 2, true),
    ScoreColumn::new("time", 3, true),
];
/// Spaces of a column beside its cells.
const MARGIN: usize = 2;

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ResultsFormat {
    /// Columns as wide as the terminal has room for.
    #[default]
    Table,
    /// A table of Markdown, with all columns.
    Markdown,
    /// As `results.csv`.
    Csv,
    /// A list of the records.
    Json,
}

/// A column of a table.
struct ScoreColumn {
    head: &'static str,
    /// 0 of those that are always there; of the others the higher numbers give way first.
    gives_way: usize,
    right: bool,
}

impl ScoreColumn {
    const fn new(head: &'static str, gives_way: usize, right: bool) -> Self {
        Self {
            head,
            gives_way,
            right,
        }
    }
}

/// A score's line, a cell for each of [`COLUMNS`].
type TableLine = [String; COLUMNS.len()];

/// What was measured and what failed, every metric of it; a table takes no more than `width`
/// characters a line where its words allow it.
pub fn results_text(
    records: &[Record],
    failed: &[FailedTask],
    format: ResultsFormat,
    width: usize,
) -> String {
    let lines = || {
        let measured = records.iter().flat_map(lines_of);
        measured.chain(failed.iter().map(line_of_failed)).collect()
    };
    match format {
        ResultsFormat::Table => fitting(lines(), width),
        ResultsFormat::Markdown => {
            let all: Vec<usize> = (0..COLUMNS.len()).collect();
            table_of(&all, &lines(), TableKind::Markdown)
        }
        ResultsFormat::Csv => csv_table(records, failed).trim_end().to_owned(),
        ResultsFormat::Json => format!("{:#}", json_of(records, failed)),
    }
}

/// Records with how they stand and which of their scores is the main one, then what failed.
fn json_of(records: &[Record], failed: &[FailedTask]) -> Value {
    let measured = records.iter().map(|record| {
        let mut value = json!(record);
        value["status"] = json!(State::Done);
        let metrics = value["metrics"].as_array_mut();
        for (index, metric) in metrics.into_iter().flatten().enumerate() {
            metric["main"] = (index == 0).into();
        }
        value
    });
    measured
        .chain(failed.iter().map(|failed| json!(failed)))
        .collect()
}

/// A line for each score of a record; what belongs to all of them stands in the first.
fn lines_of(record: &Record) -> Vec<TableLine> {
    let main = record.main();
    let shots = record.details.get("shots").and_then(Value::as_u64);
    let of_main = shots.map_or_else(
        || main.metric.clone(),
        |shots| format!("{}, {shots} shots", main.metric),
    );
    let mut lines = vec![[
        record.name(),
        format!("{} ({})", record.method, record.feature),
        of_main,
        percent(main.value),
        interval(main),
        percent(record.chance),
        main.n.to_string(),
        format!("{:.1} s", record.seconds),
    ]];
    lines.extend(fewer_shots(record, shots));
    lines.extend(record.metrics[1..].iter().map(|score| {
        let on = if score.split == record.split {
            score.metric.clone()
        } else {
            format!("{}, {}", score.metric, score.split)
        };
        line(on, percent(score.value), interval(score), score.n)
    }));
    lines
}

/// The medians of draws of fewer shots than those that the main score is of.
fn fewer_shots(record: &Record, shots: Option<u64>) -> Vec<TableLine> {
    let metric = &record.main().metric;
    let by_shots = record.details.get(&format!("{metric}_by_shots"));
    let by_shots = by_shots.and_then(Value::as_object).into_iter().flatten();
    let medians = by_shots.filter_map(|(count, draws)| {
        let count: u64 = count.parse().ok()?;
        Some((count, draws.get("median")?.as_f64()?))
    });
    let mut medians: Vec<(u64, f64)> = medians.filter(|(count, _)| Some(*count) != shots).collect();
    medians.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
    let told = |(count, median)| {
        let name = format!("{metric}, {count} shots");
        line(name, percent(median), String::new(), record.main().n)
    };
    medians.into_iter().map(told).collect()
}

/// A score that is not the main one.
fn line(metric: String, score: String, interval: String, n: usize) -> TableLine {
    let mut line = TableLine::default();
    (line[2], line[3], line[4], line[6]) = (metric, score, interval, n.to_string());
    line
}

fn line_of_failed(failed: &FailedTask) -> TableLine {
    let mut line = TableLine::default();
    line[0].clone_from(&failed.task);
    line[2] = "failed".into();
    line
}

/// The lines in as many columns as there is room for. A task whose name is too long for its column
/// has a line for its name.
fn fitting(mut lines: Vec<TableLine>, width: usize) -> String {
    let widest = |column: usize| {
        let cells = lines.iter().map(|line| line[column].chars().count());
        let head = COLUMNS[column].head.chars().count();
        cells.max().unwrap_or(0).max(head) + MARGIN
    };
    let mut order: Vec<usize> = (0..COLUMNS.len()).collect();
    order.sort_by_key(|&column| COLUMNS[column].gives_way);
    let always = order.iter().filter(|&&c| COLUMNS[c].gives_way == 0);
    let fixed: usize = always.filter(|&&c| c > 0).map(|&c| widest(c)).sum();
    let (mut room, mut shown) = (width.saturating_sub(fixed + widest(0)), Vec::new());
    let mut full = false;
    for column in order {
        let needed = widest(column);
        if COLUMNS[column].gives_way == 0 {
            shown.push(column);
        } else if !full && needed <= room {
            room -= needed;
            shown.push(column);
        } else {
            full = true;
        }
    }
    shown.sort_unstable();
    let longest = width.saturating_sub(fixed + MARGIN);
    let mut alone = Vec::new();
    for (index, line) in lines.iter_mut().enumerate() {
        if line[0].chars().count() > longest {
            alone.push((index, std::mem::take(&mut line[0])));
        }
    }
    let text = table_of(&shown, &lines, TableKind::Plain);
    let mut text: Vec<String> = text.lines().map(str::to_owned).collect();
    for (index, name) in alone.into_iter().rev() {
        text.insert(index + 1, format!(" {name}")); // the head is the first
    }
    text.join("\n")
}

/// The columns of lines, as a table of one kind.
fn table_of(columns: &[usize], lines: &[TableLine], kind: TableKind) -> String {
    let head: Vec<&str> = columns.iter().map(|&column| COLUMNS[column].head).collect();
    let row = |line: &TableLine| columns.iter().map(|&c| line[c].clone()).collect();
    let left = columns.iter().filter(|&&column| !COLUMNS[column].right);
    let right = left.count()..columns.len();
    kind.table(&head, lines.iter().map(row), right)
}

fn interval(score: &MetricValue) -> String {
    format!("{} to {}", percent(score.ci_low), percent(score.ci_high))
}

fn percent(share: f64) -> String {
    format!("{:.1}", share * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::record;

    fn some() -> Vec<Record> {
        let mut few = record("few");
        few.details.insert("shots".into(), 16.into());
        let by =
            json!({ "5": { "median": 0.05 }, "10": { "median": 0.1 }, "16": { "median": 0.3 } });
        few.details.insert("accuracy_by_shots".into(), by);
        let long = record(&"a-name-".repeat(8));
        vec![record("short"), few, long]
    }

    #[test]
    fn every_metric_is_told_within_any_width_that_holds_its_words() {
        let failed = [FailedTask::new("broken", "own", "a | b")];
        for width in [60, 80, 100, 160] {
            let text = results_text(&some(), &failed, ResultsFormat::Table, width);
            for line in text.lines() {
                assert!(line.chars().count() <= width, "{width}: {line}");
            }
            for told in [
                "mean_per_class",
                "accuracy, 16 shots",
                "accuracy, 5 shots",
                "broken",
            ] {
                assert!(text.contains(told), "{width}: {told}\n{text}");
            }
            assert!(text.contains(&"a-name-".repeat(8)), "{text}");
            assert_eq!(text.contains("linear_probe"), width >= 160, "{text}");
        }
    }

    #[test]
    fn markdown_and_json_hold_all_of_it() {
        let failed = [FailedTask::new("broken", "own", "a | b")];
        let text = results_text(&some(), &failed, ResultsFormat::Markdown, 0);
        let bars = |line: &str| line.matches('|').count();
        assert!(
            text.lines().all(|line| bars(line) == COLUMNS.len() + 1),
            "{text}"
        );
        let text = results_text(&some(), &failed, ResultsFormat::Json, 0);
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value[0]["status"], "done");
        assert_eq!(value[0]["metrics"][0]["main"], true);
        assert_eq!(value[0]["metrics"][1]["main"], false);
        assert_eq!(value[3]["status"], "failed");
        assert_eq!(value[3]["reason"], "a | b");
    }
}
