//! What training says: a line of JSON and `TensorBoard`'s scalars every few steps, and a line for
//! people.

use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
};

use flava_base::human_duration;
use flava_model::runtime::peak_memory;
use serde_json::{Value, json};
use tch::Device;

use crate::{Error, Result, events::EventWriter, metrics::MetricAccumulator};

/// `log.jsonl` and `events/` of a folder; nothing of a process that does not speak for all.
#[derive(Debug)]
pub struct Log(Option<LogFiles>);

#[derive(Debug)]
struct LogFiles {
    lines: File,
    events: EventWriter,
    path: PathBuf,
}

impl Log {
    /// Opens both.
    pub fn open(folder: &Path) -> Result<Self> {
        let path = folder.join("log.jsonl");
        let events = folder.join("events");
        let events = EventWriter::create(&events).map_err(|e| Error::io(&events, e))?;
        Ok(Self(Some(LogFiles {
            lines: append_to(&path)?,
            events,
            path,
        })))
    }

    /// One that notes nothing.
    pub fn silent() -> Self {
        Self(None)
    }

    /// Takes out the lines of steps after `step`, which a killed run left.
    pub(crate) fn keep_until(&mut self, step: usize) -> Result<()> {
        let Some(files) = &mut self.0 else {
            return Ok(());
        };
        let text = fs::read_to_string(&files.path).map_err(|e| Error::io(&files.path, e))?;
        let reached = |line: &&str| {
            serde_json::from_str::<Value>(line)
                .is_ok_and(|line| line["step"].as_u64().is_some_and(|at| at <= step as u64))
        };
        let kept: String = text
            .lines()
            .filter(reached)
            .map(|line| format!("{line}\n"))
            .collect();
        if kept != text {
            flava_base::write_atomic(&files.path, kept.as_bytes())?;
            files.lines = append_to(&files.path)?;
        }
        Ok(())
    }

    /// Notes numbers of a step under `kind`, such as "train".
    pub fn note(
        &mut self,
        kind: &str,
        step: usize,
        values: &[(impl AsRef<str>, f64)],
    ) -> Result<()> {
        let Some(files) = &mut self.0 else {
            return Ok(());
        };
        let mut line = json!({ "step": step, "kind": kind });
        for (name, value) in values {
            let name = name.as_ref();
            line[name] = json!(value);
            let name = format!("{kind}/{name}");
            let written = files.events.scalar(&name, step as u64, *value);
            written.map_err(|e| Error::io(&files.path.with_file_name("events"), e))?;
        }
        // At once: whoever reads along meets whole lines.
        let written = files.lines.write_all(format!("{line}\n").as_bytes());
        written.map_err(|e| Error::io(&files.path, e))
    }
}

fn append_to(path: &Path) -> Result<File> {
    let file = OpenOptions::new().create(true).append(true).open(path);
    file.map_err(|e| Error::io(path, e))
}

/// A line of the log, and the same for people.
pub(crate) struct TrainLine<'a> {
    pub(crate) lr: f64,
    pub(crate) device: Device,
    pub(crate) peak_flops: f64,
    pub(crate) skipped_steps: u32,
    pub(crate) broken_rows: u64,
    pub(crate) steps_left: usize,
    pub(crate) extra: Vec<(&'static str, f64)>,
    pub(crate) sums: &'a MetricAccumulator,
}

impl TrainLine<'_> {
    fn per_second(&self, amount: f64) -> f64 {
        amount / self.sums.seconds.max(1e-9)
    }

    fn per_step(&self, sum: f64) -> f64 {
        sum / self.sums.steps.max(1) as f64
    }

    fn share_of_peak(&self) -> f64 {
        if self.peak_flops > 0.0 {
            self.per_second(self.sums.flops) / self.peak_flops
        } else {
            0.0
        }
    }

    fn seconds_left(&self) -> f64 {
        self.steps_left as f64 * self.per_step(self.sums.seconds)
    }

    /// Numbers by name.
    pub(crate) fn values(&self) -> Result<Vec<(String, f64)>> {
        let sums = self.sums;
        let fixed = [
            ("loss", sums.total_loss()?),
            ("learning_rate", self.lr),
            ("gradient_norm", self.per_step(sums.norm)),
            ("rows_per_s", self.per_second(sums.rows as f64)),
            ("tokens_per_s", self.per_second(sums.tokens as f64)),
            ("share_of_peak", self.share_of_peak()),
            ("share_waited", self.per_second(sums.waited)),
            ("peak_memory_mb", peak_memory(self.device)),
            ("skipped_steps", f64::from(self.skipped_steps)),
            ("broken_rows", self.broken_rows as f64),
            ("seconds_left", self.seconds_left()),
        ];
        let owned = |&(name, value): &(&str, f64)| (name.to_owned(), value);
        let mut all: Vec<(String, f64)> = fixed.iter().map(owned).collect();
        all.extend(sums.mean_losses()?);
        all.extend(sums.accuracies()?);
        all.extend(self.extra.iter().map(owned));
        Ok(all)
    }

    /// The most telling of them.
    pub(crate) fn for_people(&self) -> Result<String> {
        let mut parts: Vec<String> = self
            .sums
            .mean_losses()?
            .iter()
            .map(|(name, value)| format!("{name} {value:.3}"))
            .collect();
        parts.push(format!("lr {:.1e}", self.lr));
        parts.push(format!("norm {:.2}", self.per_step(self.sums.norm)));
        parts.push(format!(
            "{:.0} rows/s",
            self.per_second(self.sums.rows as f64)
        ));
        if self.peak_flops > 0.0 && self.sums.flops > 0.0 {
            parts.push(format!("{:.0} % of peak", self.share_of_peak() * 100.0));
        }
        parts.push(format!("{} left", human_duration(self.seconds_left())));
        Ok(parts.join(", "))
    }
}
