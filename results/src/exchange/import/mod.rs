//! Scores of other tools, read from their result files under our names of tasks and metrics.

mod clip_benchmark;
mod foreign;
mod lm_eval;

use std::path::Path;

use flava_base::{json_of, read_text};
use serde_json::Value;

pub use self::foreign::{ForeignScore, Imported};

use crate::{Error, Result};

/// Largest file of results.
const MAX_BYTES: u64 = 256 << 20;

/// Reads a file of the LM evaluation harness (`results_*.json`) or of `CLIP_benchmark` (a task's
/// JSON, or the table of its `build`); None of any other file.
///
/// What is no task or metric of ours is left out and named.
///
/// # Errors
/// If a JSON file is none, or a file of one of these formats is broken: the error names the file and
/// the key.
pub fn import(path: &Path) -> Result<Option<Imported>> {
    let ending = path.extension().and_then(|ending| ending.to_str());
    match ending {
        Some("json") if path.is_file() => import_json(path),
        Some("csv") if path.is_file() => clip_benchmark::import_table(path, &text(path)?),
        _ => Ok(None),
    }
}

fn text(path: &Path) -> Result<String> {
    Ok(read_text(path, MAX_BYTES)?)
}

fn import_json(path: &Path) -> Result<Option<Imported>> {
    let file: Value = json_of(&text(path)?)
        .map_err(|e| Error::file(path, format!("is not the JSON it should be: {e}")))?;
    let has = |key: &str| file.get(key).is_some();
    if has("results") && ["versions", "n-shot", "configs"].into_iter().any(has) {
        lm_eval::import(path, &file).map(Some)
    } else if ["dataset", "model", "pretrained", "task", "metrics"]
        .into_iter()
        .all(has)
    {
        clip_benchmark::import_file(path, &file).map(Some)
    } else {
        Ok(None)
    }
}
