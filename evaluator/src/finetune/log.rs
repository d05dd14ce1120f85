//! What training says: a line of JSON and `TensorBoard`'s scalars every few steps, and a line for people.

use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    path::Path,
};

use flava_model::runtime::training::EventWriter;
use serde_json::{Value, json};

use crate::{Error, Result};

/// `log.jsonl` and `events/` of a folder.
pub(crate) struct Log {
    lines: File,
    events: EventWriter,
}

impl Log {
    /// Opens both; lines of steps after `step`, which a killed run left, are taken out.
    pub(crate) fn open(folder: &Path, step: usize) -> Result<Self> {
        let path = folder.join("log.jsonl");
        let io = |e: std::io::Error| Error::Other(format!("{}: {e}", path.display()));
        let text = if path.exists() { fs::read_to_string(&path).map_err(io)? } else { String::new() };
        let reached =
            |line: &&str| serde_json::from_str::<Value>(line).is_ok_and(|line| line["step"].as_u64().is_some_and(|at| at <= step as u64));
        let kept: String = text.lines().filter(reached).map(|line| format!("{line}\n")).collect();
        if kept != text {
            flava_results::write_beside(&path, &kept).map_err(io)?;
        }
        let lines = OpenOptions::new().create(true).append(true).open(&path).map_err(io)?;
        let events =
            EventWriter::create(&folder.join("events")).map_err(|e| Error::Other(format!("{}: {e}", folder.join("events").display())))?;
        Ok(Self { lines, events })
    }

    /// Notes numbers of a step under `kind`, such as "train".
    pub(crate) fn note(&mut self, kind: &str, step: usize, values: &[(&str, f64)]) -> Result<()> {
        let mut line = json!({ "step": step, "kind": kind });
        for (name, value) in values {
            line[*name] = json!(value);
            let written = self.events.scalar(&format!("{kind}/{name}"), step as u64, *value);
            written.map_err(|e| Error::Other(format!("TensorBoard's events: {e}")))?;
        }
        writeln!(self.lines, "{line}").map_err(|e| Error::Other(format!("log.jsonl: {e}")))
    }
}

/// The largest resident set so far, in MB; on a GPU the host's too, since libtorch's own is not to be had without CUDA.
pub(crate) fn peak_memory() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok()).map_or(0.0, |kilobytes| kilobytes / 1024.0)
}
