//! The folder of a run: what was planned, how each task stands, a record for each that ended, and a journal of all that happened.
//!
//! `plan.json`, `status.json`, `journal.jsonl`, `TASK.json`, `results.csv`, `predictions/TASK.parquet`. Every file is written
//! beside its place and renamed, but the journal, to which lines are only added: whatever kills the program, the folder is whole.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions, TryLockError},
    io::{Read, Write},
    path::{Path, PathBuf},
    time::SystemTime,
};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{Error, Record, Result, csv_table};

/// The current time, such as `2026-01-31T12:00:00Z`.
pub fn timestamp() -> String {
    humantime::format_rfc3339_seconds(SystemTime::now()).to_string()
}

/// How a task stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Its turn has not come.
    Waiting,
    /// It is being run, or was when the program was killed.
    Running,
    /// Its record is written.
    Done,
    /// It ended with an error.
    Failed,
    /// It was not run.
    Skipped,
}

/// How a task stands, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// How it stands.
    pub state: State,
    /// Why it failed or was skipped; empty otherwise.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Since when, UTC.
    pub since: String,
}

/// A folder that results are written to, by one program at a time.
#[derive(Debug)]
pub struct RunFolder {
    folder: PathBuf,
    /// Names of the tasks in the order of the plan.
    order: Vec<String>,
    status: BTreeMap<String, Status>,
    journal: File,
    _lock: File,
}

impl RunFolder {
    /// Opens the folder for a plan of these tasks; what earlier runs left there stays.
    ///
    /// # Errors
    /// If it cannot be written to, or another program runs in it.
    pub fn open(folder: &Path, plan: &Value, tasks: &[String]) -> Result<Self> {
        fs::create_dir_all(folder.join("predictions")).map_err(|e| Error::io(folder, e))?;
        let lock = lock_folder(folder)?;
        let path = folder.join("journal.jsonl");
        let mut journal = OpenOptions::new().create(true).append(true).read(true).open(&path).map_err(|e| Error::io(&path, e))?;
        let mut text = Vec::new();
        journal.read_to_end(&mut text).map_err(|e| Error::io(&path, e))?;
        if text.last().is_some_and(|last| *last != b'\n') {
            journal.write_all(b"\n").map_err(|e| Error::io(&path, e))?; // a run was killed in the middle of a line
        }
        let since = timestamp();
        let waiting = |name: &String| (name.clone(), Status { state: State::Waiting, reason: String::new(), since: since.clone() });
        let status = tasks.iter().map(waiting).collect();
        let mut run = Self { folder: folder.to_owned(), order: tasks.to_vec(), status, journal, _lock: lock };
        run.write_json("plan.json", plan)?;
        run.note("run", "started", &json!({ "plan": plan }))?;
        run.write_status()?;
        Ok(run)
    }

    /// Where a task's predictions on a split are kept; the test split's have no name of their own.
    pub fn predictions(&self, name: &str, split: Option<&str>) -> PathBuf {
        Self::predictions_in(&self.folder, name, split)
    }

    /// The same of a folder that is only read.
    pub fn predictions_in(folder: &Path, name: &str, split: Option<&str>) -> PathBuf {
        let file = split.map_or_else(|| format!("{name}.parquet"), |split| format!("{name}.{split}.parquet"));
        folder.join("predictions").join(file)
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.folder
    }

    /// The record of a task that an earlier run finished under the same key.
    pub fn finished(&self, name: &str, key: &str) -> Option<Record> {
        read_record(&self.folder.join(format!("{name}.json"))).filter(|record| record.key == key)
    }

    /// Notes that a task's turn has come. What an earlier run measured under other settings is put aside, in `earlier/`.
    pub fn start(&mut self, name: &str) -> Result<()> {
        let record = self.folder.join(format!("{name}.json"));
        if let Some(before) = read_record(&record) {
            let aside = self.folder.join("earlier");
            fs::create_dir_all(&aside).map_err(|e| Error::io(&aside, e))?;
            let stem = format!("{name}.{}", before.key.get(..8).unwrap_or("unknown"));
            let predictions = self.predictions(name, None);
            if predictions.exists() {
                fs::rename(&predictions, aside.join(format!("{stem}.parquet"))).map_err(|e| Error::io(&predictions, e))?;
            }
            fs::rename(&record, aside.join(format!("{stem}.json"))).map_err(|e| Error::io(&record, e))?;
        }
        self.set(name, State::Running, "", &Value::Null)
    }

    /// Notes that a task failed.
    pub fn fail(&mut self, name: &str, reason: &str) -> Result<()> {
        self.set(name, State::Failed, reason, &Value::Null)
    }

    /// Notes that a task was not run.
    pub fn skip(&mut self, name: &str, reason: &str) -> Result<()> {
        self.set(name, State::Skipped, reason, &Value::Null)
    }

    /// Writes a task's record, and the table of all.
    pub fn finish(&mut self, record: &Record) -> Result<()> {
        let name = record.name();
        let value = serde_json::to_value(record).expect("a record is plain data");
        self.write_json(&format!("{name}.json"), &value)?;
        self.write_table()?;
        self.set(&name, State::Done, "", &value)
    }

    /// Notes that a task's record was there already.
    pub fn keep(&mut self, record: &Record) -> Result<()> {
        self.write_table()?;
        self.set(&record.name(), State::Done, "an earlier run's record holds", &Value::Null)
    }

    fn set(&mut self, name: &str, state: State, reason: &str, record: &Value) -> Result<()> {
        self.status.insert(name.to_owned(), Status { state, reason: reason.to_owned(), since: timestamp() });
        self.note(
            name,
            serde_json::to_value(state).ok().as_ref().and_then(Value::as_str).unwrap_or_default(),
            &json!({ "reason": reason, "record": record }),
        )?;
        self.write_status()
    }

    fn note(&mut self, of: &str, event: &str, more: &Value) -> Result<()> {
        let mut entry = json!({ "time": timestamp(), "of": of, "event": event });
        if let (Some(entry), Some(more)) = (entry.as_object_mut(), more.as_object()) {
            entry.extend(more.iter().filter(|(_, value)| !value.is_null() && *value != "").map(|(k, v)| (k.clone(), v.clone())));
        }
        self.journal.write_all(format!("{entry}\n").as_bytes()).map_err(|e| Error::io(&self.folder.join("journal.jsonl"), e))
    }

    fn write_status(&self) -> Result<()> {
        self.write_json("status.json", &serde_json::to_value(&self.status).expect("statuses are plain data"))
    }

    fn write_json(&self, name: &str, value: &Value) -> Result<()> {
        let path = self.folder.join(name);
        write_beside(&path, &format!("{value:#}\n")).map_err(|e| Error::io(&path, e))
    }

    /// The table of all records in the folder: the plan's in its order, then others by name.
    fn write_table(&self) -> Result<()> {
        let place = |record: &Record| (self.order.iter().position(|name| *name == record.name()).unwrap_or(usize::MAX), record.name());
        let mut records = read_records(&self.folder)?;
        records.sort_by_key(place);
        let path = self.folder.join("results.csv");
        write_beside(&path, &csv_table(&records)).map_err(|e| Error::io(&path, e))
    }
}

/// The records of a folder of results, by name.
pub fn read_records(folder: &Path) -> Result<Vec<Record>> {
    let entries = fs::read_dir(folder).map_err(|e| Error::io(folder, e))?;
    let mut paths: Vec<PathBuf> =
        entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|p| p.extension().is_some_and(|e| e == "json")).collect();
    paths.sort();
    Ok(paths.iter().filter_map(|path| read_record(path)).collect())
}

fn read_record(path: &Path) -> Option<Record> {
    serde_json::from_str(&fs::read_to_string(path).ok()?).ok()
}

/// Takes a folder for this program alone, for as long as the file lives.
///
/// # Errors
/// If another program has it.
pub fn lock_folder(folder: &Path) -> Result<File> {
    let path = folder.join(".lock");
    let mut file = OpenOptions::new().create(true).truncate(false).write(true).read(true).open(&path).map_err(|e| Error::io(&path, e))?;
    match file.try_lock() {
        Ok(()) => {
            let _told = file.set_len(0).and_then(|()| write!(file, "{}", std::process::id()));
            Ok(file)
        }
        Err(TryLockError::WouldBlock) => {
            let mut process = String::new();
            let _read = file.read_to_string(&mut process);
            Err(Error::Locked { folder: folder.to_owned(), process })
        }
        Err(TryLockError::Error(e)) => Err(Error::io(&path, e)),
    }
}

/// Writes a text to a temporary sibling and gives it its name when it is whole.
pub fn write_beside(path: &Path, text: &str) -> std::io::Result<()> {
    let part = PathBuf::from(format!("{}.part", path.display()));
    let written = File::create(&part).and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()));
    written.and_then(|()| fs::rename(&part, path)).inspect_err(|_| {
        let _gone = fs::remove_file(&part);
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::record;

    fn open(folder: &Path) -> Result<RunFolder> {
        RunFolder::open(folder, &json!({ "model": "m" }), &["b".to_owned(), "a".to_owned()])
    }

    fn states(folder: &Path) -> BTreeMap<String, Status> {
        serde_json::from_str(&fs::read_to_string(folder.join("status.json")).unwrap()).unwrap()
    }

    #[test]
    fn tasks_stand_in_the_order_of_the_plan_and_are_found_by_their_key() {
        let folder = tempfile::tempdir().unwrap();
        let mut run = open(folder.path()).unwrap();
        assert!(states(folder.path()).values().all(|status| status.state == State::Waiting));
        run.start("a").unwrap();
        run.finish(&record("a")).unwrap();
        run.finish(&record("b")).unwrap();
        run.fail("c", "because").unwrap();
        let csv = fs::read_to_string(folder.path().join("results.csv")).unwrap();
        assert!(csv.find("\nb,").unwrap() < csv.find("\na,").unwrap(), "{csv}");
        assert_eq!(run.finished("a", "key").map(|r| r.metrics), Some(record("a").metrics));
        assert!(run.finished("a", "another").is_none() && run.finished("c", "key").is_none());
        assert_eq!(states(folder.path())["c"], Status { reason: "because".into(), ..states(folder.path())["c"].clone() });
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
        let broken = text.lines().filter(|line| serde_json::from_str::<Value>(line).is_err()).count();
        assert_eq!(broken, 1, "{text}");
    }
}
