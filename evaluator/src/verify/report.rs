//! What was found about data, and how it is shown.

use serde::Serialize;

use super::duplicates::Duplicates;

/// Of how many training questions an answer must be the most frequent one to be one that is chosen
/// from.
pub(super) const LEAST: usize = 9;

/// What was found about a split.
#[derive(Debug, Serialize)]
pub struct SplitCheck {
    /// As the source calls it.
    pub name: String,
    /// Rows that it has.
    pub rows: usize,
    /// Rows that the registry expects.
    pub expected: usize,
    /// Over ids, labels, images and texts.
    pub fingerprint: String,
    /// Rows of each class.
    pub classes: Vec<usize>,
    /// Rows like another row of the split.
    pub duplicates: Duplicates,
    /// Rows whose image cannot be decoded, the first few by id.
    pub unreadable: Vec<String>,
}

/// Rows of one split that another has too.
#[derive(Debug, Serialize)]
pub struct Leak {
    /// The split whose rows are counted.
    pub of: String,
    /// The split that has them too.
    pub also_in: String,
    /// How many.
    pub duplicates: Duplicates,
}

/// What a classifier over the answers of the training split could reach at most.
#[derive(Debug, Serialize)]
pub struct AnswersCheck {
    /// Answers that are the most frequent one of nine questions or more, in the form in which they
    /// are compared.
    pub vocabulary: usize,
    /// The mean score of whoever always gives the best of them.
    pub ceiling: f64,
}

/// What was found about a task's data.
#[derive(Debug, Serialize)]
pub struct TaskCheck {
    /// Its name.
    pub task: String,
    /// The protocol whose rows are asked for.
    pub protocol: String,
    /// ready, mismatched, missing or broken.
    pub state: String,
    /// Why it is not ready.
    pub reasons: Vec<String>,
    /// The source that was found.
    pub source: String,
    /// Its commit; empty where nobody knows.
    pub revision: String,
    /// What the data calls its classes, as far as it says.
    pub class_names: usize,
    /// Its splits.
    pub splits: Vec<SplitCheck>,
    /// Rows that two splits share.
    pub leaks: Vec<Leak>,
    /// Of questions with free answers.
    pub answers: Option<AnswersCheck>,
}

/// What was found about all of them.
#[derive(Debug, Serialize)]
pub struct Verified {
    /// Files of a bundle that are not what was sealed.
    pub broken_files: Vec<String>,
    /// Task by task.
    pub tasks: Vec<TaskCheck>,
}

impl Verified {
    /// Whether everything is as it should be.
    pub fn is_good(&self) -> bool {
        self.broken_files.is_empty() && self.tasks.iter().all(|task| task.state == "ready")
    }

    /// For people.
    pub fn table(&self) -> String {
        let broken = self.broken_files.iter();
        let mut lines: Vec<String> = broken.map(|file| format!("broken file: {file}")).collect();
        for task in &self.tasks {
            task.describe(&mut lines);
        }
        lines.join("\n")
    }
}

impl TaskCheck {
    fn describe(&self, lines: &mut Vec<String>) {
        let (task, state, source) = (&self.task, &self.state, &self.source);
        lines.push(format!("{task:26} {state:10} {source}"));
        lines.extend(self.reasons.iter().map(|reason| format!("    {reason}")));
        for split in &self.splits {
            split.describe(lines);
        }
        if let Some(answers) = &self.answers {
            lines.push(format!(
                "    {} answers are those of {LEAST} training questions or more; with them {:.2} % can be reached",
                answers.vocabulary,
                answers.ceiling * 100.0
            ));
        }
        for leak in &self.leaks {
            let copies = format!("also in {}", leak.also_in);
            let copies = leak.duplicates.describe(&copies);
            lines.push(format!("    {}{copies}", leak.of));
        }
    }
}

impl SplitCheck {
    fn describe(&self, lines: &mut Vec<String>) {
        let classes = if self.classes.is_empty() {
            String::new()
        } else {
            spread(&self.classes)
        };
        let copies = self.duplicates.describe("like another of the split");
        lines.push(format!(
            "    {:12} {:>8} rows, fingerprint {}{classes}{copies}",
            self.name, self.rows, self.fingerprint
        ));
        if !self.unreadable.is_empty() {
            lines.push(format!(
                "        images that cannot be read: {}",
                self.unreadable.join(", ")
            ));
        }
    }
}

fn spread(classes: &[usize]) -> String {
    let used = classes.iter().filter(|rows| **rows > 0).count();
    let (least, most) = (
        classes.iter().min().unwrap_or(&0),
        classes.iter().max().unwrap_or(&0),
    );
    format!(
        ", {used} of {} classes with {least} to {most} rows",
        classes.len()
    )
}
