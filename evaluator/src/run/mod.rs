//! Carries a plan out, task by task; what is finished is written before the next begins, and is not
//! done again.

mod estimate;
mod key;
mod measured;
mod record;
mod size;
mod task;

use std::collections::{HashMap, VecDeque};

use flava_base::error_lines;
use flava_model::runtime::Progress;
use flava_results::{
    Record, RunFolder,
    reproduction::{WHOLE, reproduction},
    timestamp,
};
use flava_tasks::{Feature, Method, Source, Task};
use serde_json::{Value, json};

pub use estimate::dry_run;

use crate::{Error, ModelChoice, Plan, Result, Subject, TaskRun, embedded, program};
use measured::Measured;
use task::{Tasks, origin};

/// How a run ended.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What was measured, in order.
    pub records: Vec<Record>,
    /// Tasks that failed, and why.
    pub failures: Vec<(String, Error)>,
    /// What stands below the table.
    pub notes: Vec<String>,
    /// Tasks that were planned, each way of running one counted.
    pub planned: usize,
    /// Whether Ctrl-C ended it.
    pub interrupted: bool,
}

/// A task that is to be run in one way, or why it cannot be.
struct Planned {
    name: String,
    task_run: Result<TaskRun>,
}

impl Planned {
    /// A plan's tasks; one that cannot be run under the plan stands as one that fails.
    fn of(plan: &Plan) -> Vec<Self> {
        plan.tasks
            .iter()
            .flat_map(|task| Self::of_task(plan, task))
            .collect()
    }

    /// Whether this is a training, or cannot be anything.
    fn trains(&self) -> bool {
        let fine_tunes = |run: &TaskRun| matches!(run.assignment.method, Method::FineTune { .. });
        self.task_run.as_ref().map_or(true, fine_tunes)
    }

    fn of_task(plan: &Plan, task: &Task) -> Vec<Self> {
        let ready = |task_run: TaskRun| Self {
            name: task_run.name(),
            task_run: Ok(task_run),
        };
        match plan.task_runs(task) {
            Ok(task_runs) => task_runs.into_iter().map(ready).collect(),
            Err(error) => vec![Self {
                name: task.name.clone(),
                task_run: Err(error),
            }],
        }
    }

    /// Rows that are expected to be encoded.
    fn rows(&self, limit: Option<usize>) -> usize {
        let source = self
            .task_run
            .as_ref()
            .ok()
            .and_then(|run| run.task.sources.first());
        let splits = source.into_iter().flat_map(Source::splits);
        let rows = |rows: usize| limit.map_or(rows, |limit| limit.min(rows));
        splits.map(|split| rows(split.rows)).sum()
    }
}

/// Runs the plan's tasks. An error here means that nothing could be run; tasks that fail are in the
/// outcome.
pub fn run(plan: &Plan) -> Result<Outcome> {
    let planned = Planned::of(plan);
    let names: Vec<String> = planned.iter().map(|planned| planned.name.clone()).collect();
    // Training loads the encoders itself.
    let only_trains = planned.iter().all(Planned::trains);
    let subject = plan.subject.open(plan, only_trains)?;
    let mut folder = RunFolder::open(&plan.out, &describe(plan, &names), &names)?;
    let rows = planned.iter().map(|planned| planned.rows(plan.limit)).sum();
    let progress = progress(plan, rows)?;
    for note in folder.take_notes().iter().chain(subject.notes()) {
        progress.say(&format!("note: {note}"));
    }
    let mut tasks = Tasks {
        plan,
        measured: Measured::new(&subject, plan, &progress),
        progress: &progress,
    };
    let mut outcome = Outcome {
        planned: planned.len(),
        ..Outcome::default()
    };
    if plan.subject == Subject::Model(ModelChoice::Embedded) {
        outcome.notes.push(embedded::NOTE.into());
    }
    let mut reached = 0;
    let mut rest = VecDeque::from(planned);
    while let Some(planned) = rest.pop_front() {
        tasks.measured.look_ahead(later(&rest));
        let rows = planned.rows(plan.limit);
        let result = planned
            .task_run
            .and_then(|task_run| tasks.run(&task_run, &mut folder));
        reached += rows;
        progress.reach(reached);
        outcome.take(&planned.name, result, &mut folder, &progress)?;
        if outcome.interrupted {
            break;
        }
    }
    progress.finish();
    Ok(outcome)
}

/// What is said, on the terminal and in `run.log`.
fn progress(plan: &Plan, rows: usize) -> Result<Progress> {
    let mut progress = Progress::new(rows, "rows", plan.settings.quiet);
    let log = plan.out.join("run.log");
    progress
        .log_to(&log)
        .map_err(|e| flava_base::Error::io(&log, e))?;
    let (now, subject) = (timestamp(), plan.subject.title());
    progress.say(&format!("{now}: {} with {subject}", program()));
    Ok(progress)
}

impl Outcome {
    /// Takes note of how a task ended.
    fn take(
        &mut self,
        name: &str,
        result: Result<Record>,
        folder: &mut RunFolder,
        progress: &Progress,
    ) -> Result<()> {
        for note in folder.take_notes() {
            progress.say(&format!("note: {note}"));
            self.notes.push(note);
        }
        match result {
            Ok(record) => {
                let score = record.main();
                progress.say(&format!(
                    "{name}: {} {:.4} on {} rows in {:.1} s",
                    score.metric, score.value, score.n, record.seconds
                ));
                for distance in reproduction(&record, WHOLE)? {
                    progress.say(&format!("{name}: {}: {distance}", distance.metric));
                }
                let notes = record.notes.iter().map(|note| format!("{name}: {note}"));
                self.notes.extend(notes);
                self.records.push(record);
            }
            Err(Error::Interrupted) => self.interrupted = true,
            Err(error) => {
                for line in error_lines(&format!("{name}: failed: {error}")) {
                    progress.say(&line);
                }
                folder.fail(name, &error.to_string())?;
                self.failures.push((name.to_owned(), error));
            }
        }
        Ok(())
    }
}

/// The plan as it is written down.
fn describe(plan: &Plan, names: &[String]) -> Value {
    json!({
        "model": plan.subject.name(),
        "tasks": names,
        "protocol": plan.protocol.name(),
        "limit": plan.limit,
        "seed": plan.seed,
        "precision": plan.subject.precision(&plan.settings),
        "device": plan.settings.device_name(),
        "program": program(),
    })
}

/// The features that later tasks will read of each split.
fn later(planned: &VecDeque<Planned>) -> HashMap<String, Vec<Feature>> {
    let mut later: HashMap<String, Vec<Feature>> = HashMap::new();
    let task_runs = planned
        .iter()
        .filter_map(|planned| planned.task_run.as_ref().ok());
    for TaskRun {
        task, assignment, ..
    } in task_runs
    {
        if matches!(assignment.method, Method::FineTune { .. }) {
            continue;
        }
        let feature = assignment
            .method
            .feature()
            .unwrap_or(Feature::IMAGE_EMBEDDING);
        for source in &task.sources {
            for split in source.splits() {
                let features = later.entry(origin(source, split)).or_default();
                features.push(feature);
            }
        }
    }
    later
}
