//! From what was typed after `--tasks` to tasks.

use std::collections::BTreeSet;

use flava_base::did_you_mean;

use crate::{Error, Registry, Result, Suite, Task};

/// Names that are offered for a misspelt one.
const OFFERED: usize = 3;

/// The tasks of a comma-separated list, each once, in order: names, aliases, a benchmark whose
/// tasks' names begin with it (`glue`), a family (`vision`, `text`, `multimodal`) or `all` of
/// `suite`, or another suite by its name (`zero-shot`). `*` stands for anything (`glue-*`), and
/// what has a `!` before it is left out again (`vision,!imagenet`); a list of such words alone
/// leaves them out of all. Capitals do not matter.
pub fn select<'a>(registry: &'a Registry, list: &str, suite: Suite) -> Result<Vec<&'a Task>> {
    let words = list
        .split(',')
        .map(str::trim)
        .filter(|word| !word.is_empty());
    let (without, with): (Vec<&str>, Vec<&str>) = words.partition(|word| word.starts_with('!'));
    let with = if with.is_empty() && !without.is_empty() {
        vec!["all"]
    } else {
        with
    };
    let mut selected: Vec<&Task> = Vec::new();
    for word in with {
        for task in known(registry, word, suite)? {
            if !selected.iter().any(|s| s.name == task.name) {
                selected.push(task);
            }
        }
    }
    for word in without {
        let left_out = known(registry, word[1..].trim(), suite)?;
        selected.retain(|task| !left_out.iter().any(|other| other.name == task.name));
    }
    if selected.is_empty() {
        return Err(Error::UnknownTask {
            name: list.into(),
            hint: String::new(),
        });
    }
    Ok(selected)
}

/// The tasks of one word; an error with the nearest where there are none.
fn known<'a>(registry: &'a Registry, word: &str, suite: Suite) -> Result<Vec<&'a Task>> {
    let word = word.to_lowercase();
    let found = if word.contains('*') {
        matching(registry, &word, suite)
    } else {
        named(registry, &word, suite)
    };
    if found.is_empty() {
        return Err(unknown(registry, &word));
    }
    Ok(found)
}

/// Tasks whose name or alias is of a pattern; of the suite, or of any where the suite has none.
fn matching<'a>(registry: &'a Registry, pattern: &str, suite: Suite) -> Vec<&'a Task> {
    let fits = |task: &&Task| {
        let mut names = task.aliases.iter().chain([&task.name]);
        names.any(|name| is_like(name, pattern))
    };
    let all: Vec<&Task> = registry.tasks().iter().filter(fits).collect();
    let of_suite: Vec<&Task> = all
        .iter()
        .copied()
        .filter(|task| task.suite == suite)
        .collect();
    if of_suite.is_empty() { all } else { of_suite }
}

/// Whether `name` is the pattern, in which each `*` stands for anything.
fn is_like(name: &str, pattern: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else {
        return name == pattern;
    };
    let Some(mut name) = name.strip_prefix(first) else {
        return false;
    };
    let parts: Vec<&str> = rest.split('*').collect();
    let (last, middle) = parts.split_last().unwrap_or((&"", &[]));
    for part in middle {
        match name.find(part) {
            Some(at) => name = &name[at + part.len()..],
            None => return false,
        }
    }
    name.ends_with(last)
}

fn named<'a>(registry: &'a Registry, name: &str, suite: Suite) -> Vec<&'a Task> {
    if let Some(task) = registry.get(name) {
        return vec![task];
    }
    let all = || registry.tasks().iter();
    let is_of_suite = |task: &&Task| match name {
        "all" => task.suite == suite,
        _ => task.suite.name() == name || (task.suite == suite && task.family.name() == name),
    };
    let of_suite: Vec<&Task> = all().filter(is_of_suite).collect();
    if !of_suite.is_empty() {
        return of_suite;
    }
    let begins = |task: &&Task| {
        let rest = task.name.strip_prefix(name);
        rest.is_some_and(|rest| rest.starts_with('-')) && task.suite != Suite::ZeroShot
    };
    all().filter(begins).collect()
}

/// An error that names what may have been meant: tasks, aliases, benchmarks, families, suites.
fn unknown(registry: &Registry, name: &str) -> Error {
    let mut names: BTreeSet<&str> = ["all"].into();
    for task in registry.tasks() {
        names.extend(task.aliases.iter().map(String::as_str));
        names.extend([task.name.as_str(), task.family.name(), task.suite.name()]);
        names.extend(task.name.split_once('-').map(|(benchmark, _)| benchmark));
    }
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
        assert_eq!(names("GLUE-*,!glue-cola").unwrap().len(), 7);
        assert_eq!(names("!*-tuned").unwrap().len(), 10);
        assert_eq!(names("*-sentence").unwrap(), ["mini-sentence"]);
        let wrong = |list| names(list).unwrap_err().to_string();
        assert!(
            wrong("vison").contains("did you mean vision"),
            "{}",
            wrong("vison")
        );
        assert!(wrong("glu").contains("glue") && wrong("mini,!x*").contains("x*"));
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
