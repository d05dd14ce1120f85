//! Whether all data of a plan is there.

use super::{open, prompts};
use crate::{Error, Plan, Result};

impl Plan {
    /// Finds and opens the data of every task, and fetches what is not here, before there is a
    /// model to measure.
    ///
    /// # Errors
    /// Of the first task whose data is missing, or not what its protocol asks for.
    pub fn check_data(&self) -> Result<()> {
        for task in &self.tasks {
            for task_run in self.task_runs(task)? {
                let opened = open(self, task, &task_run.assignment);
                let ready =
                    opened.and_then(|opened| prompts(self, task, &task_run.assignment, &opened));
                ready.map_err(|error| Error::OfTask {
                    task: task.name.clone(),
                    source: Box::new(error),
                })?;
            }
        }
        Ok(())
    }
}
