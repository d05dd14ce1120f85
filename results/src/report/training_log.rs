//! Logs of training, found in the folder of a fine-tuning, of a pretraining with its stages, or of
//! a run that fine-tuned for its tasks.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use flava_base::{is_there, read_text};
use serde_json::{Map, Value};

use super::figures::CurvePoint;
use crate::{Error, Result};

/// The largest log that is read.
const MAX_BYTES: u64 = 1 << 29;
/// Points of a line; with more steps each is a mean over some.
const MOST_POINTS: usize = 120;

/// The numbers of one log: of each kind of line, name by name, the values over the steps.
#[derive(Clone, Debug)]
pub(super) struct TrainingLog {
    /// Its stage or task; empty for the folder's own.
    pub(super) name: String,
    pub(super) train: BTreeMap<String, Vec<CurvePoint>>,
    pub(super) evaluation: BTreeMap<String, Vec<CurvePoint>>,
    pub(super) last_step: usize,
}

/// The logs below a folder, the folder's own first, then by name.
pub(super) fn training_logs(folder: &Path) -> Result<Vec<TrainingLog>> {
    let mut found = vec![(String::new(), folder.join("log.jsonl"))];
    for below in [folder.to_owned(), folder.join("finetuned")] {
        for path in folders(&below)? {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            found.push((name.into_owned(), path.join("log.jsonl")));
        }
    }
    found.retain(|(_, path)| is_there(path));
    found
        .into_iter()
        .map(|(name, path)| read_log(name, &path))
        .collect()
}

fn folders(folder: &Path) -> Result<Vec<PathBuf>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let entries = fs::read_dir(folder).map_err(|e| Error::io(folder, e))?;
    let mut found: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    found.retain(|path| path.is_dir());
    found.sort();
    Ok(found)
}

/// A line that was cut off when the program was killed is left out.
fn read_log(name: String, path: &Path) -> Result<TrainingLog> {
    let text = read_text(path, MAX_BYTES)?;
    let mut log = TrainingLog {
        name,
        train: BTreeMap::new(),
        evaluation: BTreeMap::new(),
        last_step: 0,
    };
    for line in text.lines() {
        if let Ok(Value::Object(line)) = serde_json::from_str(line) {
            log.take(&line);
        }
    }
    for points in log.train.values_mut().chain(log.evaluation.values_mut()) {
        *points = thinned(points);
    }
    Ok(log)
}

impl TrainingLog {
    fn take(&mut self, line: &Map<String, Value>) {
        let Some(step) = line.get("step").and_then(Value::as_u64) else {
            return;
        };
        self.last_step = self.last_step.max(step as usize);
        let kind = match line.get("kind").and_then(Value::as_str) {
            Some("train") => &mut self.train,
            Some("evaluation") => &mut self.evaluation,
            _ => return,
        };
        for (name, value) in line {
            if let Some(value) = value.as_f64().filter(|_| name != "step") {
                let point = CurvePoint::new(step as f64, value);
                kind.entry(name.clone()).or_default().push(point);
            }
        }
    }
}

/// Means over neighbouring points, with the lowest and the highest of them.
fn thinned(points: &[CurvePoint]) -> Vec<CurvePoint> {
    let together = points.len().div_ceil(MOST_POINTS).max(1);
    let mean = |some: &[CurvePoint]| {
        let count = some.len() as f64;
        let sum = |read: fn(&CurvePoint) -> f64| some.iter().map(read).sum::<f64>();
        let ends = some.iter().map(|point| point.y);
        CurvePoint {
            x: sum(|point| point.x) / count,
            y: sum(|point| point.y) / count,
            low: ends.clone().fold(f64::INFINITY, f64::min),
            high: ends.fold(f64::NEG_INFINITY, f64::max),
        }
    };
    points.chunks(together).map(mean).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_are_found_thinned_and_half_a_line_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let stage = folder.path().join("joint");
        fs::create_dir(&stage).unwrap();
        let line = |step: usize| {
            format!(
                "{{\"kind\":\"train\",\"step\":{step},\"loss\":{}}}\n",
                step % 2
            )
        };
        let mut text: String = (1..=240).map(line).collect();
        text += "{\"kind\":\"evaluation\",\"step\":240,\"a<b\":0.5}\n{\"kind\":\"tra";
        fs::write(stage.join("log.jsonl"), text).unwrap();
        let logs = training_logs(folder.path()).unwrap();
        let log = &logs[0];
        assert_eq!((&*log.name, log.last_step, logs.len()), ("joint", 240, 1));
        let first = log.train["loss"][0];
        assert_eq!(
            (first.x, first.y, first.low, first.high),
            (1.5, 0.5, 0.0, 1.0)
        );
        assert_eq!(log.train["loss"].len(), MOST_POINTS);
        assert_eq!(log.evaluation["a<b"].len(), 1);
        assert!(training_logs(Path::new("nowhere")).unwrap().is_empty());
    }
}
