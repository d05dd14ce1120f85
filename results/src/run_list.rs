//! The runs below a folder.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use flava_base::{MAX_SETTINGS, read_json};
use serde::Serialize;
use serde_json::Value;

use crate::{
    Record, Result, State, rows_table,
    run_folder::{is_run, read_status, record_paths, runs_below},
};

/// A run, as a list tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RunSummary {
    /// Its folder.
    pub folder: PathBuf,
    /// What was measured; several where the folder holds records of several.
    pub models: Vec<String>,
    /// The suites of its tasks.
    pub suites: Vec<String>,
    /// The protocols that they follow.
    pub protocols: Vec<String>,
    /// Tasks with a record.
    pub done: usize,
    /// Names of tasks that failed.
    pub failed: Vec<String>,
    /// Names of tasks that were planned and have not ended.
    pub waiting: Vec<String>,
    /// When the last task ended, UTC; empty where none has.
    pub date: String,
    /// What is wrong with it.
    pub damage: Option<String>,
}

/// All runs of a folder: itself, those in it, and what they put aside.
///
/// # Errors
/// If a folder cannot be read.
pub fn list_runs(root: &Path) -> Result<Vec<RunSummary>> {
    let mut folders = Vec::new();
    if is_run(root)? {
        folders.push(root.to_owned());
        folders.extend(put_aside(root)?);
    }
    for folder in runs_below(root)? {
        let aside = put_aside(&folder)?;
        folders.push(folder);
        folders.extend(aside);
    }
    folders
        .iter()
        .map(|folder| RunSummary::of(folder))
        .collect()
}

/// The list for people.
pub fn runs_text(runs: &[RunSummary]) -> String {
    let row = |run: &RunSummary| {
        let counted = [(run.failed.len(), "failed"), (run.waiting.len(), "waiting")];
        let some = counted.iter().filter(|(count, _)| *count > 0);
        let mut tasks = vec![format!("{} done", run.done)];
        tasks.extend(some.map(|(count, what)| format!("{count} {what}")));
        tasks.extend(run.damage.iter().map(|damage| format!("damaged: {damage}")));
        vec![
            run.folder.display().to_string(),
            run.date.get(..16).unwrap_or_default().replace('T', " "),
            run.models.join(", "),
            run.suites.join(", "),
            run.protocols.join(", "),
            tasks.join(", "),
        ]
    };
    let head = ["run", "last", "model", "suite", "protocol", "tasks"];
    rows_table(&head, runs.iter().map(row), 6..6)
}

impl RunSummary {
    fn of(folder: &Path) -> Result<Self> {
        let mut summary = Self {
            folder: folder.to_owned(),
            ..Self::default()
        };
        let (mut records, mut damage) = (Vec::new(), None);
        for path in record_paths(folder)? {
            match Record::read(&path) {
                Ok(record) => records.extend(record),
                Err(error) => damage = Some(error.to_string()),
            }
        }
        match read_status(folder) {
            Ok(status) => {
                let in_state = |is: fn(State) -> bool| {
                    let some = status.iter().filter(|(_, status)| is(status.state));
                    some.map(|(name, _)| name.clone()).collect()
                };
                summary.failed = in_state(|state| state == State::Failed);
                summary.waiting =
                    in_state(|state| matches!(state, State::Waiting | State::Running));
            }
            Err(error) => damage = Some(error.to_string()),
        }
        let of_records = |field: fn(&Record) -> &String| {
            let all: BTreeSet<&String> = records.iter().map(field).collect();
            let told = all.into_iter().filter(|text| !text.is_empty());
            told.cloned().collect::<Vec<String>>()
        };
        summary.models = of_records(|record| &record.model);
        summary.suites = of_records(|record| &record.suite);
        summary.protocols = of_records(|record| &record.protocol);
        summary.date = of_records(|record| &record.date).pop().unwrap_or_default();
        let is_failed = |record: &&Record| summary.failed.contains(&record.name());
        summary.done = records.len() - records.iter().filter(is_failed).count();
        if summary.models.is_empty() {
            summary.models.extend(planned_model(folder));
        }
        summary.damage = damage;
        Ok(summary)
    }
}

/// The model of a run that has no record yet.
fn planned_model(folder: &Path) -> Option<String> {
    let plan: Value = read_json(&folder.join("plan.json"), MAX_SETTINGS).ok()?;
    Some(plan.get("model")?.as_str()?.to_owned())
}

fn put_aside(folder: &Path) -> Result<Vec<PathBuf>> {
    let aside = folder.join("earlier");
    if aside.is_dir() {
        runs_below(&aside)
    } else {
        Ok(Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{PlannedTask, RunFolder, record::record, runs_in};

    #[test]
    fn runs_are_found_wherever_they_lie() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        assert_eq!(list_runs(root).unwrap(), []);
        assert_eq!(runs_in(root).unwrap(), [root]);
        let tasks = ["a", "b", "c"].map(|name| PlannedTask {
            name: name.into(),
            suite: "mini".into(),
        });
        let plan = serde_json::json!({ "model": "m" });
        let mut run = RunFolder::open(&root.join("one"), &plan, &tasks).unwrap();
        assert_eq!(list_runs(root).unwrap()[0].models, ["m"]);
        fs::write(run.new_predictions("a", None), "predictions").unwrap();
        run.finish(&record("a"), &[None]).unwrap();
        run.fail("b", "because").unwrap();
        drop(run);
        fs::create_dir(root.join("two")).unwrap();
        fs::write(root.join("two/x.json"), record("x").to_file().unwrap()).unwrap();
        fs::create_dir(root.join("other")).unwrap();
        fs::write(root.join("other/x.json"), "{}").unwrap();
        // One that has begun and measured nothing is listed, and stands on no board.
        drop(RunFolder::open(&root.join("begun"), &plan, &tasks).unwrap());
        assert_eq!(list_runs(root).unwrap()[0].waiting.len(), 3);
        assert_eq!(runs_in(root).unwrap().len(), 2);
        fs::remove_dir_all(root.join("begun")).unwrap();
        let listed = list_runs(root).unwrap();
        assert_eq!(runs_in(root).unwrap(), [root.join("one"), root.join("two")]);
        assert_eq!(runs_in(&root.join("two")).unwrap(), [root.join("two")]);
        assert_eq!(listed.len(), 2);
        assert_eq!(
            (listed[0].done, &listed[0].suites),
            (1, &vec!["mini".to_owned()])
        );
        assert_eq!(
            (&listed[0].failed[..], &listed[0].waiting[..]),
            (&["b".to_owned()][..], &["c".to_owned()][..])
        );
        let text = runs_text(&listed);
        assert!(text.contains("1 done, 1 failed, 1 waiting"), "{text}");
        fs::write(root.join("one/a.json"), "{").unwrap();
        let listed = list_runs(root).unwrap();
        assert!(listed[0].damage.as_ref().unwrap().contains("a.json"));
    }
}
