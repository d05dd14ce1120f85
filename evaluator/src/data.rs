//! The data of a task, opened and compared with what its protocol asks for.

use flava_model::{processor::decode, runtime::hex};
use flava_tasks::{
    Assignment, Error as TaskError, Method, Split, Task,
    sources::{Choice, Located, OpenSplit, PROMPT_FILES, Prompts, read_prompts},
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
        let train = source.train.as_ref().map(&mut open).transpose()?;
        let validation = source.validation.as_ref().map(&mut open).transpose()?;
        let test = open(&source.test)?;
        let second_test = source.second_test.as_ref().map(&mut open).transpose()?;
        if let Some(names) = test.dataset.class_names()
            && task.classes > 0
            && names.len() != task.classes
        {
            mismatches.push(format!("{} names {} classes, {} are expected", choice.source.name(), names.len(), task.classes));
        }
        Ok(Self { choice, train, validation, test, second_test, mismatches })
    }

    /// All splits, in the order they are used.
    pub(crate) fn splits(&self) -> impl Iterator<Item = &OpenSplit> {
        self.train.iter().chain(&self.validation).chain([&self.test]).chain(&self.second_test)
    }
}

/// Finds and opens the data of a task. What an earlier run left half fetched is fetched first.
///
/// # Errors
/// If it is not what the protocol asks for, unless the plan allows that.
pub(crate) fn open<'a>(plan: &Plan, task: &'a Task, assignment: &Assignment) -> Result<OpenTask<'a>> {
    let choice = plan.places.source(task, assignment, plan.allow_mismatch)?;
    let first = OpenTask::open(task, choice.clone(), plan.seed);
    let whole = first.as_ref().is_ok_and(|opened| opened.mismatches.is_empty());
    let opened = if !whole && plan.places.complete(&choice)? { OpenTask::open(task, choice, plan.seed)? } else { first? };
    if opened.mismatches.is_empty() || plan.allow_mismatch {
        return Ok(opened);
    }
    Err(TaskError::Mismatch { task: task.name.clone(), reasons: opened.mismatches }.into())
}

/// A digest of a split's rows; pictures count by what they show, whatever they are stored as.
pub(crate) fn fingerprint(split: &OpenSplit) -> Result<String> {
    Ok(split.fingerprint(&|bytes| decode(bytes).ok().map(|picture| picture.rgb))?)
}

/// The class names and templates of a zero-shot task: the user's, the row's own, those beside the data, or a repository's.
pub(crate) fn prompts(plan: &Plan, task: &Task, assignment: &Assignment, opened: &OpenTask) -> Result<Option<ChosenPrompts>> {
    let Method::ZeroShot { templates, class_names, prompts } = &assignment.method else { return Ok(None) };
    let own = plan.prompts.as_ref().map(|folder| folder.join(&task.name)).filter(|folder| folder.is_dir());
    let found = if let Some(folder) = own {
        read_prompts(&folder)?.map(|found| (found, folder.display().to_string()))
    } else if !class_names.is_empty() {
        let found = Prompts { class_names: class_names.clone(), templates: templates.clone() };
        Some((found, "the task's row".to_owned()))
    } else if let Some(found) = read_prompts(&opened.choice.located.root)? {
        Some((found, opened.choice.source.name().to_owned()))
    } else {
        of_repository(plan, prompts)?
    };
    let Some((prompts, origin)) = found else {
        let where_to =
            format!("give a folder with {}/classnames.txt and {0}/zeroshot_classification_templates.txt as --prompts", task.name);
        return Err(Error::Other(format!("there are no class names and templates beside its data: {where_to}")));
    };
    check_names(task, &prompts, opened.test.dataset.class_names())?;
    Ok(Some(ChosenPrompts { prompts, origin }))
}

/// Class names and templates, and where they came from.
pub(crate) struct ChosenPrompts {
    pub(crate) prompts: Prompts,
    /// A repository with its commit, or a folder.
    pub(crate) origin: String,
}

impl ChosenPrompts {
    /// A digest of the names and templates: another wording is another number.
    pub(crate) fn digest(&self) -> String {
        let lines = self.prompts.class_names.iter().chain(&self.prompts.templates);
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
                    let origin = if revision.is_empty() { name.to_owned() } else { format!("{name}@{revision}") };
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
        return Err(Error::Other(format!("there are {count} class names for {} classes", task.classes)));
    }
    let plain = |name: &String| name.to_lowercase().chars().filter(|c| c.is_alphanumeric()).collect::<String>();
    let Some(own) = own.map(|own| own.iter().map(plain).collect::<Vec<_>>()) else { return Ok(()) };
    let given: Vec<String> = prompts.class_names.iter().map(plain).collect();
    // Cleaned names may be other words: only those that occur once on either side can be compared. One that moved may have been
    // reworded into another's; two have been exchanged.
    let once = |names: &[String], name: &String| names.iter().filter(|other| *other == name).count() == 1;
    let place = |name: &String| if once(&given, name) && once(&own, name) { own.iter().position(|other| other == name) } else { None };
    let moved: Vec<usize> = (0..count).filter(|class| place(&given[*class]).is_some_and(|there| there != *class)).collect();
    let [first, _, ..] = moved[..] else { return Ok(()) };
    let theirs = place(&given[first]).unwrap_or_default();
    let name = &prompts.class_names[first];
    let moved = moved.len();
    Err(Error::Other(format!(
        "class names and labels are in different orders ({moved} differ): {name:?} is class {first} among the names and class {theirs} in the data"
    )))
}

impl Plan {
    /// Finds and opens the data of every task, and fetches what is not here, before there is a model to measure.
    ///
    /// # Errors
    /// Of the first task whose data is missing, or not what its protocol asks for.
    pub fn check_data(&self) -> Result<()> {
        for task in &self.tasks {
            for piece in self.pieces(task)? {
                let opened = open(self, task, &piece.assignment);
                let ready = opened.and_then(|opened| prompts(self, task, &piece.assignment, &opened));
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
        let folder = self.data.as_ref().map(|data| data.join(name)).filter(|folder| folder.is_dir());
        if let Some(root) = folder {
            let revision = self.manifest.as_ref().and_then(|manifest| manifest.revision(name)).unwrap_or_default();
            return Ok(Some(Located { root, revision }));
        }
        self.small_files(repository, &PROMPT_FILES)
    }
}
