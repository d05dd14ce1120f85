//! Several trainings of one command beside each other: what seeds vary by, and which point of a
//! sweep does best on the rows that checkpoints are chosen on.

use std::path::Path;

use flava_results::{Record, csv_line, median, rows_table};
use serde::Serialize;

use crate::{Result, TuningRun};

/// Trainings of one command.
pub struct Trainings {
    rows: Vec<Training>,
}

/// One of them.
#[derive(Serialize)]
struct Training {
    /// Settings of the point of the sweep.
    settings: Vec<String>,
    seed: u64,
    folder: String,
    /// What the checkpoint was chosen by, on which rows, and how it did.
    chosen_by: String,
    chosen_on: String,
    validation: Option<f64>,
    /// Whether its point does best on the rows that checkpoints are chosen on.
    best: bool,
    /// The scores of the test rows.
    scores: Vec<TestScore>,
}

#[derive(Serialize)]
struct TestScore {
    metric: String,
    split: String,
    value: f64,
}

impl Trainings {
    /// Of a command's trainings and their records, in the same order.
    pub fn new(runs: &[TuningRun], records: &[Record]) -> Self {
        let pairs = runs.iter().zip(records);
        let mut all = Self {
            rows: pairs
                .map(|(run, record)| Training::new(run, record))
                .collect(),
        };
        if let Some(best) = all.best() {
            for row in &mut all.rows {
                row.best = row.settings == best;
            }
        }
        all
    }

    /// The settings of the point whose mean over the seeds is best; None where nothing is swept.
    fn best(&self) -> Option<Vec<String>> {
        let mean = |settings: &Vec<String>| {
            let of_point = self.rows.iter().filter(|row| row.settings == *settings);
            let values: Vec<f64> = of_point.filter_map(|row| row.validation).collect();
            let count = values.len();
            (count > 0).then(|| values.iter().sum::<f64>() / count as f64)
        };
        let points = self.rows.iter().map(|row| &row.settings);
        let scored = points.filter_map(|point| Some((point, mean(point)?)));
        // Of equal ones the first.
        let best = scored.reduce(|best, other| if other.1 > best.1 { other } else { best });
        best.map(|(point, _)| point.clone())
            .filter(|point| !point.is_empty())
    }

    fn is_sweep(&self) -> bool {
        self.rows.iter().any(|row| !row.settings.is_empty())
    }

    /// Writes them as CSV and JSON: `sweep` where settings were swept, else `seeds`.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let name = if self.is_sweep() { "sweep" } else { "seeds" };
        let json = serde_json::to_string_pretty(&self.rows)?;
        let path = folder.join(format!("{name}.json"));
        flava_base::write_atomic(&path, format!("{json}\n").as_bytes())?;
        let path = folder.join(format!("{name}.csv"));
        Ok(flava_base::write_atomic(&path, self.csv().as_bytes())?)
    }

    /// A line for each score of each training.
    fn csv(&self) -> String {
        let head = "settings,seed,folder,chosen_by,chosen_on,validation,best,metric,split,score";
        let mut lines = format!("{head}\n");
        for row in &self.rows {
            let validation = row
                .validation
                .map_or(String::new(), |value| value.to_string());
            for score in &row.scores {
                lines.push_str(&csv_line([
                    row.settings.join(" "),
                    row.seed.to_string(),
                    row.folder.clone(),
                    row.chosen_by.clone(),
                    row.chosen_on.clone(),
                    validation.clone(),
                    row.best.to_string(),
                    score.metric.clone(),
                    score.split.clone(),
                    score.value.to_string(),
                ]));
            }
        }
        lines
    }

    /// As people read them.
    pub fn text(&self) -> String {
        let mut parts = Vec::new();
        if self.is_sweep() {
            parts.push(self.table());
        }
        if self.rows.iter().any(|row| row.seed != self.rows[0].seed) {
            parts.push(self.over_seeds());
        }
        parts.join("\n")
    }

    fn table(&self) -> String {
        let percent = |value: f64| format!("{:.1}", value * 100.0);
        let rows = self.rows.iter().map(|row| {
            let score = row.scores.first();
            vec![
                row.settings.join(" "),
                row.seed.to_string(),
                row.validation.map_or("-".into(), percent),
                score.map_or("-".into(), |score| percent(score.value)),
                if row.best { "best" } else { "" }.to_owned(),
            ]
        });
        rows_table(&["settings", "seed", "validation", "test", ""], rows, 1..4)
    }

    /// Median and range of each metric over the seeds of the best point, or of all: what training
    /// varies by, apart from what the rows vary by.
    fn over_seeds(&self) -> String {
        let rows: Vec<&Training> = self
            .rows
            .iter()
            .filter(|row| row.best || !self.is_sweep())
            .collect();
        let Some(first) = rows.first() else {
            return String::new();
        };
        let mut lines = Vec::new();
        for (number, score) in first.scores.iter().enumerate() {
            let value = |row: &&Training| Some(row.scores.get(number)?.value * 100.0);
            let mut values: Vec<f64> = rows.iter().filter_map(value).collect();
            values.sort_by(f64::total_cmp);
            let (lowest, highest) = (values[0], values[values.len() - 1]);
            let median = median(&values);
            lines.push(format!(
                "{} on {}: median {median:.1} of {} seeds, {lowest:.1} to {highest:.1}",
                score.metric,
                score.split,
                values.len()
            ));
        }
        lines.join("\n")
    }
}

impl Training {
    fn new(run: &TuningRun, record: &Record) -> Self {
        let chosen = record
            .details
            .get("chosen_by")
            .and_then(|by| by.get("score"));
        let text = |key: &str| {
            let text = chosen.and_then(|chosen| chosen.get(key)?.as_str());
            text.unwrap_or_default().to_owned()
        };
        let score = |score: &flava_results::MetricValue| TestScore {
            metric: score.metric.clone(),
            split: score.split.clone(),
            value: score.value,
        };
        Self {
            settings: run.set.clone(),
            seed: run.seed,
            folder: run.out.display().to_string(),
            chosen_by: text("metric"),
            chosen_on: text("split"),
            validation: chosen.and_then(|chosen| chosen.get("value")?.as_f64()),
            best: false,
            scores: record.metrics.iter().map(score).collect(),
        }
    }
}
