//! `flava-eval verify`: whether the data of tasks is what it should be, before anything is measured
//! on it.

mod duplicates;

use flava_model::runtime::Progress;
use flava_tasks::{
    Protocol, Task,
    metrics::process_answer,
    select,
    sources::{AnswerVocabulary, Label, OpenSplit},
};
use serde::Serialize;

use crate::{
    Error, Places, Result,
    args::VerifyArgs,
    data::{self, OpenTask},
    plan::registry_of,
};

use duplicates::{Duplicates, Prints};

/// Of how many training questions an answer must be the most frequent one to be one that is chosen
/// from.
const LEAST: usize = 9;

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
    /// Rows whose picture cannot be decoded, the first few by id.
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
        let mut lines: Vec<String> = self
            .broken_files
            .iter()
            .map(|file| format!("broken file: {file}"))
            .collect();
        for task in &self.tasks {
            lines.push(format!(
                "{:26} {:10} {}",
                task.task, task.state, task.source
            ));
            lines.extend(task.reasons.iter().map(|reason| format!("    {reason}")));
            for split in &task.splits {
                let classes = if split.classes.is_empty() {
                    String::new()
                } else {
                    spread(&split.classes)
                };
                let copies = split.duplicates.describe("like another of the split");
                lines.push(format!(
                    "    {:12} {:>8} rows, fingerprint {}{classes}{copies}",
                    split.name, split.rows, split.fingerprint
                ));
                if !split.unreadable.is_empty() {
                    lines.push(format!(
                        "        pictures that cannot be read: {}",
                        split.unreadable.join(", ")
                    ));
                }
            }
            if let Some(AnswersCheck {
                vocabulary,
                ceiling,
            }) = task.answers
            {
                lines.push(format!(
                    "    {vocabulary} answers are those of {LEAST} training questions or more; with them {:.2} % can be reached",
                    ceiling * 100.0
                ));
            }
            for leak in &task.leaks {
                lines.push(format!(
                    "    {}{}",
                    leak.of,
                    leak.duplicates
                        .describe(&format!("also in {}", leak.also_in))
                ));
            }
        }
        lines.join("\n")
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

/// Checks the data of the tasks that are asked for.
pub fn verify(args: &VerifyArgs) -> Result<Verified> {
    let registry = registry_of(&args.data_args.task_file)?;
    let tasks = select(&registry, &args.tasks, args.suite.into())?;
    // Checking is about what is there: nothing is fetched.
    let places = Places::new(args.data_args.data.clone(), true, args.quiet)?;
    let broken_files = match (&places.manifest, &places.data) {
        (Some(manifest), Some(data)) => manifest.broken(data),
        _ => Vec::new(),
    };
    let progress = Progress::new(tasks.len(), "tasks", args.quiet);
    let check = |task: &Task| {
        let check = check(
            task,
            args.data_args.protocol.into(),
            &places,
            args,
            &progress,
        );
        progress.step();
        check
    };
    let tasks = tasks.into_iter().map(check).collect();
    progress.finish();
    Ok(Verified {
        broken_files,
        tasks,
    })
}

fn check(
    task: &Task,
    protocol: Protocol,
    places: &Places,
    args: &VerifyArgs,
    progress: &Progress,
) -> TaskCheck {
    let mut found = TaskCheck {
        task: task.name.clone(),
        protocol: protocol.name().into(),
        state: "ready".into(),
        reasons: Vec::new(),
        source: String::new(),
        revision: String::new(),
        class_names: 0,
        splits: Vec::new(),
        leaks: Vec::new(),
        answers: None,
    };
    if let Err(error) = inspect(task, protocol, places, args, progress, &mut found) {
        let missing = matches!(error, Error::Task(flava_tasks::Error::Missing { .. }));
        found.state = if missing { "missing" } else { "broken" }.into();
        found.reasons.push(error.to_string());
    }
    found
}

fn inspect(
    task: &Task,
    protocol: Protocol,
    places: &Places,
    args: &VerifyArgs,
    progress: &Progress,
    found: &mut TaskCheck,
) -> Result<()> {
    let assignment = task
        .assign(protocol)
        .ok_or_else(|| Error::Other(format!("has no protocol {}", protocol.name())))?;
    let choice = task.find_source(&assignment, places, true)?;
    (found.source, found.revision) = (
        choice.source.name().to_owned(),
        choice.located.revision.clone(),
    );
    let opened = OpenTask::open(task, choice, args.seed)?;
    if !opened.mismatches.is_empty() {
        found.state = "mismatched".into();
        found.reasons.clone_from(&opened.mismatches);
    }
    found.class_names = opened.test.dataset.class_names().map_or(0, <[String]>::len);
    if let (Some(train), Label::Answers(_)) = (&opened.train, opened.test.dataset.label(0)) {
        let vocabulary = AnswerVocabulary::count(&[&*train.dataset], LEAST, process_answer);
        let ceiling = vocabulary.ceiling(&*opened.test.dataset, process_answer);
        found.answers = Some(AnswersCheck {
            vocabulary: vocabulary.answers.len(),
            ceiling,
        });
    }
    let mut all: Vec<Prints> = Vec::new();
    for split in opened.splits() {
        let prints = Prints::of(
            split,
            args.limit.map(|limit| limit as usize),
            args.seed,
            progress,
        );
        found.splits.push(SplitCheck {
            name: split.name.clone(),
            rows: split.dataset.len(),
            expected: split.expected,
            fingerprint: data::fingerprint(split)?.of_rows(
                &*split.dataset,
                &(0..split.dataset.len()).collect::<Vec<_>>(),
            ),
            classes: histogram(split, task.classes),
            duplicates: prints.within(),
            unreadable: prints.unreadable.clone(),
        });
        if !prints.unreadable.is_empty() {
            found.state = "broken".into();
            found.reasons.push(format!(
                "split {} has pictures that cannot be read",
                split.name
            ));
        }
        all.push(prints);
    }
    for (i, of) in all.iter().enumerate() {
        for other in &all[..i] {
            let duplicates = of.shared_with(other);
            if duplicates.exact + duplicates.near > 0 {
                found.leaks.push(Leak {
                    of: of.name.clone(),
                    also_in: other.name.clone(),
                    duplicates,
                });
            }
        }
    }
    Ok(())
}

fn histogram(split: &OpenSplit, classes: usize) -> Vec<usize> {
    let mut counts = vec![0; classes];
    let mut count = |class: usize| {
        if let Some(rows) = counts.get_mut(class) {
            *rows += 1;
        }
    };
    for index in 0..split.dataset.len() {
        match split.dataset.label(index) {
            Label::Class(class) => count(class),
            Label::Classes(several) => several.into_iter().for_each(&mut count),
            _ => {}
        }
    }
    counts
}
