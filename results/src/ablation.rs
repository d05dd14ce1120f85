//! The table of an ablation: the paper's columns beside each other, each a mean over the seeds that
//! were run.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use statrs::distribution::{ContinuousCDF, StudentsT};

use crate::{Error, Record, Result, csv_line::csv_line, read_records};

/// The paper's columns, in its order (Table 4 and C.1), as the recipes call them.
pub const PAPER_COLUMNS: [&str; 8] = [
    "mim",
    "mlm",
    "flava-c-local",
    "flava-c",
    "flava-mm",
    "flava-without-init",
    "flava-beit-init",
    "flava",
];
/// The head of the CSV.
const HEAD: [&str; 8] = [
    "column",
    "task",
    "metric",
    "seeds",
    "value",
    "ci_low",
    "ci_high",
    "sd_over_seeds",
];
/// Where a column stands: the paper's in its order, then others by name.
pub fn column_order(name: &str) -> (usize, &str) {
    let position = PAPER_COLUMNS.iter().position(|column| *column == name);
    (position.unwrap_or(PAPER_COLUMNS.len()), name)
}

/// Standard errors to either side that hold 95 % of a normal distribution.
const TWO_SIDED_95: f64 = 1.96;

/// A number of the table.
#[derive(Clone, Debug, PartialEq)]
pub struct AblationCell {
    /// Recipe.
    pub column: String,
    /// Task.
    pub task: String,
    /// Its main metric.
    pub metric: String,
    /// Seeds that were run.
    pub seeds: usize,
    /// Mean over the seeds, a share.
    pub value: f64,
    /// Standard deviation over the seeds; none of one seed.
    pub over_seeds: Option<f64>,
    /// Lower end of the 95 % interval: of the rows, which are the same for all seeds, so that their
    /// part does not shrink with them, and of the seeds (Student).
    pub ci_low: f64,
    /// Upper end.
    pub ci_high: f64,
}

/// The cells of runs in folders `COLUMN/seed-N/runs` below `folder`.
///
/// # Errors
/// If there are none, or if runs of a task differ in its version or data.
pub fn ablation(folder: &Path) -> Result<Vec<AblationCell>> {
    let runs = read_runs(folder)?;
    if runs.is_empty() {
        let reason = "holds no COLUMN/seed-N/runs, where a column is a recipe's name without mini-";
        return Err(Error::file(folder, reason));
    }
    if let Some(problem) = problem(&runs) {
        return Err(Error::file(folder, problem));
    }
    let cells = runs.iter();
    let cells = cells.map(|((_, column), records)| cell(&column.1, records));
    Ok(cells.collect())
}

/// The records of each cell, by the task's place and the column's.
type Runs = BTreeMap<(usize, (usize, String)), Vec<Record>>;

fn read_runs(folder: &Path) -> Result<Runs> {
    let mut runs = Runs::new();
    let mut tasks: Vec<String> = Vec::new();
    for column in folders(folder)? {
        let name = column.file_name().unwrap_or_default().to_string_lossy();
        let (position, name) = column_order(&name);
        for seed in folders(&column)? {
            if !seed.join("runs").is_dir() {
                continue;
            }
            for record in read_records(&seed.join("runs"))? {
                let known = tasks.iter().position(|known| *known == record.name());
                let task = known.unwrap_or_else(|| {
                    tasks.push(record.name());
                    tasks.len() - 1
                });
                let column = (position, name.to_owned());
                runs.entry((task, column)).or_default().push(record);
            }
        }
    }
    Ok(runs)
}

/// Why a mean over these would be none, if it would.
fn problem(runs: &Runs) -> Option<String> {
    let mut first: BTreeMap<usize, &Record> = BTreeMap::new();
    for ((task, _), records) in runs {
        let one = *first.entry(*task).or_insert(&records[0]);
        if let Some(other) = records.iter().find(|other| !alike(one, other)) {
            let name = other.name();
            return Some(format!(
                "runs of {name} are of other rows, another version or method"
            ));
        }
        let twice = |record: &&Record| {
            let weights = |other: &&Record| other.model_fingerprint == record.model_fingerprint;
            records.iter().filter(weights).count() > 1
        };
        if let Some(record) = records.iter().find(twice) {
            let (name, weights) = (record.name(), &record.model_fingerprint);
            return Some(format!(
                "two runs of {name} are of the same weights, {weights}"
            ));
        }
    }
    None
}

/// Whether two records answer the same question about the same rows.
fn alike(one: &Record, other: &Record) -> bool {
    one.task_version == other.task_version
        && one.data_fingerprint == other.data_fingerprint
        && one.protocol == other.protocol
        && one.method == other.method
        && one.feature == other.feature
        && one.main().metric == other.main().metric
}

fn cell(column: &str, records: &[Record]) -> AblationCell {
    let count = records.len() as f64;
    let main: Vec<_> = records.iter().map(|record| &record.metrics[0]).collect();
    let value = main.iter().map(|score| score.value).sum::<f64>() / count;
    let squares: f64 = main.iter().map(|score| (score.value - value).powi(2)).sum();
    let over_seeds = (records.len() > 1).then(|| (squares / (count - 1.0)).sqrt());
    let (ci_low, ci_high) = match over_seeds {
        None => (main[0].ci_low, main[0].ci_high),
        Some(sd) => {
            let errors = main.iter().map(|score| score.standard_error.powi(2));
            let rows = errors.sum::<f64>() / count;
            let half = (TWO_SIDED_95 * rows.sqrt()).hypot(student(count - 1.0) * sd / count.sqrt());
            ((value - half).max(0.0), (value + half).min(1.0))
        }
    };
    AblationCell {
        column: column.to_owned(),
        task: records[0].name(),
        metric: main[0].metric.clone(),
        seeds: records.len(),
        value,
        over_seeds,
        ci_low,
        ci_high,
    }
}

/// As [`TWO_SIDED_95`], for a mean whose spread is estimated with so many degrees of freedom.
fn student(degrees: f64) -> f64 {
    StudentsT::new(0.0, 1.0, degrees).map_or(TWO_SIDED_95, |t| t.inverse_cdf(0.975))
}

/// The folders in a folder, those of columns in their order; none where it is not there.
fn folders(folder: &Path) -> Result<Vec<PathBuf>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let entries = fs::read_dir(folder).map_err(|e| Error::io(folder, e))?;
    let mut found: Vec<_> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect();
    let position = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let (position, name) = column_order(&name);
        (position, name.to_owned())
    };
    found.sort_by_key(position);
    Ok(found)
}

/// The cells as CSV, a line each.
pub fn ablation_csv(cells: &[AblationCell]) -> String {
    let head = HEAD.map(str::to_owned);
    let lines = std::iter::once(head).chain(cells.iter().map(csv_row));
    lines.fold(String::new(), |text, line| text + &csv_line(line))
}

fn csv_row(cell: &AblationCell) -> [String; 8] {
    let number = |value: f64| format!("{value:.6}");
    [
        cell.column.clone(),
        cell.task.clone(),
        cell.metric.clone(),
        cell.seeds.to_string(),
        number(cell.value),
        number(cell.ci_low),
        number(cell.ci_high),
        cell.over_seeds.map(number).unwrap_or_default(),
    ]
}

/// The cells as a Markdown table: tasks down, columns across, in percent with half of the 95 %
/// interval.
pub fn ablation_markdown(cells: &[AblationCell]) -> String {
    let mut columns: Vec<&str> = cells.iter().map(|cell| cell.column.as_str()).collect();
    columns.sort_by_key(|name| column_order(name));
    columns.dedup();
    let mut tasks: Vec<(&str, &str)> = Vec::new();
    for cell in cells {
        if !tasks.contains(&(&cell.task, &cell.metric)) {
            tasks.push((&cell.task, &cell.metric));
        }
    }
    let head = format!(
        "| task | metric | {} |\n|---|---|{}\n",
        columns.join(" | "),
        "---|".repeat(columns.len())
    );
    let row = |(task, metric): (&str, &str)| {
        let numbers = columns.iter().map(|column| number(cells, column, task));
        let numbers = numbers.collect::<Vec<_>>().join(" | ");
        format!("| {task} | {metric} | {numbers} |\n")
    };
    let rows = tasks.into_iter().map(row);
    rows.fold(head, |text, row| text + &row)
}

/// A task's number in a column of the Markdown table.
fn number(cells: &[AblationCell], column: &str, task: &str) -> String {
    let mut cells = cells.iter();
    let Some(cell) = cells.find(|cell| cell.column == column && cell.task == task) else {
        return "-".to_owned();
    };
    let half = (cell.ci_high - cell.ci_low) * 50.0;
    format!("{:.1} ± {half:.1}", cell.value * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::record;

    #[test]
    fn seeds_are_averaged_and_rows_keep_their_part_of_the_interval() {
        let with = |value: f64| {
            let mut record = record("mini-vqa");
            (record.metrics[0].value, record.metrics[0].standard_error) = (value, 0.03);
            record
        };
        let cell = cell("flava", &[with(0.5), with(0.6), with(0.7)]);
        assert!((cell.value - 0.6).abs() < 1e-12 && (cell.over_seeds.unwrap() - 0.1).abs() < 1e-12);
        // Student's 4.303 for two degrees of freedom.
        let half = (1.96f64 * 0.03).hypot(4.302_652_73 * (0.01f64 / 3.0).sqrt());
        assert!((cell.ci_high - 0.6 - half).abs() < 1e-8);
        assert!(ablation_markdown(std::slice::from_ref(&cell)).contains("| mini-vqa |"));
        assert_eq!(ablation_csv(&[cell]).lines().count(), 2);
        assert!(ablation(Path::new("nowhere")).is_err());
    }
}
