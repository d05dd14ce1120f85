//! The data of a task, opened and compared with what its protocol asks for.

use flava_model::processor::decode;
use flava_tasks::{
    Assignment, Error as TaskError, Method, Split, Task,
    sources::{Choice, Located, OpenSplit, PROMPT_FILES, Prompts, read_prompts},
};

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
        let mut mismatches: Vec<String> = choice.shortfall.iter().cloned().collect();
        let mut open = |split: &Split| -> Result<OpenSplit> {
            let opened = task.open_split(source, split, &choice.located.root, seed)?;
            mismatches.extend(opened.mismatches(split));
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

/// Finds and opens the data of a task.
///
/// # Errors
/// If it is not what the protocol asks for, unless the plan allows that.
pub(crate) fn open<'a>(plan: &Plan, task: &'a Task, assignment: &Assignment) -> Result<OpenTask<'a>> {
    let choice = plan.places.source(task, assignment, plan.allow_mismatch)?;
    let opened = OpenTask::open(task, choice, plan.seed)?;
    if opened.mismatches.is_empty() || plan.allow_mismatch {
        return Ok(opened);
    }
    Err(TaskError::Mismatch { task: task.name.clone(), reasons: opened.mismatches }.into())
}

/// A digest of a split's rows; pictures count by what they show, whatever they are stored as.
pub(crate) fn fingerprint(split: &OpenSplit) -> Result<String> {
    Ok(split.fingerprint(&|bytes| decode(bytes).ok().map(|picture| picture.rgb))?)
}

/// The class names and templates of a zero-shot task: the user's, the row's own, those beside the data, or a repository's that has
/// them; and what to know about them.
pub(crate) fn prompts(plan: &Plan, task: &Task, assignment: &Assignment, opened: &OpenTask) -> Result<Option<(Prompts, Vec<String>)>> {
    let Method::ZeroShot { templates, class_names, prompts } = &assignment.method else { return Ok(None) };
    let mut notes = Vec::new();
    let own = plan.prompts.as_ref().map(|folder| folder.join(&task.name)).filter(|folder| folder.is_dir());
    let found = if let Some(folder) = own {
        notes.push(format!("class names and templates of {}", folder.display()));
        read_prompts(&folder)?
    } else if class_names.is_empty() {
        beside(opened)?.map_or_else(|| of_repository(plan, prompts, &mut notes), |found| Ok(Some(found)))?
    } else {
        Some(Prompts { class_names: class_names.clone(), templates: templates.clone() })
    };
    let Some(found) = found else {
        let where_to =
            format!("give a folder with {}/classnames.txt and {0}/zeroshot_classification_templates.txt as --prompts", task.name);
        return Err(Error::Other(format!("there are no class names and templates beside its data: {where_to}")));
    };
    check_names(task, &found, opened.test.dataset.class_names())?;
    Ok(Some((found, notes)))
}

fn beside(opened: &OpenTask) -> Result<Option<Prompts>> {
    Ok(read_prompts(&opened.choice.located.root)?)
}

/// The first of some repositories that is there or can be fetched.
fn of_repository(plan: &Plan, names: &[String], notes: &mut Vec<String>) -> Result<Option<Prompts>> {
    for name in names {
        let Some(Located { root, .. }) = plan.places.prompts(name)? else { continue };
        if let Some(found) = read_prompts(&root)? {
            notes.push(format!("class names and templates of {name}"));
            return Ok(Some(found));
        }
    }
    Ok(None)
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
    let sorted = |names: &[String]| {
        let mut names = names.to_vec();
        names.sort();
        names
    };
    // Cleaned names are other words; only where they are the same can their order be compared.
    if given != own && sorted(&given) == sorted(&own) {
        let place = given.iter().zip(&own).position(|(a, b)| a != b).unwrap_or(0);
        let (a, b) = (&prompts.class_names[place], &own[place]);
        return Err(Error::Other(format!(
            "class names and labels are in different orders: class {place} is {a:?} among the names and {b:?} in the data"
        )));
    }
    Ok(())
}

impl Places {
    /// The folder of a repository that has class names and templates.
    fn prompts(&self, name: &str) -> Result<Option<Located>> {
        let folder = self.data.as_ref().map(|data| data.join(name)).filter(|folder| folder.is_dir());
        if let Some(root) = folder {
            return Ok(Some(Located { root, revision: String::new() }));
        }
        self.small_files(name, &PROMPT_FILES)
    }
}
