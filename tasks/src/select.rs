//! From what was typed after `--tasks` to tasks.

use crate::{Error, Registry, Result, Suite, Task};
use flava_base::did_you_mean;

/// Names that are offered for a misspelt one.
const OFFERED: usize = 3;

/// The tasks of a comma-separated list, each once, in order: names, aliases, a benchmark whose
/// tasks' names begin with it (`glue`), a family (`vision`, `text`, `multimodal`) or `all` of
/// `suite`, or another suite by its name (`zero-shot`).
pub fn select<'a>(registry: &'a Registry, list: &str, suite: Suite) -> Result<Vec<&'a Task>> {
    let mut selected: Vec<&Task> = Vec::new();
    for name in list
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty())
    {
        let found = named(registry, name, suite);
        if found.is_empty() {
            return Err(unknown(registry, name));
        }
        for task in found {
            if !selected.iter().any(|s| s.name == task.name) {
                selected.push(task);
            }
        }
    }
    if selected.is_empty() {
        return Err(Error::UnknownTask {
            name: list.into(),
            hint: String::new(),
        });
    }
    Ok(selected)
}

fn named<'a>(registry: &'a Registry, name: &str, suite: Suite) -> Vec<&'a Task> {
    if let Some(task) = registry.get(name) {
        return vec![task];
    }
    let all = || registry.tasks().iter();
    let of_suite: Vec<&Task> = match name {
        "all" => all().filter(|task| task.suite == suite).collect(),
        _ => all()
            .filter(|task| {
                task.suite.name() == name || (task.suite == suite && task.family.name() == name)
            })
            .collect(),
    };
    let begins = |task: &&Task| {
        task.name
            .strip_prefix(name)
            .is_some_and(|rest| rest.starts_with('-'))
            && task.suite != Suite::ZeroShot
    };
    if of_suite.is_empty() {
        all().filter(begins).collect()
    } else {
        of_suite
    }
}

fn unknown(registry: &Registry, name: &str) -> Error {
    let names = registry
        .tasks()
        .iter()
        .flat_map(|t| t.aliases.iter().chain([&t.name]));
    Error::UnknownTask {
        name: name.into(),
        hint: did_you_mean(name, names, OFFERED),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_aliases_and_all_are_taken_once() {
        let registry = Registry::built_in().unwrap();
        let names = |list| {
            select(&registry, list, Suite::Mini)
                .map(|tasks| tasks.iter().map(|t| t.name.clone()).collect::<Vec<_>>())
        };
        assert_eq!(names("mnist, cifar10,mnist").unwrap(), ["mnist", "cifar10"]);
        assert!(names("all").unwrap().iter().all(|n| n.starts_with("mini-")));
        assert_eq!(names("glue").unwrap().len(), 8);
        assert_eq!(names("zero-shot").unwrap().len(), 22);
        assert_eq!(select(&registry, "all", Suite::Paper).unwrap().len(), 35);
        assert_eq!(
            select(&registry, "vision,vqa", Suite::Paper).unwrap().len(),
            23
        );
        assert_eq!(
            names("hateful-memes").unwrap(),
            ["hateful-memes-test-unseen"]
        );
        let error = names("minst").unwrap_err().to_string();
        assert!(error.contains("did you mean mnist"), "{error}");
        assert!(names(" , ").is_err());
    }
}
