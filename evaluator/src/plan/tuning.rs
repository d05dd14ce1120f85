//! How tasks are fine-tuned, and which trainings a command line asks for.

use std::path::PathBuf;

use flava_tasks::{Recipe, Suite};
use flava_training::Sharding;

use super::{ModelChoice, Out, OwnTask, Plan, Settings, Subject, asked_for, locator_of};
use crate::{Error, Result, args::FinetuneRunArgs};

/// Most trainings of one command.
const MOST_RUNS: usize = 1000;

/// How tasks are fine-tuned.
#[derive(Clone, Debug, Default)]
pub struct Tuning {
    /// Whether every task is, also those that are probed otherwise.
    pub always: bool,
    /// In place of the tasks' recipes.
    pub recipe: Option<PathBuf>,
    /// Over the recipe: `key=value`.
    pub set: Vec<String>,
    /// Whether weights start at random.
    pub random_init: bool,
    /// Rows at once; 0 decides by itself.
    pub micro_batch: usize,
    /// Whether activations are computed again.
    pub recompute: bool,
    /// What of a training each of several processes has only a part of; as little as fits without.
    pub sharding: Option<Sharding>,
    /// Whether there must be something to go on from.
    pub resume: bool,
}

/// One training: of one seed and one point of a sweep.
#[derive(Clone, Debug, PartialEq)]
pub struct TuningRun {
    /// Of the head, the order of the rows, dropout and sampling.
    pub seed: u64,
    /// Settings of the point: `key=value`.
    pub set: Vec<String>,
    /// The folder of its results.
    pub out: PathBuf,
    /// Whether it is the first of its command.
    pub is_first: bool,
}

impl TuningRun {
    /// All trainings of a command: each point of its sweep with each of its seeds.
    ///
    /// # Errors
    /// If a sweep names no values, or a setting twice, or there are too many.
    pub fn all(args: &FinetuneRunArgs) -> Result<Vec<Self>> {
        let mut runs = Vec::new();
        for set in points(&args.sweep)? {
            for number in 0..args.seeds {
                let seed = args
                    .seed
                    .checked_add(number)
                    .ok_or_else(|| Error::Argument {
                        argument: "--seed",
                        value: args.seed.to_string(),
                        reason: "is too large".into(),
                    })?;
                let mut out = args.out.clone();
                if !set.is_empty() {
                    out.push(set.join(",").replace('/', "_"));
                }
                if args.seeds > 1 {
                    out.push(format!("seed-{seed}"));
                }
                runs.push(Self {
                    seed,
                    set: set.clone(),
                    out,
                    is_first: runs.is_empty(),
                });
            }
        }
        if runs.len() > MOST_RUNS {
            let count = runs.len();
            let reason = format!("--sweep: {count} trainings are more than {MOST_RUNS}");
            return Err(Error::Usage {
                argument: "--sweep",
                reason,
            });
        }
        Ok(runs)
    }
}

/// The points of a grid, each its settings; one without any where nothing is swept.
fn points(sweeps: &[String]) -> Result<Vec<Vec<String>>> {
    let mut points: Vec<Vec<String>> = vec![Vec::new()];
    let mut keys = Vec::new();
    for sweep in sweeps {
        let wrong = |reason: &str| Error::Argument {
            argument: "--sweep",
            value: sweep.clone(),
            reason: reason.to_owned(),
        };
        let none = || wrong("is no KEY=VALUE,VALUE,.., such as lr=1e-5,3e-5");
        let (key, values) = sweep.split_once('=').ok_or_else(none)?;
        let values: Vec<&str> = values.split(',').map(str::trim).collect();
        if key.is_empty() || values.iter().any(|value| value.is_empty()) {
            return Err(none());
        }
        if keys.contains(&key) {
            return Err(wrong("sweeps a setting that is swept already"));
        }
        keys.push(key);
        let with = |point: &Vec<String>, value: &&str| {
            let own = format!("{key}={value}");
            point.iter().cloned().chain([own]).collect()
        };
        let of_point = |point: &Vec<String>| -> Vec<Vec<String>> {
            values.iter().map(|value| with(point, value)).collect()
        };
        points = points.iter().flat_map(of_point).collect();
    }
    Ok(points)
}

impl Plan {
    /// Decides a fine-tuning, one of those that a command line asks for.
    pub fn of_tuning(args: &FinetuneRunArgs, run: &TuningRun) -> Result<Self> {
        let (data, model) = (&args.data_args, &args.model_args);
        let quiet = model.device_args.quiet;
        let locator = locator_of(data.data.as_ref(), &data.network, quiet)?;
        let tasks = if args.train.is_some() {
            let own = OwnTask::of_tuning(args)?;
            if !quiet && run.is_first {
                own.say();
            }
            vec![own.read()?]
        } else {
            named_tasks(args)?
        };
        let [task] = tasks.as_slice() else {
            let (count, name) = (tasks.len(), args.task.as_deref().unwrap_or("--task-file"));
            let reason = format!("{name} names {count} tasks: one is fine-tuned at a time");
            return Err(refused(reason));
        };
        let task = locator.whole(task)?;
        let set: Vec<String> = args.set.iter().chain(&run.set).cloned().collect();
        Recipe::of(&task, args.recipe.as_deref(), &set)?;
        let settings = Settings::new(model)?;
        let subject = Subject::Model(ModelChoice::new(args.model.as_ref())?);
        let mut plan = Self::plain(
            subject,
            vec![task],
            Out::Folder(run.out.clone()),
            locator,
            settings,
        );
        plan.protocol = data.protocol.into();
        plan.allow_mismatch = data.allow_mismatch;
        plan.limit = args.limit;
        plan.seed = run.seed;
        plan.tuning = Tuning {
            always: true,
            recipe: args.recipe.clone(),
            set,
            random_init: args.random_init,
            micro_batch: args.micro_batch,
            recompute: args.recompute,
            sharding: args.together.sharding()?,
            resume: args.resume && run.is_first,
        };
        plan.task_runs(&plan.tasks[0])?;
        Ok(plan)
    }
}

/// The tasks that are named, or those of task files.
fn named_tasks(args: &FinetuneRunArgs) -> Result<Vec<flava_tasks::Task>> {
    let files = &args.data_args.task_file;
    if args.task.is_none() && files.is_empty() {
        let reason = "name a task, such as vqa, or give data of your own with --train";
        return Err(refused(reason.into()));
    }
    asked_for(files, args.task.as_deref(), None, Suite::Paper)
}

fn refused(reason: String) -> Error {
    Error::Usage {
        argument: "TASK",
        reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grid_has_every_point_once() {
        let sweeps = ["lr=1e-5,3e-5".to_owned(), "epochs=3, 10".to_owned()];
        let points = points(&sweeps).unwrap();
        let told: Vec<String> = points.iter().map(|point| point.join(" ")).collect();
        assert_eq!(
            told,
            [
                "lr=1e-5 epochs=3",
                "lr=1e-5 epochs=10",
                "lr=3e-5 epochs=3",
                "lr=3e-5 epochs=10"
            ]
        );
        for wrong in [&["lr"][..], &["lr="], &["lr=1,,2"], &["lr=1", "lr=2"]] {
            let wrong: Vec<String> = wrong.iter().map(|s| (*s).to_owned()).collect();
            assert!(super::points(&wrong).is_err(), "{wrong:?}");
        }
    }
}
