//! What a plan's tasks are expected to cost, so that a run knows what is left of it.

use std::collections::HashSet;

use flava_model::{FlavaConfig, flops, runtime::ExpectedWork};
use flava_tasks::{Method, Recipe, Source, Split, Tower};

use super::task::origin;
use crate::{Plan, TaskRun, features::rows_kind, finetune::answers_kind, methods::FITS};

/// Tokens of a text, about.
const TOKENS: usize = 24;
/// Operations of a training step for each of a forward pass: twice as many backward, and products
/// that are smaller for their size.
const TRAINING: f64 = 5.0;
/// Operations that reading and decoding an image takes as long as.
const IMAGE: f64 = 3e7;
/// Operations that a row and class of a probe's search takes, for each number of a feature.
const SEARCH: f64 = 1200.0;
/// Operations a second that costs are counted at before any work was measured.
pub(super) const SPEED: f64 = 5e10;
/// What a training is called among kinds of work.
const TRAINING_KIND: &str = "training";

/// Seconds that a row is expected to take through an encoder, with what it takes to read it, before
/// any was measured.
pub(crate) fn row_cost(config: &FlavaConfig, tower: Tower) -> f64 {
    row_operations(config, tower) / SPEED
}

fn row_operations(config: &FlavaConfig, tower: Tower) -> f64 {
    match tower {
        Tower::Image => IMAGE + flops::one_image(config),
        Tower::Text => flops::one_text(config, TOKENS),
        Tower::Multimodal => IMAGE + flops::one_pair(config, TOKENS),
    }
}

/// What the tasks of a plan cost on a model of `config`, for each second of which so many
/// operations are done.
pub(super) fn works<'p>(
    plan: &Plan,
    planned: impl Iterator<Item = (&'p str, &'p TaskRun)>,
    config: &FlavaConfig,
) -> Vec<ExpectedWork> {
    let mut costs = Costs {
        plan,
        config,
        read: HashSet::new(),
        works: Vec::new(),
    };
    for (name, task_run) in planned {
        costs.add_task(name, task_run);
    }
    costs.works
}

/// The work of tasks, as far as their rows tell.
struct Costs<'a> {
    plan: &'a Plan,
    config: &'a FlavaConfig,
    /// The features that an earlier task reads.
    read: HashSet<String>,
    works: Vec<ExpectedWork>,
}

impl Costs<'_> {
    fn add(&mut self, piece: &str, kind: String, units: f64, operations: f64) {
        self.works.push(ExpectedWork {
            piece: piece.to_owned(),
            kind,
            units,
            cost: operations / SPEED,
        });
    }

    fn rows(&self, split: &Split) -> f64 {
        let all = split.rows;
        self.plan.limit.map_or(all, |limit| limit.of(all)) as f64
    }

    fn add_task(&mut self, name: &str, task_run: &TaskRun) {
        let Some(source) = task_run.task.sources.first() else {
            return;
        };
        match &task_run.assignment.method {
            Method::FineTune { feature } => {
                self.add_training(name, task_run, source, feature.tower);
            }
            Method::ZeroShot { .. } => self.add_rows(name, source, &source.test, Tower::Image),
            Method::Retrieval { .. } => {
                self.add_rows(name, source, &source.test, Tower::Image);
                let test = &source.test;
                let captions = test.captions.map_or(self.rows(test), |count| count as f64);
                let cost = row_operations(self.config, Tower::Text);
                self.add(name, rows_kind(Tower::Text), captions, cost);
            }
            method => {
                let tower = method
                    .feature()
                    .map_or(Tower::Image, |feature| feature.tower);
                source
                    .splits()
                    .for_each(|split| self.add_rows(name, source, split, tower));
                if matches!(method, Method::LinearProbe { .. }) {
                    let fit: f64 = source
                        .train
                        .iter()
                        .chain(&source.validation)
                        .map(|s| self.rows(s))
                        .sum();
                    let width = self.config.hidden_size as f64;
                    let classes = task_run.task.classes.max(2) as f64;
                    self.add(name, FITS.to_owned(), 1.0, SEARCH * fit * width * classes);
                }
            }
        }
    }

    /// Rows of a split through an encoder; those that an earlier task reads are there then.
    fn add_rows(&mut self, name: &str, source: &Source, split: &Split, tower: Tower) {
        let read = format!("{} {}", origin(source, split), tower.name());
        if self.read.insert(read) {
            let (rows, cost) = (self.rows(split), row_operations(self.config, tower));
            self.add(name, rows_kind(tower), rows, cost);
        }
    }

    fn add_training(&mut self, name: &str, task_run: &TaskRun, source: &Source, tower: Tower) {
        let tuning = &self.plan.tuning;
        let recipe = Recipe::of(&task_run.task, tuning.recipe.as_deref(), &tuning.set);
        let Ok((recipe, _)) = recipe else { return };
        let train = source.train.as_ref().map_or(0.0, |split| self.rows(split));
        let batch = recipe.batch_size as f64;
        let of_epochs = recipe.epochs.map(|epochs| epochs * (train / batch).ceil());
        let steps = recipe
            .steps
            .map(|steps| steps as f64)
            .or(of_epochs)
            .unwrap_or(0.0);
        let row = row_operations(self.config, tower);
        let step = row * TRAINING * batch.min(train.max(1.0));
        self.add(name, TRAINING_KIND.to_owned(), steps.ceil(), step);
        let each = match recipe.evaluate_every {
            0 => (train / batch).ceil(),
            every => every as f64,
        };
        let times = (steps / each.max(1.0)).ceil();
        let chosen = source.validation.as_ref().unwrap_or(&source.test);
        let chosen = times * self.rows(chosen);
        let tests: f64 = [&source.test]
            .into_iter()
            .chain(&source.second_test)
            .map(|s| self.rows(s))
            .sum();
        self.add(name, answers_kind(tower), chosen + tests, row);
    }
}
