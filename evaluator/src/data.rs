//! The data of a task, opened and compared with what its protocol asks for.

use flava_base::{DigestIndex, hex};
use flava_tasks::{
    Assignment, Error as TaskError, Method, Split, Task,
    sources::{
        Choice, Fingerprint, Label, LabelSpace, Located, OpenSplit, PROMPT_FILES, Prompts,
        read_prompts,
    },
};
use sha2::{Digest, Sha256};

use crate::{Error, Places, Plan, Result};

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
        let source = choice.source;
        let labelled = !matches!(task.method, Method::Retrieval { .. });
        let mut mismatches: Vec<String> = choice.shortfall.iter().cloned().collect();
        let mut open = |split: &Split| -> Result<OpenSplit> {
            let opened = task.open_split(source, split, &choice.located.root, seed)?;
            mismatches.extend(opened.mismatches(split, labelled));
            Ok(opened)
        };
        let mut train = source.train.as_ref().map(&mut open).transpose()?;
        let mut validation = source.validation.as_ref().map(&mut open).transpose()?;
        let mut test = open(&source.test)?;
        let mut second_test = source.second_test.as_ref().map(&mut open).transpose()?;
        let splits = train
            .iter_mut()
            .chain(&mut validation)
            .chain([&mut test])
            .chain(&mut second_test);
        let notes = one_label_space(task, splits.collect())?;
        if let Some(names) = test.dataset.class_names()
            && task.classes > 0
            && names.len() != task.classes
        {
            mismatches.push(format!(
                "{} names {} classes, {} are expected",
                choice.source.name(),
                names.len(),
                task.classes
            ));
        }
        let mut opened = Self {
            choice,
            train,
            validation,
            test,
            second_test,
            mismatches,
            notes,
        };
        // Rows that are not the protocol's are refused as such, or where they are allowed, looked
        // at then.
        if opened.mismatches.is_empty() {
            opened.check_classes(task)?;
        }
        Ok(opened)
    }

    /// There are classes to tell apart.
    ///
    /// # Errors
    /// If the rows to learn from, or where nothing is learned the rows to score, are all of one
    /// class.
    fn check_classes(&mut self, task: &Task) -> Result<()> {
        let learned = self.train.as_ref().filter(|_| task.method.trains());
        let split = learned.unwrap_or(&self.test);
        let mut counts = vec![0usize; task.classes];
        for index in 0..split.dataset.len() {
            let Label::Class(class) = split.dataset.label(index) else {
                return Ok(());
            };
            if let Some(count) = counts.get_mut(class) {
                *count += 1;
            }
        }
        let there = counts.iter().filter(|count| **count > 0).count();
        if there < 2 {
            let class = counts
                .iter()
                .position(|count| *count > 0)
                .unwrap_or_default();
            let reason = format!(
                "all {} rows of split {} are of class {class}: there is nothing to tell apart",
                split.dataset.len(),
                split.name
            );
            return Err(Error::Other(reason));
        }
        if there < task.classes {
            self.notes.push(format!(
                "{} of {} classes have no row in split {}",
                task.classes - there,
                task.classes,
                split.name
            ));
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
}

/// Brings the labels of all splits into one numbering, and gives what a reader should know of it
/// and of the splits.
fn one_label_space(task: &Task, mut splits: Vec<&mut OpenSplit>) -> Result<Vec<String>> {
    let broken = |reason: String| Error::Other(reason);
    let mut notes: Vec<String> = splits
        .iter()
        .flat_map(|split| split.dataset.notes())
        .collect();
    let named = |split: &&mut OpenSplit| {
        Some((
            format!("split {}", split.name),
            split.dataset.class_names()?.to_vec(),
        ))
    };
    let space = if task.class_names.is_empty() {
        splits.iter().find_map(named)
    } else {
        Some(("the task".to_owned(), task.class_names.clone()))
    };
    if let Some((of, names)) = space {
        let space = LabelSpace::new(&of, names).map_err(broken)?;
        for split in &mut splits {
            notes.extend(split.renumber(&space).map_err(broken)?);
        }
        let silent: Vec<&str> = splits
            .iter()
            .filter(|split| split.dataset.class_names().is_none())
            .map(|split| split.name.as_str())
            .collect();
        if !silent.is_empty() && silent.len() < splits.len() {
            notes.push(format!(
                "split {} does not name its classes: their order could not be compared with that of {of}",
                silent.join(", ")
            ));
        }
    }
    notes.dedup();
    Ok(notes)
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
    let choice = plan.places.source(task, assignment, plan.allow_mismatch)?;
    let first = OpenTask::open(task, choice.clone(), plan.seed);
    let whole = first
        .as_ref()
        .is_ok_and(|opened| opened.mismatches.is_empty());
    let mut opened = if !whole && plan.places.complete(&choice)? {
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

/// The class names and templates of a zero-shot task: the user's, the row's own, those beside the
/// data, or a repository's.
pub(crate) fn prompts(
    plan: &Plan,
    task: &Task,
    assignment: &Assignment,
    opened: &OpenTask,
) -> Result<Option<ChosenPrompts>> {
    let Method::ZeroShot {
        templates,
        class_names,
        prompts,
    } = &assignment.method
    else {
        return Ok(None);
    };
    let own = plan
        .prompts
        .as_ref()
        .map(|folder| folder.join(&task.name))
        .filter(|folder| folder.is_dir());
    let passed_over = own.is_none().then_some(plan.prompts.as_ref()).flatten();
    let note = passed_over.map(|folder| {
        format!(
            "{} has no folder {}: other prompts are used",
            folder.display(),
            task.name
        )
    });
    let found = if let Some(folder) = own {
        let missing = || {
            Error::Other(format!(
                "--prompts: {} has not both {}",
                folder.display(),
                PROMPT_FILES.join(" and ")
            ))
        };
        Some((
            read_prompts(&folder)?.ok_or_else(missing)?,
            folder.display().to_string(),
        ))
    } else if !class_names.is_empty() {
        let found = Prompts {
            class_names: class_names.clone(),
            templates: templates.clone(),
        };
        Some((found, "the task's row".to_owned()))
    } else if let Some(found) = read_prompts(&opened.choice.located.root)? {
        Some((found, opened.choice.source.name().to_owned()))
    } else {
        of_repository(plan, prompts)?
    };
    let Some((prompts, origin)) = found else {
        let where_to = format!(
            "give a folder with {}/classnames.txt and {0}/zeroshot_classification_templates.txt as --prompts",
            task.name
        );
        return Err(Error::Other(format!(
            "there are no class names and templates beside its data: {where_to}"
        )));
    };
    check_names(task, &prompts, opened.test.dataset.class_names())?;
    Ok(Some(ChosenPrompts {
        prompts,
        origin,
        note,
    }))
}

/// Class names and templates, and where they came from.
pub(crate) struct ChosenPrompts {
    pub(crate) prompts: Prompts,
    /// A repository with its commit, or a folder.
    pub(crate) origin: String,
    /// What a reader should know of the choice.
    pub(crate) note: Option<String>,
}

impl ChosenPrompts {
    /// A digest of the names and templates: another wording is another number.
    pub(crate) fn digest(&self) -> String {
        let lines = self
            .prompts
            .class_names
            .iter()
            .chain(&self.prompts.templates);
        let digest = Sha256::digest(lines.fold(String::new(), |text, line| text + line + "\n"));
        hex(&digest[..8])
    }
}

/// The first of some repositories that is there or can be fetched, and its commit.
fn of_repository(plan: &Plan, repositories: &[String]) -> Result<Option<(Prompts, String)>> {
    let mut refused = None;
    for repository in repositories {
        match plan.places.prompts(repository) {
            Ok(Some(Located { root, revision })) => {
                let name = repository.split('@').next().unwrap_or_default();
                if let Some(found) = read_prompts(&root)? {
                    let origin = if revision.is_empty() {
                        name.to_owned()
                    } else {
                        format!("{name}@{revision}")
                    };
                    return Ok(Some((found, origin)));
                }
            }
            Ok(None) => {}
            Err(error) => refused = refused.or(Some(error)),
        }
    }
    refused.map_or(Ok(None), Err)
}

/// The names are as many as the classes, and do not stand in another order than the data's own.
fn check_names(task: &Task, prompts: &Prompts, own: Option<&[String]>) -> Result<()> {
    let count = prompts.class_names.len();
    if count != task.classes {
        return Err(Error::Other(format!(
            "there are {count} class names for {} classes",
            task.classes
        )));
    }
    let plain = |name: &String| {
        name.to_lowercase()
            .chars()
            .filter(|c| c.is_alphanumeric())
            .collect::<String>()
    };
    let Some(own) = own.map(|own| own.iter().map(plain).collect::<Vec<_>>()) else {
        return Ok(());
    };
    let given: Vec<String> = prompts.class_names.iter().map(plain).collect();
    // Cleaned names may be other words: only those that occur once on either side can be compared.
    // One that moved may have been reworded into another's; two have been exchanged.
    let once =
        |names: &[String], name: &String| names.iter().filter(|other| *other == name).count() == 1;
    let place = |name: &String| {
        if once(&given, name) && once(&own, name) {
            own.iter().position(|other| other == name)
        } else {
            None
        }
    };
    let moved: Vec<usize> = (0..count)
        .filter(|class| place(&given[*class]).is_some_and(|there| there != *class))
        .collect();
    let [first, _, ..] = moved[..] else {
        return Ok(());
    };
    let theirs = place(&given[first]).unwrap_or_default();
    let name = &prompts.class_names[first];
    let moved = moved.len();
    Err(Error::Other(format!(
        "class names and labels are in different orders ({moved} differ): {name:?} is class {first} among the names and class {theirs} in the data"
    )))
}

impl Plan {
    /// Finds and opens the data of every task, and fetches what is not here, before there is a
    /// model to measure.
    ///
    /// # Errors
    /// Of the first task whose data is missing, or not what its protocol asks for.
    pub fn check_data(&self) -> Result<()> {
        for task in &self.tasks {
            for piece in self.task_runs(task)? {
                let opened = open(self, task, &piece.assignment);
                let ready =
                    opened.and_then(|opened| prompts(self, task, &piece.assignment, &opened));
                ready.map_err(|error| Error::Other(format!("{}: {error}", task.name)))?;
            }
        }
        Ok(())
    }
}

impl Places {
    /// The folder of a repository, `owner/name[@revision]`, that has class names and templates.
    fn prompts(&self, repository: &str) -> Result<Option<Located>> {
        let name = repository.split('@').next().unwrap_or_default();
        let folder = self
            .data
            .as_ref()
            .map(|data| data.join(name))
            .filter(|folder| folder.is_dir());
        if let Some(root) = folder {
            let revision = self
                .manifest
                .as_ref()
                .and_then(|manifest| manifest.revision(name))
                .unwrap_or_default();
            return Ok(Some(Located { root, revision }));
        }
        self.small_files(repository, &PROMPT_FILES)
    }
}
