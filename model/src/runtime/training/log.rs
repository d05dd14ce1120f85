//! What training says: a line of JSON and `TensorBoard`'s scalars every few steps, and a line for
//! people.

use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use super::EventWriter;
use crate::{Error, Result};

/// `log.jsonl` and `events/` of a folder.
#[derive(Debug)]
pub struct Log {
    lines: File,
    events: EventWriter,
    path: PathBuf,
}

impl Log {
    /// Opens both; lines of steps after `step`, which a killed run left, are taken out.
    pub fn open(folder: &Path, step: usize) -> Result<Self> {
        let path = folder.join("log.jsonl");
        let io = |e: std::io::Error| Error::io(&path, e);
        let text = if path.exists() {
            fs::read_to_string(&path).map_err(io)?
        } else {
            String::new()
        };
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
            let part = folder.join("log.jsonl.part");
            fs::write(&part, kept)
                .and_then(|()| fs::rename(&part, &path))
                .map_err(io)?;
        }
        let lines = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .map_err(io)?;
        let events = folder.join("events");
        let events = EventWriter::create(&events).map_err(|e| Error::io(&events, e))?;
        Ok(Self {
            lines,
            events,
            path,
        })
    }

    /// Notes numbers of a step under `kind`, such as "train".
    pub fn note(&mut self, kind: &str, step: usize, values: &[(&str, f64)]) -> Result<()> {
        let mut line = json!({ "step": step, "kind": kind });
        for (name, value) in values {
            line[*name] = json!(value);
            let written = self
                .events
                .scalar(&format!("{kind}/{name}"), step as u64, *value);
            written.map_err(|e| Error::io(self.path.with_file_name("events"), e))?;
        }
        writeln!(self.lines, "{line}").map_err(|e| Error::io(&self.path, e))
    }
}

/// The largest resident set so far, in MB; on a GPU the host's too, since libtorch's own is not to
/// be had without CUDA.
pub fn peak_memory() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok())
        .map_or(0.0, |kilobytes| kilobytes / 1024.0)
}
