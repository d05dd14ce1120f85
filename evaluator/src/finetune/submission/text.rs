//! The text of a file in a test server's form.

use flava_tasks::{Submission, SubmissionFormat};
use serde_json::json;

use crate::{Error, Result};

/// A model's answers to a split.
pub(super) struct Answered {
    pub(super) ids: Vec<String>,
    pub(super) answers: Vec<String>,
    /// Of the second class, where there are two.
    pub(super) probabilities: Option<Vec<f32>>,
}

impl Answered {
    /// A file's text in the official form; `classes` is 0 where the answers are numbers.
    pub(super) fn text(&self, submission: &Submission, classes: usize) -> Result<String> {
        match submission.format {
            SubmissionFormat::GlueTsv => self.glue(&submission.labels, classes == 0),
            SubmissionFormat::EvalaiJson => self.evalai(),
            SubmissionFormat::HatefulMemesCsv => self.hateful_memes(),
            SubmissionFormat::Csv => Ok(self.csv(&submission.labels)),
        }
    }

    fn glue(&self, labels: &[String], are_numbers: bool) -> Result<String> {
        let mut text = "index\tprediction\n".to_owned();
        for (index, row) in by_index(&self.ids)? {
            let answer = &self.answers[row];
            // STS-B's scale is 0 to 5.
            let value = answer.parse::<f64>().ok().filter(|_| are_numbers);
            let shown = match value {
                Some(value) => format!("{:.3}", value.clamp(0.0, 5.0)),
                None => label(labels, answer),
            };
            text.extend([index.to_string(), "\t".into(), shown, "\n".into()]);
        }
        Ok(text)
    }

    fn evalai(&self) -> Result<String> {
        let entry = |(id, answer): (&String, &String)| {
            let number = id
                .parse::<u64>()
                .map_err(|_| Error::Submission(format!("{id}: is no question_id")))?;
            Ok(json!({ "question_id": number, "answer": answer }))
        };
        let entries = self.ids.iter().zip(&self.answers).map(entry);
        let entries = entries.collect::<Result<Vec<_>>>()?;
        Ok(serde_json::to_string(&entries)?)
    }

    fn hateful_memes(&self) -> Result<String> {
        let missing = || Error::Submission("the head has no two classes".into());
        let probabilities = self.probabilities.as_ref().ok_or_else(missing)?;
        let rows = self.ids.iter().zip(&self.answers).zip(probabilities);
        let lines = rows.map(|((id, answer), p)| format!("{id},{p:.6},{answer}\n"));
        Ok(format!("id,proba,label\n{}", lines.collect::<String>()))
    }

    fn csv(&self, labels: &[String]) -> String {
        let line = |(id, answer): (&String, &String)| {
            format!("{},{}\n", quoted(id), quoted(&label(labels, answer)))
        };
        let lines: String = self.ids.iter().zip(&self.answers).map(line).collect();
        format!("id,prediction\n{lines}")
    }
}

/// What the form calls a class; an answer that is none stays.
fn label(labels: &[String], answer: &str) -> String {
    let class = answer.parse::<usize>().ok();
    let named = class.and_then(|class| labels.get(class));
    named.cloned().unwrap_or_else(|| answer.to_owned())
}

/// A field of a CSV file.
fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

/// GLUE's server goes by the rows' own numbers: each with its position, in their order.
fn by_index(ids: &[String]) -> Result<Vec<(u64, usize)>> {
    if ids.iter().all(|id| id.parse::<u64>().is_err()) {
        flava_base::say(
            "note: the task's row names no column of idx (id = \"idx\"): answers are numbered by the positions of their rows",
        );
        return Ok((0..ids.len()).map(|row| (row as u64, row)).collect());
    }
    let number = |(row, id): (usize, &String)| {
        let number = id
            .parse::<u64>()
            .map_err(|_| Error::Submission(format!("{id}: is no idx, as others are")))?;
        Ok((number, row))
    };
    let numbers = ids.iter().enumerate().map(number);
    let mut numbers = numbers.collect::<Result<Vec<_>>>()?;
    numbers.sort_unstable();
    match numbers.array_windows::<2>().find(|[a, b]| a.0 == b.0) {
        Some([(twice, _), _]) => {
            let reason = format!("the idx {twice} is there twice");
            Err(Error::Submission(reason))
        }
        None => Ok(numbers),
    }
}
