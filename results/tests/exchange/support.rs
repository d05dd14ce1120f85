//! Records, runs and what is read of their exports.

use std::{
    fs,
    path::{Path, PathBuf},
};

use flava_results::{ExportFormat, Exported, MetricValue, Record, Run, export};
use flava_tasks::{
    Outputs, Predictions,
    predictions::{Logits, Ranked},
};
use serde_json::{Value, json};
use tempfile::TempDir;

pub fn score(metric: &str, value: f64, n: usize) -> MetricValue {
    MetricValue {
        metric: metric.into(),
        split: "test".into(),
        value,
        standard_error: 0.0125,
        ci_low: value - 0.025,
        ci_high: value + 0.025,
        interval: "wilson".into(),
        n,
        unit: "share".into(),
        higher_is_better: true,
    }
}

/// A record of `facebook/flava-full`, publishable.
pub fn record(task: &str, method: &str, metrics: Vec<MetricValue>) -> Record {
    let record = json!({
        "task": task, "task_version": 1, "family": "vision", "protocol": "flava",
        "method": method, "feature": "image_cls", "split": "test",
        "metrics": [], "chance": 0.1, "train_rows": 50_000, "skipped": 0,
        "rows_of": metrics[0].n, "model": "facebook/flava-full", "model_revision": "aaaa",
        "model_fingerprint": "0123456789abcdef", "parameters": 85_798_656_u64,
        "flops_per_row": 35.0e9, "hub_task": "image-classification",
        "data": "uoft-cs/cifar10", "data_revision": "0b27", "data_fingerprint": "11",
        "transform": "224x224-bicubic-pillow13-4627c624", "precision": "f32", "device": "cpu",
        "seed": 0, "initialisation": "checkpoint", "publishable": true, "notes": [],
        "details": {}, "program": "flava 0.1.0", "commit": "c0ffee",
        "date": "2026-01-31T12:00:00Z", "seconds": 1.5,
    });
    Record {
        metrics, // JSON has no numbers that are not finite
        ..serde_json::from_value(record).unwrap()
    }
}

/// Zero-shot on a dataset with so many rows.
pub fn zero_shot(task: &str, accuracy: f64, per_class: f64, n: usize) -> Record {
    let metrics = vec![
        score("accuracy", accuracy, n),
        score("mean_per_class", per_class, n),
    ];
    Record {
        hub_task: "zero-shot-image-classification".into(),
        ..record(task, "zero_shot", metrics)
    }
}

pub fn retrieval(task: &str, images: usize, captions: usize) -> Record {
    let metrics = vec![
        score("text_recall@1", 0.6, images),
        score("text_recall@5", 0.8, images),
        score("image_recall@1", 0.5, captions),
        score("image_recall@5", 0.7, captions),
    ];
    Record {
        family: "multimodal".into(),
        hub_task: "text-retrieval".into(),
        ..record(task, "retrieval", metrics)
    }
}

/// A run's folder and an empty one beside it.
pub struct Place {
    pub folder: TempDir,
    pub run: Run,
}

impl Place {
    pub fn new(records: Vec<Record>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("run/predictions")).unwrap();
        let run = Run {
            folder: folder.path().join("run"),
            records,
            status: std::collections::BTreeMap::new(),
        };
        Self { folder, run }
    }

    pub fn out(&self) -> PathBuf {
        self.folder.path().join("out")
    }

    pub fn export(&self, format: ExportFormat) -> Exported {
        let first = export(&self.run, format, &self.out()).unwrap();
        let bytes = |files: &[PathBuf]| -> Vec<Vec<u8>> {
            files.iter().map(|file| fs::read(file).unwrap()).collect()
        };
        let before = bytes(&first.files);
        let again = export(&self.run, format, &self.out()).unwrap();
        assert_eq!(first, again);
        assert_eq!(before, bytes(&again.files), "the same bytes again");
        first
    }

    /// Files under the folder of the export, relative to it.
    pub fn files(&self, exported: &Exported) -> Vec<String> {
        let relative = |file: &PathBuf| {
            let file = file.strip_prefix(self.out()).unwrap();
            file.to_str().unwrap().to_owned()
        };
        exported.files.iter().map(relative).collect()
    }

    pub fn text(&self, file: &str) -> String {
        fs::read_to_string(self.out().join(file)).unwrap()
    }

    pub fn json(&self, file: &str) -> Value {
        serde_json::from_str(&self.text(file)).unwrap()
    }

    pub fn write_predictions(&self, record: &Record, outputs: Outputs) {
        let rows = match &outputs {
            Outputs::Classes { gold, .. } => gold.len(),
            Outputs::Ranks { .. } => 0,
            _ => unreachable!("no other kind is written here"),
        };
        let predictions = Predictions {
            ids: (0..rows).map(|row| format!("test/{row}")).collect(),
            clusters: None,
            outputs,
        };
        let path = self.run.folder.join("predictions");
        let path = path.join(format!("{}.parquet", record.name()));
        predictions.write(&path, &record.task).unwrap();
    }
}

/// Two rows of six classes: the first right, the second among the best five.
pub fn classes() -> Outputs {
    let ids = ["test/0".to_owned(), "test/1".to_owned()];
    let values = vec![9.0, 1.0, 2.0, 3.0, 4.0, 5.0, 9.0, 1.0, 2.0, 3.0, 4.0, 5.0];
    Outputs::Classes {
        predicted: vec![0, 0],
        gold: vec![0, 5],
        logits: Some(Logits::new(values, 6, &ids).unwrap()),
    }
}

/// Two images with a caption each.
pub fn ranks() -> Outputs {
    let ranked = |image, rank| Ranked { image, rank };
    Outputs::Ranks {
        texts: vec![ranked(0, 1), ranked(1, 7)],
        images: vec![ranked(0, 2), ranked(1, 11)],
    }
}

pub fn reason<'a>(exported: &'a Exported, name: &str) -> &'a str {
    let mut all = exported.left_out.iter();
    let found = all.find(|left| left.name == name);
    &found
        .unwrap_or_else(|| panic!("{name} in {exported:?}"))
        .reason
}

pub fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    path
}
