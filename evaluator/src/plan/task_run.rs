//! The ways in which a plan runs a task.

use flava_tasks::{Assignment, Feature, Method, Task};

use super::Plan;
use crate::{Error, Result, args::MethodArg};

/// A task, read and run in one way.
#[derive(Clone, Debug)]
pub struct TaskRun {
    /// The task.
    pub task: Task,
    /// How it is run.
    pub assignment: Assignment,
    /// What differs from the task's row; empty if nothing does.
    pub variant: String,
}

impl TaskRun {
    /// The name of its files.
    pub fn name(&self) -> String {
        if self.variant.is_empty() {
            self.task.name.clone()
        } else {
            format!("{}.{}", self.task.name, self.variant)
        }
    }

    /// A task that is fine-tuned, whatever its own method is.
    fn tuned(task: &Task, assignment: Assignment) -> Result<Self> {
        let method = assignment.method.name();
        let is_own = matches!(assignment.method, Method::FineTune { .. });
        let Some(feature) = assignment.method.feature() else {
            let name = &task.name;
            let reason = format!("{name} is run by {method}: there is nothing to fine-tune");
            return Err(Error::Usage {
                argument: "TASK",
                reason,
            });
        };
        Ok(Self {
            task: task.clone(),
            assignment: Assignment {
                method: Method::FineTune { feature },
                ..assignment
            },
            variant: if is_own { "" } else { "fine_tune" }.to_owned(),
        })
    }
}

impl Plan {
    /// The ways in which a task is run, one for each feature that is asked for.
    pub(crate) fn task_runs(&self, task: &Task) -> Result<Vec<TaskRun>> {
        if task.open.any() {
            // What its data lacks is told by whoever tries to read it.
            let task = self.locator.whole(task)?;
            return self.task_runs(&task);
        }
        let protocol = self.protocol.name();
        let none = || Error::Lacking {
            what: "protocol",
            reason: format!("{} has no protocol {protocol}", task.name),
        };
        let assignment = task.assign(self.protocol).ok_or_else(none)?;
        if self.subject.given().is_some() {
            check_method(&task.name, &assignment)?;
        }
        if self.tuning.always {
            return Ok(vec![TaskRun::tuned(task, assignment)?]);
        }
        let Method::LinearProbe { feature } = assignment.method else {
            return Ok(vec![TaskRun {
                task: task.clone(),
                assignment,
                variant: String::new(),
            }]);
        };
        let features = if self.features.is_empty() {
            vec![feature]
        } else {
            self.features.clone()
        };
        let fitting = features
            .into_iter()
            .filter(|read| read.tower == feature.tower);
        let task_runs: Vec<TaskRun> = fitting
            .map(|read| self.probed(task, &assignment, read))
            .collect();
        if task_runs.is_empty() {
            let (name, feature) = (&task.name, feature.name());
            let reason = format!("{name} reads {feature}: none of --features is of that encoder");
            return Err(Error::Usage {
                argument: "--features",
                reason,
            });
        }
        Ok(task_runs)
    }

    /// A task of a linear probe, on other states or by another method where that is asked for.
    fn probed(&self, task: &Task, assignment: &Assignment, read: Feature) -> TaskRun {
        let own = assignment.method.feature();
        let mut assignment = assignment.clone();
        let mut variant = Vec::new();
        match self.method {
            Some(MethodArg::Knn) => assignment.method = Method::Knn { feature: read },
            Some(MethodArg::FewShot) => assignment.method = Method::FewShot { feature: read },
            _ => assignment.method.set_feature(read),
        }
        if self.method.is_some() {
            variant.push(assignment.method.name().to_owned());
        }
        if own != Some(read) {
            variant.push(read.name());
        }
        if self.full_sweep && self.method.is_none() {
            variant.push("full_sweep".to_owned());
        }
        TaskRun {
            task: task.clone(),
            assignment,
            variant: variant.join("."),
        }
    }
}

/// Refuses tasks that read more of a model than features.
///
/// # Errors
/// If this is one.
fn check_method(task: &str, assignment: &Assignment) -> Result<()> {
    let needs = match &assignment.method {
        Method::FineTune { .. } => "fine-tunes the model itself",
        Method::Retrieval { rerank: Some(_) } => "ranks with the model's matching head",
        _ => return Ok(()),
    };
    Err(Error::Usage {
        argument: "--features-from",
        reason: format!("--features-from: {task} {needs}, which features do not stand for"),
    })
}
