//! Every Eval Ever's common format: `data/flava-eval/OWNER/MODEL/UUID.json` and its samples,
//! `UUID_samples.jsonl`, for each split of a record.

mod aggregate;
mod samples;

use std::path::{Path, PathBuf};

use serde_json::json;
use sha2::{Digest, Sha256};

use self::{
    aggregate::{Evaluation, aggregate},
    samples::sample_lines,
};
use super::{
    exported::ExportFolder,
    model_name::ModelName,
    parts::{Part, parts},
    samples::samples,
    times::ended,
};
use crate::Result;

/// What files of ours are collected under.
const COLLECTION: &str = "flava-eval";

pub(super) fn export(folder: &mut ExportFolder) -> Result<()> {
    for record in folder.records.clone() {
        for part in parts(record) {
            write(folder, &part)?;
        }
    }
    Ok(())
}

fn write(folder: &mut ExportFolder, part: &Part) -> Result<()> {
    let model = ModelName::of(part.record);
    let place: PathBuf = ["data", COLLECTION, &model.owner, &model.name]
        .iter()
        .collect();
    let time = ended(part.record).unwrap_or_default();
    let evaluation = Evaluation {
        part,
        id: format!("{COLLECTION}/{}/{}/{time}", part.name, model.joined("_")),
        model: &model,
        time,
    };
    let uuid = uuid(&evaluation);
    let mut file = aggregate(&evaluation);
    let samples = samples(folder.run, part)?;
    let lines = samples.map(|samples| sample_lines(&evaluation, &samples));
    match lines {
        None => folder.leave_out(&part.name, "no samples: its predictions are not there"),
        Some(lines) if lines.is_empty() => {
            let reason = "no samples: none of its metrics is a mean over rows";
            folder.leave_out(&part.name, reason);
        }
        Some(lines) => {
            let samples = place.join(format!("{uuid}_samples.jsonl"));
            let text = lines.concat();
            file["detailed_evaluation_results"] = json!({
                "format": "jsonl",
                "file_path": slashed(&samples),
                "hash_algorithm": "sha256",
                "checksum": flava_base::hex(&Sha256::digest(&text)),
                "total_rows": lines.len(),
            });
            folder.write(&samples, text.as_bytes())?;
        }
    }
    let place = place.join(format!("{uuid}.json"));
    folder.write(&place, format!("{file:#}\n").as_bytes())
}

/// A path with slashes, on every system.
fn slashed(path: &Path) -> String {
    let parts = path.iter().map(|part| part.to_string_lossy());
    parts.collect::<Vec<_>>().join("/")
}

/// A UUID of the fourth version, drawn from what the evaluation is: the same one gives the same
/// file.
fn uuid(evaluation: &Evaluation) -> String {
    let record = evaluation.part.record;
    let what = [&evaluation.id, &record.key, &record.model_fingerprint];
    let mut bytes = Sha256::digest(what.map(|text| format!("{text}\n")).concat());
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = flava_base::hex(&bytes[..16]);
    let [a, b, c, d, e] = [0..8, 8..12, 12..16, 16..20, 20..32].map(|range| &hex[range]);
    format!("{a}-{b}-{c}-{d}-{e}")
}
