//! What a test server takes: the answers to a split whose truth it keeps to itself.

use serde::{Deserialize, Serialize};

use crate::Split;

/// The form of a file of answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SubmissionFormat {
    /// GLUE's: `index<TAB>prediction`, classes as words where they have names.
    GlueTsv,
    /// VQA's on `EvalAI`: a JSON list of `{question_id, answer}`.
    EvalaiJson,
    /// Hateful Memes': `id,proba,label`.
    HatefulMemesCsv,
    /// `id,prediction`.
    Csv,
}

/// A file of answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Submission {
    /// Its official name.
    pub file: String,
    /// Its form.
    pub format: SubmissionFormat,
    /// The rows that are asked for.
    pub split: Split,
    /// Names of the classes; without, they are numbers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
}
