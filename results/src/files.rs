//! The folder of a run: one JSON file per task and `results.csv`, written as soon as a task ends.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read, Write},
    path::{Path, PathBuf},
    time::SystemTime,
};

use crate::{Error, Record, Result};

/// Columns of `results.csv`; new ones are added at the end.
const COLUMNS: [&str; 28] = [
    "date",
    "task",
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
    "chance",
    "n",
    "skipped",
    "model",
    "model_revision",
    "model_fingerprint",
    "data",
    "data_revision",
    "data_fingerprint",
    "transform",
    "precision",
    "device",
    "seed",
    "seconds",
    "publishable",
];

/// The current time, such as `2026-01-31T12:00:00Z`.
pub fn timestamp() -> String {
    humantime::format_rfc3339_seconds(SystemTime::now()).to_string()
}

/// A folder that results are written to.
#[derive(Debug)]
pub struct RunFolder {
    folder: PathBuf,
}

impl RunFolder {
    /// Makes the folder and checks that it can be written to and that its table has this version's columns.
    pub fn create(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
        let run = Self { folder: folder.to_owned() };
        let table = run.table();
        let mut file = OpenOptions::new().create(true).append(true).read(true).open(&table).map_err(|e| Error::io(&table, e))?;
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(|e| Error::io(&table, e))?;
        if text.is_empty() {
            file.write_all(line(&COLUMNS.map(str::to_owned)).as_bytes()).map_err(|e| Error::io(&table, e))?;
        } else if text.lines().next() != Some(COLUMNS.join(",").as_str()) {
            return Err(Error::Columns { path: table });
        } else if !text.ends_with('\n') {
            // A run was killed in the middle of a row: its task ended without a result.
            let whole = text.rfind('\n').map_or(0, |end| end + 1);
            file.set_len(whole as u64).map_err(|e| Error::io(&table, e))?;
        }
        Ok(run)
    }

    /// The CSV file.
    pub fn table(&self) -> PathBuf {
        self.folder.join("results.csv")
    }

    /// Writes the task's JSON file and appends a row for each metric to the table.
    pub fn write(&self, record: &Record) -> Result<PathBuf> {
        let path = self.folder.join(format!("{}.json", record.task));
        let json = serde_json::to_string_pretty(record).expect("a record is plain data");
        write_beside(&path, &format!("{json}\n")).map_err(|e| Error::io(&path, e))?;
        let rows: String = (0..record.metrics.len()).map(|metric| line(&row(record, metric))).collect();
        let table = self.table();
        let mut file = OpenOptions::new().append(true).open(&table).map_err(|e| Error::io(&table, e))?;
        // One call: rows of two runs into one folder do not mix.
        file.write_all(rows.as_bytes()).map_err(|e| Error::io(&table, e))?;
        Ok(path)
    }
}

/// Writes a text to a temporary sibling and gives it its name when it is whole.
pub fn write_beside(path: &Path, text: &str) -> std::io::Result<()> {
    let part = PathBuf::from(format!("{}.part", path.display()));
    let written = File::create(&part).and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()));
    written.and_then(|()| fs::rename(&part, path)).inspect_err(|_| {
        let _gone = fs::remove_file(&part);
    })
}

fn row(record: &Record, metric: usize) -> [String; 28] {
    let score = &record.metrics[metric];
    [
        record.date.clone(),
        record.task.clone(),
        record.task_version.to_string(),
        record.family.clone(),
        record.protocol.clone(),
        record.method.clone(),
        record.feature.clone(),
        record.split.clone(),
        score.metric.clone(),
        score.value.to_string(),
        score.standard_error.to_string(),
        score.ci_low.to_string(),
        score.ci_high.to_string(),
        if metric == 0 { record.chance.to_string() } else { String::new() },
        score.n.to_string(),
        record.skipped.to_string(),
        record.model.clone(),
        record.model_revision.clone(),
        record.model_fingerprint.clone(),
        record.data.clone(),
        record.data_revision.clone(),
        record.data_fingerprint.clone(),
        record.transform.clone(),
        record.precision.clone(),
        record.device.clone(),
        record.seed.to_string(),
        format!("{:.3}", record.seconds),
        record.publishable.to_string(),
    ]
}

fn line(fields: &[String]) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(fields).expect("writing to memory");
    String::from_utf8(writer.into_inner().expect("writing to memory")).expect("fields are text")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MetricValue;

    fn record(task: &str) -> Record {
        let score =
            |metric: &str, value| MetricValue { metric: metric.into(), value, standard_error: 0.1, ci_low: 0.0, ci_high: 1.0, n: 9 };
        Record {
            task: task.into(),
            task_version: 1,
            family: "vision".into(),
            protocol: "flava".into(),
            method: "linear_probe".into(),
            feature: "image_cls".into(),
            split: "test".into(),
            metrics: vec![score("accuracy", 0.1 + 0.2), score("mean_per_class", 0.25)],
            chance: 0.1,
            train_rows: 4,
            skipped: 0,
            model: "a, \"quoted\" folder".into(),
            model_revision: String::new(),
            model_fingerprint: "00".into(),
            data: "x/y".into(),
            data_revision: String::new(),
            data_fingerprint: "11".into(),
            transform: "t".into(),
            precision: "f32".into(),
            device: "cpu".into(),
            seed: 0,
            mismatches: Vec::new(),
            publishable: true,
            notes: Vec::new(),
            details: serde_json::Map::new(),
            program: "flava".into(),
            date: timestamp(),
            seconds: 1.5,
        }
    }

    #[test]
    fn rows_are_appended_and_read_back_exactly() {
        let folder = tempfile::tempdir().unwrap();
        for task in ["a", "b"] {
            RunFolder::create(folder.path()).unwrap().write(&record(task)).unwrap();
        }
        let mut reader = csv::Reader::from_path(folder.path().join("results.csv")).unwrap();
        let rows: Vec<csv::StringRecord> = reader.records().map(|row| row.unwrap()).collect();
        assert_eq!(rows.len(), 4);
        assert_eq!(rows[0][9].parse::<f64>().unwrap().to_bits(), (0.1f64 + 0.2).to_bits());
        assert_eq!((&rows[2][1], &rows[3][8], &rows[0][16]), ("b", "mean_per_class", "a, \"quoted\" folder"));
        let json = fs::read_to_string(folder.path().join("a.json")).unwrap();
        assert_eq!(serde_json::from_str::<Record>(&json).unwrap().metrics, record("a").metrics);
    }

    #[test]
    fn half_a_row_is_dropped_and_foreign_tables_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunFolder::create(folder.path()).unwrap();
        run.write(&record("a")).unwrap();
        let whole = fs::read_to_string(run.table()).unwrap();
        fs::write(run.table(), format!("{whole}2026-01-01T00:00:00Z,b,1,vis")).unwrap();
        let run = RunFolder::create(folder.path()).unwrap();
        assert_eq!(fs::read_to_string(run.table()).unwrap(), whole);
        fs::write(run.table(), "name,acc1\n").unwrap();
        assert!(matches!(RunFolder::create(folder.path()), Err(Error::Columns { .. })));
    }
}
