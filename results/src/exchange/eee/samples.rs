//! The samples of an evaluation.

use serde_json::json;

use super::aggregate::{Evaluation, SCHEMA, result_id};
use crate::exchange::samples::{RowScore, Sample};

/// Lines of the samples' file: a row is told with the first metric that it has a share of.
pub(super) fn sample_lines(evaluation: &Evaluation, samples: &[Sample]) -> Vec<String> {
    let scored = samples
        .iter()
        .filter_map(|sample| Some((sample, sample.scores.first()?)));
    scored
        .map(|(sample, score)| line(evaluation, sample, score))
        .collect()
}

/// The row's content is not told, but for its id.
fn line(evaluation: &Evaluation, sample: &Sample, score: &RowScore) -> String {
    let part = evaluation.part;
    let line = json!({
        "schema_version": SCHEMA,
        "evaluation_id": evaluation.id,
        "model_id": evaluation.model.joined("/"),
        "evaluation_name": part.name,
        "evaluation_result_id": result_id(part, score.metric),
        "sample_id": sample.id,
        "interaction_type": "single_turn",
        "input": { "raw": sample.id, "reference": sample.targets },
        "output": { "raw": [sample.answer] },
        "answer_attribution": [],
        "evaluation": { "score": score.value, "is_correct": score.value >= 1.0 },
    });
    format!("{line}\n")
}
