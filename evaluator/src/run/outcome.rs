//! How a run ended, task by task.

use std::path::PathBuf;

use flava_base::error_lines;
use flava_model::runtime::Progress;
use flava_results::{
    FailedTask, Record, RunFolder,
    reproduction::{WHOLE, reproduction},
    results_text,
};

use crate::{
    Error, Result,
    args::{PrintArgs, width},
};

/// How a run ended.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What was measured, in order.
    pub records: Vec<Record>,
    /// Tasks that failed, and why.
    pub failures: Vec<(String, Error)>,
    /// The same, as the run's folder tells it.
    pub failed: Vec<FailedTask>,
    /// The run's folder.
    pub out: PathBuf,
    /// What stands below the table.
    pub notes: Vec<String>,
    /// Tasks that were planned, each way of running one counted.
    pub planned: usize,
    /// Whether Ctrl-C ended it.
    pub interrupted: bool,
}

impl Outcome {
    /// What was measured and what failed, as it is asked for.
    pub fn text(&self, asked: PrintArgs) -> String {
        results_text(&self.records, &self.failed, asked.format(), width())
    }

    /// Takes note of how a task ended.
    pub(super) fn take(
        &mut self,
        name: &str,
        result: Result<Record>,
        folder: &mut RunFolder,
        progress: &Progress,
    ) -> Result<()> {
        for note in folder.take_notes() {
            progress.say(&format!("note: {note}"));
            self.notes.push(note);
        }
        match result {
            Ok(record) => {
                let score = record.main();
                progress.say(&format!(
                    "{name}: {} {:.4} on {} rows in {:.1} s",
                    score.metric, score.value, score.n, record.seconds
                ));
                for distance in reproduction(&record, WHOLE)? {
                    progress.say(&format!("{name}: {}: {distance}", distance.metric));
                }
                let notes = record.notes.iter().map(|note| format!("{name}: {note}"));
                self.notes.extend(notes);
                self.records.push(record);
            }
            Err(Error::Interrupted) => self.interrupted = true,
            Err(error) => {
                for line in error_lines(&format!("{name}: failed: {error}")) {
                    progress.say(&line);
                }
                folder.fail(name, &error.to_string())?;
                self.failures.push((name.to_owned(), error));
            }
        }
        Ok(())
    }
}
