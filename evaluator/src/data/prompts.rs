//! Class names and templates of zero-shot tasks.

use std::path::Path;

use flava_base::hex;
use flava_tasks::{
    Assignment, Method, Task,
    sources::{Located, PROMPT_FILES, Prompts, read_prompts},
};
use sha2::{Digest, Sha256};

use super::OpenTask;
use crate::{DataLocator, Error, Plan, Result};

/// Class names and templates, and where they came from.
pub(crate) struct ChosenPrompts {
    pub(crate) prompts: Prompts,
    /// A repository with its commit, or a folder.
    pub(crate) origin: String,
    /// What a reader should know of the choice.
    pub(crate) note: Option<String>,
}

impl ChosenPrompts {
    fn new(prompts: Prompts, origin: impl ToString) -> Self {
        Self {
            prompts,
            origin: origin.to_string(),
            note: None,
        }
    }

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

/// The class names and templates of a zero-shot task: the user's, the row's own, those beside the
/// data, or a repository's. Given features have none: they are embedded already.
pub(crate) fn prompts(
    plan: &Plan,
    task: &Task,
    assignment: &Assignment,
    opened: &OpenTask,
) -> Result<Option<ChosenPrompts>> {
    let is_zero_shot = matches!(assignment.method, Method::ZeroShot { .. });
    if !is_zero_shot || plan.subject.given().is_some() {
        return Ok(None);
    }
    let of_user = plan.prompts.as_ref().map(|all| all.join(&task.name));
    let chosen = if let Some(folder) = of_user.filter(|folder| folder.is_dir()) {
        of_folder(&folder)?
    } else {
        let found = of_task(plan, assignment, opened)?;
        ChosenPrompts {
            note: passed_over(plan, task),
            ..found.ok_or_else(|| nowhere(task))?
        }
    };
    check_names(task, &chosen.prompts, opened.test.dataset.class_names())?;
    Ok(Some(chosen))
}

/// What is said where --prompts has nothing for a task.
fn passed_over(plan: &Plan, task: &Task) -> Option<String> {
    let all = plan.prompts.as_ref()?.display();
    let name = &task.name;
    Some(format!(
        "{all} has no folder {name}: other prompts are used"
    ))
}

/// Those of a folder of --prompts.
fn of_folder(folder: &Path) -> Result<ChosenPrompts> {
    let missing = || {
        let (folder, files) = (folder.display(), PROMPT_FILES.join(" and "));
        Error::Usage {
            argument: "--prompts",
            reason: format!("--prompts: {folder} has not both {files}"),
        }
    };
    let prompts = read_prompts(folder)?.ok_or_else(missing)?;
    Ok(ChosenPrompts::new(prompts, folder.display()))
}

/// Those of the task's row, beside its data, or of a repository.
fn of_task(
    plan: &Plan,
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
    if !class_names.is_empty() {
        let found = Prompts {
            class_names: class_names.clone(),
            templates: templates.clone(),
        };
        return Ok(Some(ChosenPrompts::new(found, "the task's row")));
    }
    let choice = &opened.choice;
    match read_prompts(&choice.located.root)? {
        Some(found) => Ok(Some(ChosenPrompts::new(found, choice.source.name()))),
        None => of_repository(plan, prompts),
    }
}

fn nowhere(task: &Task) -> Error {
    let where_to = format!(
        "give a folder with {}/classnames.txt and {0}/zeroshot_classification_templates.txt as --prompts",
        task.name
    );
    Error::Lacking {
        what: "prompts",
        reason: format!("there are no class names and templates beside its data: {where_to}"),
    }
}

/// The first of some repositories that is there or can be fetched, and its commit.
fn of_repository(plan: &Plan, repositories: &[String]) -> Result<Option<ChosenPrompts>> {
    let mut refused = None;
    for repository in repositories {
        match plan.locator.prompts(repository) {
            Ok(Some(Located { root, revision })) => {
                let name = repository.split('@').next().unwrap_or_default();
                if let Some(found) = read_prompts(&root)? {
                    let origin = if revision.is_empty() {
                        name.to_owned()
                    } else {
                        format!("{name}@{revision}")
                    };
                    return Ok(Some(ChosenPrompts::new(found, origin)));
                }
            }
            Ok(None) => {}
            Err(error) => refused = refused.or(Some(error)),
        }
    }
    refused.map_or(Ok(None), Err)
}

impl DataLocator {
    /// The folder of a repository, `owner/name[@revision]`, that has class names and templates.
    fn prompts(&self, repository: &str) -> Result<Option<Located>> {
        let name = repository.split('@').next().unwrap_or_default();
        match self.in_data(name) {
            Some(located) => Ok(Some(located)),
            None => self.small_files(repository, &PROMPT_FILES),
        }
    }
}

/// The names are as many as the classes, and do not stand in another order than the data's own.
fn check_names(task: &Task, prompts: &Prompts, own: Option<&[String]>) -> Result<()> {
    let names = &prompts.class_names;
    let count = names.len();
    if count != task.classes {
        return Err(Error::Classes(format!(
            "there are {count} class names for {} classes",
            task.classes
        )));
    }
    let moved = own.map_or_else(Vec::new, |own| moved(names, own));
    // One that moved may have been reworded into another's; two have been exchanged.
    let [(first, theirs), _, ..] = moved[..] else {
        return Ok(());
    };
    let name = &names[first];
    let moved = moved.len();
    Err(Error::Classes(format!(
        "class names and labels are in different orders ({moved} differ): {name:?} is class {first} among the names and class {theirs} in the data"
    )))
}

/// The classes of which another class of the data has the name, with that class. Cleaned names may
/// be other words: only those that occur once on either side can be compared.
fn moved(names: &[String], own: &[String]) -> Vec<(usize, usize)> {
    let given: Vec<String> = names.iter().map(|name| plain(name)).collect();
    let own: Vec<String> = own.iter().map(|name| plain(name)).collect();
    let once =
        |names: &[String], name: &String| names.iter().filter(|other| *other == name).count() == 1;
    let mut moved = Vec::new();
    for (class, name) in given.iter().enumerate() {
        if !once(&given, name) || !once(&own, name) {
            continue;
        }
        if let Some(theirs) = own.iter().position(|other| other == name)
            && theirs != class
        {
            moved.push((class, theirs));
        }
    }
    moved
}

/// A name without case, spaces and signs.
fn plain(name: &str) -> String {
    name.to_lowercase()
        .chars()
        .filter(|c| c.is_alphanumeric())
        .collect()
}
