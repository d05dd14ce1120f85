//! `samples_TASK_DATE.jsonl`.

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::Path,
};

use flava_base::hex;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{
    Result,
    exchange::{
        exported::ExportFolder,
        parts::Part,
        samples::{Sample, samples},
    },
};

/// Writes the samples of a part and gives their digest; None where its predictions are not there.
pub(super) fn write_samples(
    folder: &mut ExportFolder,
    part: &Part,
    file: &Path,
) -> Result<Option<String>> {
    let Some(samples) = samples(folder.run, part)? else {
        folder.leave_out(&part.name, "no samples: its predictions are not there");
        return Ok(None);
    };
    let mut digest = Sha256::new();
    folder.write_by(file, |file| {
        let mut file = BufWriter::new(File::create(file)?);
        for (number, sample) in samples.iter().enumerate() {
            let line = line(number, sample);
            for hash in ["doc_hash", "prompt_hash", "target_hash"] {
                digest.update(line[hash].as_str().unwrap_or_default());
            }
            writeln!(file, "{line}")?;
        }
        file.flush()
    })?;
    Ok(Some(hex(&digest.finalize())))
}

/// A line. The row's content is not told, but for its id; there is no prompt.
fn line(number: usize, sample: &Sample) -> Value {
    let target = match sample.targets.as_slice() {
        [one] => one.clone(),
        several => json!(several).to_string(),
    };
    let doc = json!({ "id": sample.id });
    let names: Vec<&str> = sample.scores.iter().map(|score| score.metric).collect();
    let mut line = json!({
        "doc_id": number,
        "target": target,
        "arguments": {},
        "resps": [[sample.answer]],
        "filtered_resps": [sample.answer],
        "filter": "none",
        "metrics": names,
        "doc_hash": hash(&doc.to_string()),
        "prompt_hash": hash(""),
        "target_hash": hash(&target),
        "doc": doc,
    });
    for score in &sample.scores {
        line[score.metric] = score.value.into();
    }
    line
}

fn hash(text: &str) -> String {
    hex(&Sha256::digest(text))
}
