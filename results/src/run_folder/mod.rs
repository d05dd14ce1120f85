//! The folder of a run: what was planned, how each task stands, a record for each that ended, and a
//! journal of all that happened.
//!
//! `plan.json`, `status.json`, `journal.jsonl`, `TASK.json`, `results.csv`,
//! `predictions/TASK.parquet`. Every file is written beside its place and renamed, but the journal,
//! to which lines are only added: whatever kills the program, the folder is whole. What other
//! models or settings measured is put aside when it is measured again, in `earlier/MODEL/`: a
//! folder of its own.

mod earlier;
mod found;
mod records;
mod status;

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use flava_base::{lock_folder, remove_parts, write_atomic};
use serde_json::{Value, json};

pub use self::{
    found::runs_in,
    records::read_records,
    status::{FailedTask, PlannedTask, State, Status, timestamp},
};

use self::status::STATUS;
pub(crate) use self::{
    found::{is_run, runs_below},
    records::record_paths,
    status::read_status,
};
use crate::{Error, Record, Result, csv_table};

/// The ending of predictions whose record is not written yet.
const NEW: &str = "new";

/// A folder that results are written to, by one program at a time.
#[derive(Debug)]
pub struct RunFolder {
    folder: PathBuf,
    /// The tasks in the order of the plan.
    tasks: Vec<PlannedTask>,
    status: BTreeMap<String, Status>,
    /// None for a process that only adds records to a folder that another leads.
    journal: Option<File>,
    _lock: Option<File>,
    /// What people should hear of the folder.
    notes: Vec<String>,
}

impl RunFolder {
    /// Opens the folder for a plan of these tasks; what earlier runs left there stays.
    ///
    /// # Errors
    /// If it cannot be written to, or another program runs in it.
    pub fn open(folder: &Path, plan: &Value, tasks: &[PlannedTask]) -> Result<Self> {
        fs::create_dir_all(folder.join("predictions")).map_err(|e| Error::io(folder, e))?;
        let (lock, note) = lock_folder(folder)?;
        remove_parts(folder);
        remove_parts(&folder.join("predictions"));
        let journal = open_journal(folder)?;
        // How tasks of earlier plans stand is still so.
        let mut status = read_status(folder).unwrap_or_default();
        let waiting = |task: &PlannedTask| {
            let waiting = Status::new(&task.suite, State::Waiting, "");
            (task.name.clone(), waiting)
        };
        status.extend(tasks.iter().map(waiting));
        let mut run = Self {
            folder: folder.to_owned(),
            tasks: tasks.to_vec(),
            status,
            journal: Some(journal),
            _lock: lock,
            notes: note.into_iter().collect(),
        };
        run.write_json("plan.json", plan)?;
        run.note("run", "started", &json!({ "plan": plan }))?;
        run.write_status()?;
        Ok(run)
    }

    /// A folder that another process of the same run opened: records and predictions are written to
    /// it, and what there is one of is left to the other.
    pub fn join(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            tasks: Vec::new(),
            status: BTreeMap::new(),
            journal: None,
            _lock: None,
            notes: Vec::new(),
        }
    }

    /// Where a task's predictions on a split are kept; the test split's have no name of their own.
    pub fn predictions(&self, name: &str, split: Option<&str>) -> PathBuf {
        Self::predictions_in(&self.folder, name, split)
    }

    /// The same of a folder that is only read.
    pub fn predictions_in(folder: &Path, name: &str, split: Option<&str>) -> PathBuf {
        let file = split.map_or_else(
            || format!("{name}.parquet"),
            |split| format!("{name}.{split}.parquet"),
        );
        folder.join("predictions").join(file)
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.folder
    }

    /// Where predictions are written before their record is.
    pub fn new_predictions(&self, name: &str, split: Option<&str>) -> PathBuf {
        let mut path = self.predictions(name, split).into_os_string();
        path.push(format!(".{NEW}"));
        path.into()
    }

    /// What people should hear of the folder, since it was asked last.
    pub fn take_notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }

    /// The record of a task that an earlier run finished under the same key, if its predictions are
    /// there too.
    pub fn finished(&mut self, name: &str, key: &str) -> Option<Record> {
        let path = self.folder.join(format!("{name}.json"));
        match Record::read(&path) {
            Ok(record) => {
                record.filter(|record| record.key == key && self.predictions(name, None).is_file())
            }
            Err(error) => {
                self.notes.push(format!("{error}: it is measured again"));
                None
            }
        }
    }

    /// Notes that a task's turn has come.
    pub fn start(&mut self, name: &str) -> Result<()> {
        self.set(name, State::Running, "", &Value::Null)
    }

    /// Notes that a task failed, in the table too.
    pub fn fail(&mut self, name: &str, reason: &str) -> Result<()> {
        self.set(name, State::Failed, reason, &Value::Null)?;
        self.write_table()
    }

    /// The tasks of the plan that failed.
    pub fn failed(&self) -> Vec<FailedTask> {
        let failed = |task: &PlannedTask| self.failure(&task.name);
        self.tasks.iter().filter_map(failed).collect()
    }

    fn failure(&self, name: &str) -> Option<FailedTask> {
        let status = self.status.get(name)?;
        (status.state == State::Failed).then(|| FailedTask {
            date: status.since.clone(),
            ..FailedTask::new(name, &status.suite, &status.reason)
        })
    }

    /// Those of earlier plans.
    fn failed_before(&self) -> impl Iterator<Item = FailedTask> {
        let is_planned = |name: &String| self.tasks.iter().any(|task| task.name == *name);
        let others = self.status.keys().filter(move |name| !is_planned(name));
        others.filter_map(|name| self.failure(name))
    }

    /// Puts what was measured under other settings aside, gives the new predictions their names,
    /// and writes the record and the table.
    ///
    /// # Errors
    /// If a number of the record is not finite, or the folder cannot be written to.
    pub fn finish(&mut self, record: &Record, splits: &[Option<&str>]) -> Result<()> {
        let name = record.name();
        let path = self.folder.join(format!("{name}.json"));
        let text = record
            .to_file()
            .map_err(|reason| Error::file(&path, reason))?;
        self.put_aside(&name)?;
        for split in splits {
            let from = self.new_predictions(&name, *split);
            fs::rename(&from, self.predictions(&name, *split)).map_err(|e| Error::io(&from, e))?;
        }
        write_atomic(&path, text.as_bytes())?;
        self.write_table()?;
        let value = serde_json::to_value(record).map_err(|e| Error::file(&path, e))?;
        self.set(&name, State::Done, "", &value)
    }

    /// Notes that a task's record is there, and why.
    pub fn keep(&mut self, record: &Record, reason: &str) -> Result<()> {
        self.write_table()?;
        self.set(&record.name(), State::Done, reason, &Value::Null)
    }

    fn set(&mut self, name: &str, state: State, reason: &str, record: &Value) -> Result<()> {
        let suite = self.status.get(name).map_or("", |status| &status.suite);
        let status = Status::new(suite, state, reason);
        self.status.insert(name.to_owned(), status);
        let event = serde_json::to_value(state).ok();
        let event = event.as_ref().and_then(Value::as_str).unwrap_or_default();
        let more = json!({ "reason": reason, "record": record });
        self.note(name, event, &more)?;
        self.write_status()
    }

    fn note(&mut self, of: &str, event: &str, more: &Value) -> Result<()> {
        let Some(journal) = &mut self.journal else {
            return Ok(());
        };
        let mut entry = json!({ "time": timestamp(), "of": of, "event": event });
        if let (Some(entry), Some(more)) = (entry.as_object_mut(), more.as_object()) {
            entry.extend(
                more.iter()
                    .filter(|(_, value)| !value.is_null() && *value != "")
                    .map(|(k, v)| (k.clone(), v.clone())),
            );
        }
        journal
            .write_all(format!("{entry}\n").as_bytes())
            .map_err(|e| Error::io(&self.folder.join("journal.jsonl"), e))
    }

    fn write_status(&self) -> Result<()> {
        if self.journal.is_none() {
            return Ok(());
        }
        let status = serde_json::to_value(&self.status);
        let status = status.map_err(|e| Error::file(&self.folder.join(STATUS), e))?;
        self.write_json(STATUS, &status)
    }

    fn write_json(&self, name: &str, value: &Value) -> Result<()> {
        Ok(write_atomic(
            &self.folder.join(name),
            format!("{value:#}\n").as_bytes(),
        )?)
    }

    /// The table of all records in the folder, the plan's in its order, then others by name; and of
    /// what failed.
    fn write_table(&mut self) -> Result<()> {
        if self.journal.is_none() {
            return Ok(());
        }
        let mut records = self.whole_records()?;
        let mut failed = self.failed();
        failed.extend(self.failed_before());
        // What an earlier run measured by other settings does not stand for one that failed.
        records.retain(|record| failed.iter().all(|failed| failed.task != record.name()));
        let position = |name: &String| self.tasks.iter().position(|task| task.name == *name);
        records.sort_by_key(|record| {
            let name = record.name();
            (position(&name).unwrap_or(usize::MAX), name)
        });
        let table = csv_table(&records, &failed);
        let path = self.folder.join("results.csv");
        Ok(write_atomic(&path, table.as_bytes())?)
    }

    /// The records in the folder; a note for each that is damaged.
    fn whole_records(&mut self) -> Result<Vec<Record>> {
        let mut records = Vec::new();
        for path in record_paths(&self.folder)? {
            match Record::read(&path) {
                Ok(record) => records.extend(record),
                Err(error) => {
                    let note = format!("results.csv lacks a task: {error}");
                    if !self.notes.contains(&note) {
                        self.notes.push(note);
                    }
                }
            }
        }
        Ok(records)
    }
}

/// Opens the journal for more lines.
fn open_journal(folder: &Path) -> Result<File> {
    let path = folder.join("journal.jsonl");
    let broken = |e: std::io::Error| Error::io(&path, e);
    let mut journal = OpenOptions::new()
        .create(true)
        .append(true)
        .read(true)
        .open(&path)
        .map_err(broken)?;
    let mut last = [b'\n'];
    if journal.seek(SeekFrom::End(-1)).is_ok() {
        journal.read_exact(&mut last).map_err(broken)?;
    }
    if last != [b'\n'] {
        journal.write_all(b"\n").map_err(broken)?; // a run was killed in the middle of a line
    }
    Ok(journal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::record;

    fn open(folder: &Path) -> Result<RunFolder> {
        let planned = |name: &str| PlannedTask {
            name: name.to_owned(),
            suite: "own".to_owned(),
        };
        let tasks = ["b", "a", "c"].map(planned);
        RunFolder::open(folder, &json!({ "model": "m" }), &tasks)
    }

    fn states(folder: &Path) -> BTreeMap<String, Status> {
        serde_json::from_str(&fs::read_to_string(folder.join("status.json")).unwrap()).unwrap()
    }

    #[test]
    fn tasks_stand_in_the_order_of_the_plan_and_are_found_by_their_key() {
        let folder = tempfile::tempdir().unwrap();
        let mut run = open(folder.path()).unwrap();
        assert!(
            states(folder.path())
                .values()
                .all(|status| status.state == State::Waiting)
        );
        let finish = |run: &mut RunFolder, record: &Record| {
            fs::write(run.new_predictions(&record.name(), None), "predictions").unwrap();
            run.finish(record, &[None]).unwrap();
        };
        run.start("a").unwrap();
        finish(&mut run, &record("a"));
        finish(&mut run, &record("b"));
        run.fail("c", "because").unwrap();
        let csv = fs::read_to_string(folder.path().join("results.csv")).unwrap();
        assert!(
            csv.find("\nb,").unwrap() < csv.find("\na,").unwrap(),
            "{csv}"
        );
        assert!(csv.trim_end().ends_with(",failed,because"), "{csv}");
        // What another plan leaves out stands as it stood.
        drop(run);
        let one = PlannedTask {
            name: "a".into(),
            suite: "own".into(),
        };
        let mut run = RunFolder::open(folder.path(), &json!({ "model": "m" }), &[one]).unwrap();
        run.keep(&record("a"), "it holds").unwrap();
        let csv = fs::read_to_string(folder.path().join("results.csv")).unwrap();
        assert!(csv.trim_end().ends_with(",failed,because"), "{csv}");
        assert_eq!(run.failed_before().next().unwrap().suite, "own");
        drop(run);
        let mut run = open(folder.path()).unwrap();
        run.fail("c", "because").unwrap();
        assert_eq!(run.failed()[0].task, "c");
        assert_eq!(
            run.finished("a", "key").map(|r| r.metrics),
            Some(record("a").metrics)
        );
        assert!(run.finished("a", "another").is_none() && run.finished("c", "key").is_none());
        assert_eq!(
            states(folder.path())["c"],
            Status {
                reason: "because".into(),
                ..states(folder.path())["c"].clone()
            }
        );
        assert!(run.take_notes().is_empty());
        let other = Record {
            model_fingerprint: "ffee".into(),
            key: "another".into(),
            ..record("a")
        };
        finish(&mut run, &other);
        assert!(run.take_notes()[0].contains("earlier/00"));
        assert_eq!(
            read_records(&folder.path().join("earlier/00")).unwrap(),
            [record("a")]
        );
        assert!(
            folder
                .path()
                .join("earlier/00/predictions/a.parquet")
                .exists()
        );
    }

    #[test]
    fn a_damaged_record_is_said_and_never_left_out_in_silence() {
        let folder = tempfile::tempdir().unwrap();
        let mut run = open(folder.path()).unwrap();
        for name in ["a", "b"] {
            fs::write(run.new_predictions(name, None), "predictions").unwrap();
            run.finish(&record(name), &[None]).unwrap();
        }
        let path = folder.path().join("a.json");
        fs::write(&path, &fs::read_to_string(&path).unwrap()[..100]).unwrap();
        run.keep(&record("b"), "it holds").unwrap();
        assert!(run.take_notes()[0].contains("a.json"));
        assert!(
            read_records(folder.path())
                .unwrap_err()
                .to_string()
                .contains("a.json")
        );
        assert!(
            run.finished("a", "key").is_none() && run.take_notes()[0].contains("measured again")
        );
    }

    #[test]
    fn a_second_program_in_the_folder_is_told_of_the_first() {
        let folder = tempfile::tempdir().unwrap();
        let first = open(folder.path()).unwrap();
        let error = open(folder.path()).unwrap_err().to_string();
        assert!(error.contains(&std::process::id().to_string()), "{error}");
        drop(first);
        open(folder.path()).unwrap();
    }

    #[test]
    fn half_a_line_of_the_journal_spoils_no_other() {
        let folder = tempfile::tempdir().unwrap();
        drop(open(folder.path()).unwrap());
        let path = folder.path().join("journal.jsonl");
        fs::write(&path, fs::read_to_string(&path).unwrap() + "{\"time\":").unwrap();
        drop(open(folder.path()).unwrap());
        let text = fs::read_to_string(&path).unwrap();
        let broken = text
            .lines()
            .filter(|line| serde_json::from_str::<Value>(line).is_err())
            .count();
        assert_eq!(broken, 1, "{text}");
    }
}
