//! `flava-eval verify`: whether the data of tasks is what it should be, before anything is measured
//! on it.

mod duplicates;
mod report;

use flava_model::runtime::Progress;
use flava_tasks::{
    Protocol, Task,
    metrics::process_answer,
    select,
    sources::{AnswerVocabulary, Label, OpenSplit},
};

use crate::{
    DataLocator, Error, Limit, Result,
    args::VerifyArgs,
    data::{self, OpenTask},
    plan::registry_of,
};

use duplicates::Prints;
use report::{AnswersCheck, LEAST, Leak, SplitCheck, TaskCheck};

pub use report::Verified;

/// Checks the data of the tasks that are asked for.
pub fn verify(args: &VerifyArgs) -> Result<Verified> {
    let registry = registry_of(&args.data_args.task_file)?;
    let tasks = select(&registry, &args.tasks, args.suite.into())?;
    // Checking is about what is there: nothing is fetched.
    let locator = DataLocator::new(args.data_args.data.clone(), true, args.quiet)?;
    let broken_files = match (&locator.manifest, &locator.data) {
        (Some(manifest), Some(data)) => manifest.broken(data),
        _ => Vec::new(),
    };
    let progress = Progress::new(tasks.len(), "tasks", args.quiet);
    let checker = Checker {
        protocol: args.data_args.protocol.into(),
        locator: &locator,
        args,
        progress: &progress,
    };
    let tasks = tasks.into_iter().map(|task| checker.check(task)).collect();
    progress.finish();
    Ok(Verified {
        broken_files,
        tasks,
    })
}

/// What tasks are checked by.
struct Checker<'a> {
    protocol: Protocol,
    locator: &'a DataLocator,
    args: &'a VerifyArgs,
    progress: &'a Progress,
}

impl Checker<'_> {
    fn check(&self, task: &Task) -> TaskCheck {
        let mut found = TaskCheck {
            task: task.name.clone(),
            protocol: self.protocol.name().into(),
            state: "ready".into(),
            reasons: Vec::new(),
            source: String::new(),
            revision: String::new(),
            class_names: 0,
            splits: Vec::new(),
            leaks: Vec::new(),
            answers: None,
        };
        let whole = self.locator.whole(task);
        if let Err(error) = whole.and_then(|task| self.inspect(&task, &mut found)) {
            let missing = matches!(error, Error::Task(flava_tasks::Error::Missing { .. }));
            found.state = if missing { "missing" } else { "broken" }.into();
            found.reasons.push(error.to_string());
        }
        self.progress.step();
        found
    }

    fn inspect(&self, task: &Task, found: &mut TaskCheck) -> Result<()> {
        let protocol = self.protocol;
        let none = || Error::Lacking {
            what: "protocol",
            reason: format!("has no protocol {}", protocol.name()),
        };
        let assignment = task.assign(protocol).ok_or_else(none)?;
        let choice = task.find_source(&assignment, self.locator, true)?;
        choice.source.name().clone_into(&mut found.source);
        found.revision.clone_from(&choice.located.revision);
        let opened = OpenTask::open(task, choice, self.args.seed)?;
        if !opened.mismatches.is_empty() {
            found.state = "mismatched".into();
            found.reasons.clone_from(&opened.mismatches);
        }
        found.class_names = opened.test.dataset.class_names().map_or(0, <[String]>::len);
        found.answers = answers(&opened);
        let limit = self.args.limit.map(|limit| Limit::Rows(limit as usize));
        let mut all: Vec<Prints> = Vec::new();
        for split in opened.splits() {
            let prints = Prints::of(split, limit, self.args.seed, self.progress);
            found.add(split, task.classes, &prints)?;
            all.push(prints);
        }
        found.leaks = leaks(&all);
        Ok(())
    }
}

impl TaskCheck {
    /// Notes what is known of a split.
    fn add(&mut self, split: &OpenSplit, classes: usize, prints: &Prints) -> Result<()> {
        let (name, rows) = (split.name.clone(), split.dataset.len());
        let all: Vec<usize> = (0..rows).collect();
        let fingerprint = data::fingerprint(split)?.of_rows(&*split.dataset, &all);
        if !prints.unreadable.is_empty() {
            self.state = "broken".into();
            self.reasons
                .push(format!("split {name} has images that cannot be read"));
        }
        self.splits.push(SplitCheck {
            name,
            rows,
            expected: split.expected,
            fingerprint,
            classes: histogram(split, classes),
            duplicates: prints.within(),
            unreadable: prints.unreadable.clone(),
        });
        Ok(())
    }
}

/// What the answers of the training split can reach on the test split.
fn answers(opened: &OpenTask) -> Option<AnswersCheck> {
    let (train, test) = (opened.train.as_ref()?, &opened.test);
    if !matches!(test.dataset.label(0), Label::Answers(_)) {
        return None;
    }
    let vocabulary = AnswerVocabulary::count(&[&*train.dataset], LEAST, process_answer);
    let rows: Vec<usize> = (0..test.dataset.len()).collect();
    Some(AnswersCheck {
        vocabulary: vocabulary.answers.len(),
        ceiling: vocabulary.ceiling(&*test.dataset, &rows),
    })
}

/// Rows that a split shares with one before it.
fn leaks(all: &[Prints]) -> Vec<Leak> {
    let mut leaks = Vec::new();
    for (i, of) in all.iter().enumerate() {
        for other in &all[..i] {
            let duplicates = of.shared_with(other);
            if duplicates.exact + duplicates.near > 0 {
                leaks.push(Leak {
                    of: of.name.clone(),
                    also_in: other.name.clone(),
                    duplicates,
                });
            }
        }
    }
    leaks
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
