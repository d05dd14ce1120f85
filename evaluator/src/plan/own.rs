//! Data of people's own on the command line, as the task file that it stands for.

use std::path::{Component, Path, PathBuf};

use flava_base::say;
use flava_tasks::{
    Columns, Registry, Task,
    sources::{is_folder, is_there},
};
use toml::{Table, Value};

use crate::{
    Error, Result,
    args::{ColumnArgs, FinetuneRunArgs},
};

/// Longest name of a file in a task's.
const LONGEST: usize = 48;

/// A task of one's own: its file's text, and the folder that its paths are from.
#[derive(Debug)]
pub(crate) struct OwnTask {
    text: String,
    base: PathBuf,
}

/// What a task of one's own is made of.
#[derive(Debug)]
pub(crate) struct OwnData<'a> {
    /// Its name, if it has one.
    pub(crate) name: Option<&'a String>,
    /// How it is run.
    pub(crate) method: Table,
    /// Each split's argument, name and path.
    pub(crate) splits: Vec<(&'static str, &'static str, &'a Path)>,
    /// What columns are called.
    pub(crate) columns: &'a ColumnArgs,
}

impl OwnTask {
    /// # Errors
    /// If a path leads nowhere, or a column has no role.
    pub(crate) fn new(data: &OwnData) -> Result<Self> {
        let paths = data.splits.iter().map(|(argument, _, path)| {
            let gone = || Error::Argument {
                argument,
                value: path.display().to_string(),
                reason: "there is no such file or folder".into(),
            };
            if !is_there(path) {
                return Err(gone());
            }
            absolute(path).ok_or_else(gone)
        });
        let paths: Vec<PathBuf> = paths.collect::<Result<_>>()?;
        let base = common_folder(&paths);
        let mut source = Table::new();
        let columns = columns(&data.columns.column)?;
        // A folder alone may hold all splits.
        let whole = matches!(&data.splits[..], [(_, "train", _)]) && is_folder(&paths[0]);
        for ((argument, split, path), absolute) in data.splits.iter().zip(&paths) {
            let relative = relative(&base, absolute).ok_or_else(|| Error::Argument {
                argument,
                value: path.display().to_string(),
                reason: "its name is no UTF-8".into(),
            })?;
            let key = if whole { "folder" } else { split };
            source.insert(key.to_owned(), relative.into());
        }
        if !columns.is_empty() {
            source.insert("columns".into(), Value::Table(columns));
        }
        let own_name = || format!("own-{}", plain_name(&paths[0]));
        let name = Value::from(data.name.cloned().unwrap_or_else(own_name));
        // A method without settings is its name.
        let method = match data.method.get("kind") {
            Some(kind) if data.method.len() == 1 => kind.clone(),
            _ => Value::Table(data.method.clone()),
        };
        let source = Value::Table(source);
        Ok(Self {
            text: format!("[[task]]\nname = {name}\nmethod = {method}\nsource = {source}\n"),
            base,
        })
    }

    /// What `flava-finetune --train` stands for.
    pub(crate) fn of_tuning(args: &FinetuneRunArgs) -> Result<Self> {
        let given = [
            ("--train", "train", &args.train),
            ("--validation", "validation", &args.validation),
            ("--test", "test", &args.test),
        ];
        let given = given.into_iter();
        Self::new(&OwnData {
            name: args.name.as_ref(),
            method: method("fine_tune"),
            splits: given
                .filter_map(|(argument, split, path)| Some((argument, split, path.as_deref()?)))
                .collect(),
            columns: &args.columns,
        })
    }

    /// The task, as its file would be read.
    pub(crate) fn read(&self) -> Result<Task> {
        let mut registry = Registry::built_in()?;
        registry.add_text("the command line", &self.text, &self.base)?;
        let task = registry.tasks().last().cloned();
        task.ok_or(Error::Internal("a file of one task has one"))
    }

    /// Says what file it stands for.
    pub(crate) fn say(&self) {
        let base = self.base.display();
        say(&format!(
            "this stands for the task file below, in the folder {base} (or with --data {base}):"
        ));
        self.text
            .trim()
            .lines()
            .for_each(|line| say(&format!("  {line}")));
    }
}

/// A method without settings.
pub(crate) fn method(kind: &str) -> Table {
    Table::from_iter([("kind".to_owned(), Value::from(kind))])
}

/// What columns are called, as readers take it.
pub(crate) fn columns_of(args: &ColumnArgs) -> Result<Columns> {
    let columns = columns(&args.column)?.try_into();
    columns.map_err(|_| Error::Internal("columns are names"))
}

/// `ROLE=COLUMN`, as a source's columns have them.
fn columns(given: &[String]) -> Result<Table> {
    const ROLES: [&str; 9] = [
        "image", "text", "caption", "captions", "label", "answers", "id", "group", "split",
    ];
    let mut columns = Table::new();
    let mut texts = Vec::new();
    for pair in given {
        let wrong = |reason: String| Error::Argument {
            argument: "--column",
            value: pair.clone(),
            reason,
        };
        let none = || wrong(format!("is no ROLE=COLUMN; roles are {}", ROLES.join(", ")));
        let (role, column) = pair.split_once('=').ok_or_else(none)?;
        match role {
            "text" => texts.push(Value::from(column)),
            "caption" => _ = columns.insert("captions".into(), column.into()),
            _ if ROLES.contains(&role) => _ = columns.insert(role.into(), column.into()),
            _ => {
                let near = flava_base::did_you_mean(role, &ROLES, 1);
                let known = ROLES.join(", ");
                return Err(wrong(format!(
                    "there is no role {role}; roles are {known}{near}"
                )));
            }
        }
    }
    if !texts.is_empty() {
        columns.insert("texts".into(), Value::Array(texts));
    }
    Ok(columns)
}

/// A path from the root, its last part as it is named where it has a name.
fn absolute(path: &Path) -> Option<PathBuf> {
    match (path.file_name(), path.parent()) {
        (Some(name), Some(parent)) => {
            let parent = if parent.as_os_str().is_empty() {
                Path::new(".")
            } else {
                parent
            };
            // The folders of an archive have no other names.
            let whole = parent
                .canonicalize()
                .or_else(|_| std::path::absolute(parent));
            Some(whole.ok()?.join(name))
        }
        _ => path.canonicalize().ok(),
    }
}

/// The deepest folder that all paths lie in.
fn common_folder(paths: &[PathBuf]) -> PathBuf {
    let parent = |path: &PathBuf| path.parent().map(Path::to_owned).unwrap_or_default();
    let mut common = paths.first().map(parent).unwrap_or_default();
    for path in paths {
        while !path.starts_with(&common) || path == &common {
            if !common.pop() {
                break;
            }
        }
    }
    common
}

/// A path from a folder that it lies in.
fn relative(base: &Path, path: &Path) -> Option<String> {
    let inside = path.strip_prefix(base).ok()?;
    let parts = inside.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_str()),
        _ => None,
    });
    Some(parts.collect::<Option<Vec<&str>>>()?.join("/"))
}

/// A file's name as a task may be called.
fn plain_name(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() {
            c.to_ascii_lowercase()
        } else {
            '-'
        }
    };
    let name: String = stem.chars().map(plain).take(LONGEST).collect();
    let name = name.trim_matches('-');
    if name.is_empty() {
        "data".into()
    } else {
        name.to_owned()
    }
}
