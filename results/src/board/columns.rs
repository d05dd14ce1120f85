//! The numbers that a board has columns for, in an order that does not change.

use flava_tasks::{Registry, Suite, Task};

use crate::{Error, Published, Record, Result, published};

/// A number: a metric of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// The record's name: the task, and its variant.
    pub task: String,
    /// Its metric.
    pub metric: String,
    /// Whether the metric is the task's main one.
    pub is_main: bool,
    /// vision, language or multimodal; empty of tasks that no average is over.
    pub group: &'static str,
}

impl Column {
    /// As it heads a column: the task, with the metric where it is not the main one.
    pub fn name(&self) -> String {
        if self.is_main {
            self.task.clone()
        } else {
            format!("{}.{}", self.task, self.metric)
        }
    }

    /// Whether this is a number of the record.
    pub(super) fn is_of(&self, record: &Record) -> bool {
        record.name() == self.task
    }
}

/// The columns of a board.
#[derive(Clone, Debug)]
pub struct Columns {
    /// The suite that averages are over.
    pub suite: Suite,
    /// Its numbers, whether anybody has them or not, and those of other tasks that somebody has.
    pub all: Vec<Column>,
    /// Digest of the suite's tasks and their versions.
    pub suite_version: String,
}

impl Columns {
    /// The suite's numbers in the registry's order, then what else the records have, by name.
    ///
    /// # Errors
    /// If no record is of a suite's task.
    pub(super) fn new(records: &[&Record], suite: Option<Suite>) -> Result<Self> {
        let registry = Registry::built_in()?;
        let suite = suite.unwrap_or_else(|| suite_of(&registry, records));
        let tasks: Vec<&Task> = of_suite(&registry, suite).collect();
        let mut all: Vec<Column> = tasks.iter().flat_map(|task| numbers(task)).collect();
        let mut others: Vec<Column> = Vec::new();
        for record in records {
            let known = all.iter().chain(&others).any(|column| column.is_of(record));
            if !known {
                others.push(other(record));
            }
        }
        others.sort_by_key(|column| (registry_order(&registry, &column.task), column.task.clone()));
        all.extend(others);
        if all.is_empty() {
            let reason = format!("the suite {} has no tasks", suite.name());
            return Err(Error::Board(reason));
        }
        Ok(Self {
            suite,
            all,
            suite_version: version(suite, &tasks),
        })
    }

    /// Positions of the numbers that averages are over.
    pub fn averaged(&self) -> impl Iterator<Item = usize> {
        let columns = self.all.iter().enumerate();
        columns
            .filter(|(_, column)| !column.group.is_empty())
            .map(|(position, _)| position)
    }

    /// Positions of a group's numbers.
    pub fn of_group(&self, group: &str) -> Vec<usize> {
        self.averaged()
            .filter(|&position| self.all[position].group == group)
            .collect()
    }

    /// The groups that there are, in the paper's order.
    pub fn groups(&self) -> Vec<&'static str> {
        let there = |group: &&str| self.averaged().any(|at| self.all[at].group == *group);
        crate::averages::GROUPS.into_iter().filter(there).collect()
    }
}

/// The suite that most of the records are of; of as many the first.
fn suite_of(registry: &Registry, records: &[&Record]) -> Suite {
    const SUITES: [Suite; 4] = [Suite::Paper, Suite::ZeroShot, Suite::Variants, Suite::Mini];
    let count = |suite: Suite| {
        let is_of =
            |record: &&&Record| of_suite(registry, suite).any(|task| task.name == record.task);
        records.iter().filter(is_of).count()
    };
    let most = SUITES.into_iter().map(count).max().unwrap_or(0);
    let first = SUITES.into_iter().find(|suite| count(*suite) == most);
    if most == 0 {
        Suite::Own
    } else {
        first.unwrap_or(Suite::Own)
    }
}

fn of_suite(registry: &Registry, suite: Suite) -> impl Iterator<Item = &Task> {
    registry
        .tasks()
        .iter()
        .filter(move |task| task.suite == suite)
}

/// A task's main number, and those that the paper's averages are over besides.
fn numbers(task: &Task) -> Vec<Column> {
    let main = task.metrics[0].name();
    let group = match task.family.name() {
        "text" => "language",
        "multimodal" => "multimodal",
        _ => "vision",
    };
    let column = |metric: &str| Column {
        task: task.name.clone(),
        metric: metric.to_owned(),
        is_main: metric == main,
        group,
    };
    let mut found = vec![column(main)];
    if task.suite == Suite::Paper {
        let cells = published();
        let averaged = cells
            .iter()
            .filter(|cell| crate::averages::is_averaged(cell));
        let named = |cell: &&Published| cell.task == task.name || task.aliases.contains(&cell.task);
        let more = averaged.filter(named).filter(|cell| cell.metric != main);
        found.extend(more.map(|cell| column(&cell.metric)));
    }
    found
}

/// The main number of a record of another suite or of nobody's.
fn other(record: &Record) -> Column {
    Column {
        task: record.name(),
        metric: record.main().metric.clone(),
        is_main: true,
        group: "",
    }
}

fn registry_order(registry: &Registry, name: &str) -> usize {
    let tasks = registry.tasks();
    let found = tasks.iter().position(|task| task.name == name);
    found.unwrap_or(tasks.len())
}

/// Such as `paper-5f3c09ab`: it changes with the tasks and their versions.
fn version(suite: Suite, tasks: &[&Task]) -> String {
    use sha2::{Digest, Sha256};
    let told = tasks
        .iter()
        .map(|task| format!("{} {}\n", task.name, task.version));
    let digest = Sha256::digest(told.collect::<String>());
    format!("{}-{}", suite.name(), flava_base::hex(&digest[..4]))
}
