//! All tasks: the built-in files and the user's own, in one format.

use std::{fs, path::Path};

use serde::{Deserialize, Serialize};

use crate::{Error, Result, Task};

/// Built-in files and their names.
const BUILT_IN: [(&str, &str); 2] =
    [("vision.toml", include_str!("../registry/vision.toml")), ("mini.toml", include_str!("../registry/mini.toml"))];

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    task: Vec<Task>,
}

/// The tasks by name.
#[derive(Clone, Debug)]
pub struct Registry {
    tasks: Vec<Task>,
}

impl Registry {
    /// The built-in tasks.
    pub fn built_in() -> Result<Self> {
        let mut registry = Self { tasks: Vec::new() };
        for (name, text) in BUILT_IN {
            registry.add(name, text)?;
        }
        Ok(registry)
    }

    /// Adds the tasks of a file in the same format.
    pub fn add_file(&mut self, path: &Path) -> Result<()> {
        let text = fs::read_to_string(path).map_err(|e| Error::io(path, e))?;
        self.add(&path.display().to_string(), &text)
    }

    fn add(&mut self, file: &str, text: &str) -> Result<()> {
        let broken = |reason: String| Error::TaskFile { file: file.to_owned(), reason };
        let parsed: File = toml::from_str(text).map_err(|e| broken(e.to_string()))?;
        for task in parsed.task {
            if let Some(problem) = task.problem() {
                return Err(broken(format!("task {}: {problem}", task.name)));
            }
            for name in task.aliases.iter().chain([&task.name]) {
                if self.get(name).is_some() {
                    return Err(broken(format!("task {}: the name {name} is taken", task.name)));
                }
            }
            self.tasks.push(task);
        }
        Ok(())
    }

    /// All tasks, in the order of the files.
    pub fn tasks(&self) -> &[Task] {
        &self.tasks
    }

    /// The task of this name or alias.
    pub fn get(&self, name: &str) -> Option<&Task> {
        self.tasks.iter().find(|t| t.name == name || t.aliases.iter().any(|a| a == name))
    }
}

impl Task {
    /// This row as a file of its own, to start one from.
    pub fn to_toml(&self) -> String {
        toml::to_string_pretty(&File { task: vec![self.clone()] }).expect("a task is plain data")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_row_reads_back_from_what_show_prints() {
        let registry = Registry::built_in().unwrap();
        assert!(registry.tasks().len() >= 9);
        for task in registry.tasks() {
            let mut alone = Registry { tasks: Vec::new() };
            alone.add(&task.name, &task.to_toml()).unwrap();
            assert_eq!(alone.tasks(), std::slice::from_ref(task));
        }
    }

    #[test]
    fn bad_rows_are_refused_with_their_place() {
        let good = Registry::built_in().unwrap().get("mnist").unwrap().to_toml();
        for (from, to, needle) in [
            ("classes = 10", "classes = 1", "at least two classes"),
            ("classes = 10", "clases = 10", "clases"),
            ("\"accuracy\"", "\"acuracy\"", "acuracy"),
            ("repo = \"ylecun/mnist\"", "repo = \"../mnist\"", "leads out"),
            ("name = \"mnist\"", "name = \"Mnist\"", "lower-case"),
        ] {
            assert!(good.contains(from), "{from} in {good}");
            let mut registry = Registry { tasks: Vec::new() };
            let error = registry.add("mine.toml", &good.replace(from, to)).unwrap_err().to_string();
            assert!(error.contains(needle) && error.contains("mine.toml"), "{error}");
        }
        let mut registry = Registry::built_in().unwrap();
        assert!(registry.add("mine.toml", &good).unwrap_err().to_string().contains("taken"));
    }
}
