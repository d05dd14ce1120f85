//! A task's splits, and how they differ from what is asked for.

use std::borrow::Cow;

use flava_base::DigestIndex;
use flava_tasks::{
    Assignment, Error as TaskError, Method, Split, Task,
    sources::{Choice, Fingerprint, Label, LabelSpace, OpenSplit},
};

use crate::{Error, Plan, Result};

/// A task's splits, and how they differ from what is asked for.
pub(crate) struct OpenTask<'a> {
    pub(crate) choice: Choice<'a>,
    pub(crate) train: Option<OpenSplit>,
    pub(crate) validation: Option<OpenSplit>,
    pub(crate) test: OpenSplit,
    pub(crate) second_test: Option<OpenSplit>,
    /// Empty where nothing differs.
    pub(crate) mismatches: Vec<String>,
    /// What a reader of the numbers should know of the data.
    pub(crate) notes: Vec<String>,
}

impl<'a> OpenTask<'a> {
    /// Opens all splits of a source and counts.
    pub(crate) fn open(task: &Task, choice: Choice<'a>, seed: u64) -> Result<Self> {
        let source = choice.source.clone();
        let labelled = !matches!(task.method, Method::Retrieval { .. });
        let mut mismatches: Vec<String> = choice.shortfall.iter().cloned().collect();
        let mut open = |split: &Split| -> Result<OpenSplit> {
            let opened = task.open_split(&source, split, &choice.located.root, seed)?;
            mismatches.extend(opened.mismatches(split, labelled));
            Ok(opened)
        };
        let mut opened = Self {
            train: source.train.as_ref().map(&mut open).transpose()?,
            validation: source.validation.as_ref().map(&mut open).transpose()?,
            test: open(&source.test)?,
            second_test: source.second_test.as_ref().map(&mut open).transpose()?,
            mismatches,
            notes: Vec::new(),
            choice,
        };
        opened.notes.clone_from(&task.found);
        if matches!(opened.choice.source, Cow::Owned(_)) {
            let source = &opened.choice.source;
            opened
                .notes
                .push(format!("{}: {}", source.repo, source.note));
        }
        let of_labels = one_label_space(task, opened.splits_mut())?;
        opened.notes.extend(of_labels);
        opened.count_class_names(task);
        // Rows that are not the protocol's are refused as such, or where they are allowed, looked
        // at then.
        if opened.mismatches.is_empty() {
            opened.check_classes(task)?;
        }
        Ok(opened)
    }

    /// Compares how many classes the data names with what is expected.
    fn count_class_names(&mut self, task: &Task) {
        if let Some(names) = self.test.dataset.class_names()
            && task.classes > 0
            && names.len() != task.classes
        {
            let mismatch = format!(
                "{} names {} classes, {} are expected",
                self.choice.source.name(),
                names.len(),
                task.classes
            );
            self.mismatches.push(mismatch);
        }
    }

    /// There are classes to tell apart.
    ///
    /// # Errors
    /// If the rows to learn from, or where nothing is learned the rows to score, are all of one
    /// class.
    fn check_classes(&mut self, task: &Task) -> Result<()> {
        let learned = self.train.as_ref().filter(|_| task.method.trains());
        let split = learned.unwrap_or(&self.test);
        let Some(counts) = class_counts(split, task.classes) else {
            return Ok(());
        };
        let there = counts.iter().filter(|count| **count > 0).count();
        let (name, rows) = (&split.name, split.dataset.len());
        if there < 2 {
            let class = counts.iter().position(|count| *count > 0);
            let class = class.unwrap_or_default();
            return Err(Error::UnfitRows(format!(
                "all {rows} rows of split {name} are of class {class}: there is nothing to tell apart"
            )));
        }
        let (all, lacking) = (task.classes, task.classes.saturating_sub(there));
        if lacking > 0 {
            let note = format!("{lacking} of {all} classes have no row in split {name}");
            self.notes.push(note);
        }
        Ok(())
    }

    /// All splits, in the order they are used.
    pub(crate) fn splits(&self) -> impl Iterator<Item = &OpenSplit> {
        self.train
            .iter()
            .chain(&self.validation)
            .chain([&self.test])
            .chain(&self.second_test)
    }

    fn splits_mut(&mut self) -> Vec<&mut OpenSplit> {
        self.train
            .iter_mut()
            .chain(&mut self.validation)
            .chain([&mut self.test])
            .chain(&mut self.second_test)
            .collect()
    }
}

/// Rows of each class; None where labels are not classes.
fn class_counts(split: &OpenSplit, classes: usize) -> Option<Vec<usize>> {
    let mut counts = vec![0usize; classes];
    for index in 0..split.dataset.len() {
        let Label::Class(class) = split.dataset.label(index) else {
            return None;
        };
        if let Some(count) = counts.get_mut(class) {
            *count += 1;
        }
    }
    Some(counts)
}

/// Brings the labels of all splits into one numbering, and gives what a reader should know of it
/// and of the splits.
fn one_label_space(task: &Task, mut splits: Vec<&mut OpenSplit>) -> Result<Vec<String>> {
    let notes = splits.iter().flat_map(|split| split.dataset.notes());
    let mut notes: Vec<String> = notes.collect();
    let named = |split: &&mut OpenSplit| {
        let names = split.dataset.class_names()?.to_vec();
        Some((format!("split {}", split.name), names))
    };
    let space = if task.class_names.is_empty() {
        splits.iter().find_map(named)
    } else {
        Some(("the task".to_owned(), task.class_names.clone()))
    };
    if let Some((of, names)) = space {
        let space = LabelSpace::new(&of, names).map_err(Error::Classes)?;
        for split in &mut splits {
            notes.extend(split.renumber(&space).map_err(Error::Classes)?);
        }
        notes.extend(note_of_unnamed(&splits, &of));
    }
    notes.dedup();
    Ok(notes)
}

/// What is said where some splits name their classes and others do not.
fn note_of_unnamed(splits: &[&mut OpenSplit], of: &str) -> Option<String> {
    let is_silent = |split: &&&mut OpenSplit| split.dataset.class_names().is_none();
    let silent = splits.iter().filter(is_silent);
    let silent: Vec<&str> = silent.map(|split| split.name.as_str()).collect();
    (!silent.is_empty() && silent.len() < splits.len()).then(|| {
        let names = silent.join(", ");
        format!(
            "split {names} does not name its classes: their order could not be compared with that of {of}"
        )
    })
}

/// Finds and opens the data of a task. What an earlier run left half fetched is fetched first.
///
/// # Errors
/// If it is not what the protocol asks for, unless the plan allows that.
pub(crate) fn open<'a>(
    plan: &Plan,
    task: &'a Task,
    assignment: &Assignment,
) -> Result<OpenTask<'a>> {
    let choice = plan.locator.source(task, assignment, plan.allow_mismatch)?;
    let first = OpenTask::open(task, choice.clone(), plan.seed);
    let is_whole = first.as_ref().is_ok_and(|open| open.mismatches.is_empty());
    let mut opened = if !is_whole && plan.locator.complete(&choice)? {
        OpenTask::open(task, choice, plan.seed)?
    } else {
        first?
    };
    if opened.mismatches.is_empty() {
        return Ok(opened);
    }
    if plan.allow_mismatch {
        opened.check_classes(task)?;
        return Ok(opened);
    }
    Err(TaskError::Mismatch {
        task: task.name.clone(),
        reasons: opened.mismatches,
    }
    .into())
}

/// The digests of all of a split's rows.
pub(crate) fn fingerprint(split: &OpenSplit) -> Result<Fingerprint> {
    Ok(split.fingerprint(&DigestIndex::of_user())?)
}
