//! What processes of a run tell each other of their tasks.

use std::{fs, path::Path};

use flava_model::runtime::distributed::Peers;
use flava_results::{Record, RunFolder};
use serde::{Deserialize, Serialize};

use super::{
    measured::SHARED_FEATURES,
    outcome::Outcome,
    task::{Tasks, piece_of},
};
use crate::{Error, Result, check_interrupted};

/// How a task ended in the process that measured it.
#[derive(Serialize, Deserialize)]
enum Ended {
    /// Its record is in the folder, under this key.
    Done { key: String, rank: usize },
    /// Why it has none.
    Failed(String),
}

/// Tells process 0 how a task ended here.
pub(super) fn tell(peers: &Peers, name: &str, result: &Result<Record>) -> Result<()> {
    let ended = match result {
        _ if peers.leads() => return Ok(()),
        Err(Error::Interrupted) => return Ok(()),
        Ok(record) => Ended::Done {
            key: record.key.clone(),
            rank: peers.place().rank,
        },
        Err(error) => Ended::Failed(error.to_string()),
    };
    let text = serde_json::to_string(&ended).unwrap_or_default();
    Ok(peers.tell(&piece_of(name), &text)?)
}

/// Waits for the tasks of other processes, and takes their records; what a dead one had is measured
/// here.
pub(super) fn gather(
    tasks: &Tasks,
    elsewhere: &[String],
    folder: &mut RunFolder,
    outcome: &mut Outcome,
) -> Result<()> {
    for name in elsewhere {
        let result = gathered(tasks, name, folder);
        outcome.take(name, result, folder, tasks.progress)?;
        if outcome.interrupted {
            return Ok(());
        }
    }
    remove_features(tasks.out)
}

/// Removes features that processes shared and nobody keeps, of this run or one that was killed.
pub(super) fn remove_features(out: &Path) -> Result<()> {
    let shared = out.join(SHARED_FEATURES);
    if shared.exists() {
        fs::remove_dir_all(&shared).map_err(|e| flava_base::Error::io(&shared, e))?;
    }
    Ok(())
}

fn gathered(tasks: &Tasks, name: &str, folder: &mut RunFolder) -> Result<Record> {
    let (peers, piece) = (tasks.peers, piece_of(name));
    loop {
        check_interrupted()?;
        if let Some(text) = peers.told(&piece)? {
            return adopted(name, &text, folder);
        }
        if peers.claim(&piece)? {
            let task_runs = tasks.plan.tasks.iter();
            let task_runs = task_runs.filter_map(|task| tasks.plan.task_runs(task).ok());
            let task_run = task_runs.flatten().find(|run| run.name() == name);
            let none = Error::Internal("a task that was planned is planned no more");
            let task_run = task_run.ok_or(none)?;
            tasks.progress.say(&format!(
                "{name}: the process that had it ended: it is measured here"
            ));
            let record = tasks.run(&task_run, folder)?;
            return record.ok_or(Error::Internal("a task that this process has is elsewhere"));
        }
        peers.pause();
    }
}

fn adopted(name: &str, text: &str, folder: &mut RunFolder) -> Result<Record> {
    let unclear = |_| Error::Elsewhere(format!("another process said {text:?} of it"));
    match serde_json::from_str(text).map_err(unclear)? {
        Ended::Failed(reason) => Err(Error::Elsewhere(reason)),
        Ended::Done { key, rank } => {
            let out = folder.path().display().to_string();
            let none = || {
                Error::Elsewhere(format!(
                    "process {rank} measured it, but its record is not in {out}: is that one folder for all processes?"
                ))
            };
            let record = folder.finished(name, &key);
            let record = record.ok_or_else(none)?;
            folder.keep(&record, &format!("measured by process {rank}"))?;
            Ok(record)
        }
    }
}
