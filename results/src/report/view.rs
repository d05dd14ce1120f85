//! Runs as the report looks at them: records in a fixed order, with what their predictions show.

use std::{cell::RefCell, collections::HashMap};

use flava_tasks::Registry;
use rayon::prelude::*;

use super::{analysis::Seen, embedded::Embedded, options::ReportOptions, paper::Paper};
use crate::{Record, Run};

/// A record and what its predictions show.
#[derive(Debug)]
pub(super) struct TaskOfRun<'a> {
    pub(super) record: &'a Record,
    pub(super) name: String,
    pub(super) seen: Seen,
    /// Why its predictions could not be read.
    pub(super) problem: Option<String>,
}

/// A run and its letter, which is empty where it is the only one.
#[derive(Debug)]
pub(super) struct View<'a> {
    pub(super) letter: String,
    pub(super) run: &'a Run,
    pub(super) entries: Vec<TaskOfRun<'a>>,
}

/// All that the parts of a report are made of.
pub(super) struct Study<'a> {
    pub(super) views: Vec<View<'a>>,
    pub(super) options: &'a ReportOptions<'a>,
    pub(super) paper: Paper,
    /// Images that were embedded already.
    pub(super) images: RefCell<Embedded>,
    names: HashMap<String, Vec<String>>,
}

impl<'a> Study<'a> {
    pub(super) fn new(runs: &'a [Run], options: &'a ReportOptions) -> Self {
        let paper = Paper::new();
        let letter = |index: usize| {
            if runs.len() > 1 {
                letter(index)
            } else {
                String::new()
            }
        };
        let view = |(index, run): (usize, &'a Run)| View {
            letter: letter(index),
            run,
            entries: entries(run, options, &paper),
        };
        let views = runs.iter().enumerate().map(view).collect();
        Self {
            views,
            options,
            paper,
            images: RefCell::default(),
            names: registered_names(),
        }
    }

    /// All entries with the view that they are of.
    pub(super) fn entries(&self) -> impl Iterator<Item = Item<'_>> {
        self.views.iter().flat_map(View::items)
    }

    /// What a task's classes are called; empty where nobody knows.
    pub(super) fn class_names(&self, record: &Record) -> ClassLabels {
        let asked = self.options.class_names.and_then(|names| names(record));
        let known = || self.names.get(&record.task).cloned().unwrap_or_default();
        ClassLabels(asked.unwrap_or_else(known))
    }
}

/// An entry beside its view.
#[derive(Clone, Copy, Debug)]
pub(super) struct Item<'a> {
    letter: &'a str,
    pub(super) entry: &'a TaskOfRun<'a>,
}

impl Item<'_> {
    /// The entry's name, with its run's letter where there are several.
    pub(super) fn title(&self) -> String {
        self.titled(&self.entry.name)
    }

    /// Another name of it, with the letter.
    pub(super) fn titled(&self, name: &str) -> String {
        if self.letter.is_empty() {
            name.to_owned()
        } else {
            format!("{}: {name}", self.letter)
        }
    }

    /// What a figure of it is called.
    pub(super) fn figure(&self, kind: &str) -> String {
        self.figure_named(kind, &self.entry.name)
    }

    /// What a figure of several entries is called.
    pub(super) fn figure_named(&self, kind: &str, name: &str) -> String {
        if self.letter.is_empty() {
            format!("{kind}.{name}")
        } else {
            format!("{kind}.{}.{name}", self.letter)
        }
    }
}

impl View<'_> {
    pub(super) fn items(&self) -> Vec<Item<'_>> {
        let item = |entry| Item {
            letter: &self.letter,
            entry,
        };
        self.entries.iter().map(item).collect()
    }

    pub(super) fn entry(&self, name: &str) -> Option<&TaskOfRun<'_>> {
        self.entries.iter().find(|entry| entry.name == name)
    }
}

/// Names of classes by their numbers.
pub(super) struct ClassLabels(Vec<String>);

impl ClassLabels {
    pub(super) fn of(&self, class: usize) -> String {
        let name = self.0.get(class).filter(|name| !name.is_empty());
        name.map_or_else(|| format!("class {class}"), Clone::clone)
    }

    /// The name with the number before it.
    pub(super) fn numbered(&self, class: usize) -> String {
        let name = self.0.get(class).filter(|name| !name.is_empty());
        name.map_or_else(|| self.of(class), |name| format!("{class} {name}"))
    }
}

/// A, B, .. Z, A1, B1, ..
fn letter(index: usize) -> String {
    let letter = char::from(b'A' + (index % 26) as u8);
    match index / 26 {
        0 => letter.to_string(),
        round => format!("{letter}{round}"),
    }
}

/// The records in the order of the paper's table, then by name; the predictions of the first of
/// them are read.
fn entries<'a>(run: &'a Run, options: &ReportOptions, paper: &Paper) -> Vec<TaskOfRun<'a>> {
    let mut records: Vec<&Record> = run.records.iter().collect();
    records.sort_by_cached_key(|record| (paper.position(record), record.name()));
    let entry = |(index, record): (usize, &'a Record)| {
        let looked_at = index < options.most_tasks;
        let (seen, problem) = if looked_at {
            seen(run, record, options)
        } else {
            (Seen::default(), None)
        };
        TaskOfRun {
            record,
            name: record.name(),
            seen,
            problem,
        }
    };
    records.into_par_iter().enumerate().map(entry).collect()
}

fn seen(run: &Run, record: &Record, options: &ReportOptions) -> (Seen, Option<String>) {
    match run.predictions(record) {
        Ok(Some(predictions)) => (Seen::of(record, &predictions, options), None),
        Ok(None) => (Seen::default(), None),
        Err(error) => {
            // The same run in another place has the same report.
            let folder = format!("{}/", run.folder.display());
            let problem = error.to_string().replace(&folder, "");
            (Seen::default(), Some(problem))
        }
    }
}

/// The names of classes that the registry knows.
fn registered_names() -> HashMap<String, Vec<String>> {
    let Ok(registry) = Registry::built_in() else {
        return HashMap::new();
    };
    let named = registry
        .tasks()
        .iter()
        .filter(|task| !task.told_class_names().is_empty());
    named
        .map(|task| (task.name.clone(), task.told_class_names().to_vec()))
        .collect()
}
