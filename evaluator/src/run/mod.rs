//! Carries a plan out, task by task; what is finished is written before the next begins, and is not
//! done again.

mod estimate;
mod forecast;
mod key;
mod measured;
mod outcome;
mod record;
mod shared;
mod size;
mod task;

use std::{
    collections::{HashMap, VecDeque},
    path::Path,
};

use flava_model::runtime::{
    Progress,
    distributed::{Group, Peers},
};
use flava_results::{PlannedTask, RunFolder, timestamp};
use flava_tasks::{Feature, Method, Suite, Task};
use serde_json::{Value, json};

pub use estimate::dry_run;
pub(crate) use forecast::row_cost;
pub use outcome::Outcome;

use crate::{
    Error, ModelChoice, Plan, Result, Subject, TaskRun, check_interrupted, embedded,
    plan::OpenSubject, program,
};
use measured::Measured;
use task::{Tasks, of_both, origin};

/// A task that is to be run in one way, or why it cannot be.
struct Planned {
    name: String,
    suite: Suite,
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
        let suite = task.suite;
        let ready = |task_run: TaskRun| Self {
            name: task_run.name(),
            suite,
            task_run: Ok(task_run),
        };
        match plan.task_runs(task) {
            Ok(task_runs) => task_runs.into_iter().map(ready).collect(),
            Err(error) => vec![Self {
                name: task.name.clone(),
                suite,
                task_run: Err(error),
            }],
        }
    }
}

/// Those of the tasks that can be run, by their names.
fn runs(planned: &[Planned]) -> impl Iterator<Item = (&str, &TaskRun)> {
    planned
        .iter()
        .filter_map(|planned| Some((planned.name.as_str(), planned.task_run.as_ref().ok()?)))
}

/// Runs the plan's tasks, of several processes those that this one takes; process 0 gives what all
/// measured. An error here means that nothing could be run; tasks that fail are in the outcome.
pub fn run(plan: &Plan, peers: &Peers) -> Result<Outcome> {
    run_in(plan, peers, &Group::alone())
}

/// Runs the plan's tasks in process 0, and trains them in all processes together. In the others a
/// task that fails is an error.
pub fn run_together(plan: &Plan, group: &Group) -> Result<Outcome> {
    run_in(plan, &Peers::alone(), group)
}

fn run_in(plan: &Plan, peers: &Peers, group: &Group) -> Result<Outcome> {
    let planned = Planned::of(plan);
    let names: Vec<String> = planned.iter().map(|planned| planned.name.clone()).collect();
    // Training loads the encoders itself.
    let only_trains = planned.iter().all(Planned::trains);
    let all = of_both(peers, group);
    let open = || plan.subject.open(plan, only_trains);
    let subject = all.first("model", open)??;
    let out = plan.out.of(&subject, &plan.subject);
    let mut folder = open_folder(plan, &out, &planned, &all)?;
    let progress = progress(plan, &out, &all)?;
    if let OpenSubject::Model(loaded) = &subject {
        progress.expect(forecast::works(plan, runs(&planned), &loaded.model.config));
    }
    for note in folder.take_notes().iter().chain(subject.notes()) {
        progress.say(&format!("note: {note}"));
    }
    let mut tasks = Tasks {
        plan,
        out: &out,
        measured: Measured::new(&subject, plan, &out, &progress, peers),
        progress: &progress,
        peers,
        group,
    };
    let mut outcome = Outcome {
        planned: planned.len(),
        ..Outcome::default()
    };
    if plan.subject == Subject::Model(ModelChoice::Embedded) {
        outcome.notes.push(embedded::NOTE.into());
    }
    let elsewhere = measure(&mut tasks, planned, &mut folder, &mut outcome)?;
    if all.leads() && !outcome.interrupted {
        shared::gather(&tasks, &elsewhere, &mut folder, &mut outcome)?;
        let order = |name: &str| names.iter().position(|planned| planned == name);
        outcome.records.sort_by_key(|record| order(&record.name()));
    }
    progress.finish();
    outcome.failed = folder.failed();
    drop(tasks);
    outcome.out = out;
    Ok(outcome)
}

/// Measures the tasks that no other process takes; the names of those that one took.
fn measure(
    tasks: &mut Tasks,
    planned: Vec<Planned>,
    folder: &mut RunFolder,
    outcome: &mut Outcome,
) -> Result<Vec<String>> {
    let mut elsewhere = Vec::new();
    let mut rest = VecDeque::from(planned);
    while let Some(planned) = rest.pop_front() {
        tasks.measured.look_ahead(later(&rest));
        let result = match &planned.task_run {
            Ok(task_run) => tasks.run(task_run, folder),
            Err(_) if !tasks.peers.leads() => continue,
            Err(_) => planned.task_run.map(|_| None),
        };
        tasks.progress.over(&planned.name);
        let result = match result {
            Ok(None) => {
                elsewhere.push(planned.name);
                continue;
            }
            Ok(Some(record)) => Ok(record),
            Err(error) if !tasks.group.leads() => return Err(error),
            Err(error) => Err(error),
        };
        shared::tell(tasks.peers, &planned.name, &result)?;
        outcome.take(&planned.name, result, folder, tasks.progress)?;
        if outcome.interrupted {
            break;
        }
    }
    Ok(elsewhere)
}

/// The folder of the results, which process 0 opens before the others write to it.
fn open_folder(plan: &Plan, out: &Path, planned: &[Planned], peers: &Peers) -> Result<RunFolder> {
    if peers.leads() {
        let tasks = planned.iter().map(|planned| PlannedTask {
            name: planned.name.clone(),
            suite: planned.suite.name().into(),
        });
        let tasks: Vec<PlannedTask> = tasks.collect();
        let folder = RunFolder::open(out, &describe(plan, &tasks), &tasks)?;
        shared::remove_features(out)?;
        peers.tell("folder", "open")?;
        return Ok(folder);
    }
    while peers.told("folder")?.is_none() {
        check_interrupted()?;
        peers.pause();
    }
    if !out.is_dir() {
        let out = out.display();
        return Err(Error::Elsewhere(format!(
            "{out} is not the folder that process 0 opened: --out must be one folder for all processes"
        )));
    }
    Ok(RunFolder::join(out))
}

/// What is said, on the terminal and in `run.log`; process 0 alone has the terminal.
fn progress(plan: &Plan, out: &Path, peers: &Peers) -> Result<Progress> {
    let leads = peers.leads();
    let mut progress = Progress::new(0, "rows", plan.settings.quiet || !leads);
    let log = out.join(peers.log_name());
    progress
        .log_to(&log)
        .map_err(|e| flava_base::Error::io(&log, e))?;
    let (now, subject) = (timestamp(), plan.subject.title());
    progress.say(&format!("{now}: {} with {subject}", program()));
    Ok(progress)
}

/// The plan as it is written down.
fn describe(plan: &Plan, tasks: &[PlannedTask]) -> Value {
    let names: Vec<&String> = tasks.iter().map(|task| &task.name).collect();
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
