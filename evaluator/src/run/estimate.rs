//! What a plan would do, without doing it.

use std::time::Instant;

use flava_base::human_duration;
use flava_model::{FlavaConfig, ImageInputs, Pretrained, flops};
use flava_tasks::{Error as TaskError, sources::OpenSplit};
use tch::{Kind, Tensor};

use super::{
    Planned,
    forecast::{SPEED, works},
    runs,
};
use crate::{Error, ModelChoice, Plan, Result, Subject, TaskRun, data::OpenTask, given::GivenTask};

/// Images that the model's speed is measured on at most, as a run takes them, and operations.
const BATCH: i64 = 32;
const MEASURED: f64 = 3e11;
/// Times that it is measured; the shortest counts.
const TIMES: usize = 3;

/// What is known of a task's data before it is run.
struct DataState {
    /// Ready, mismatched, missing or broken, and what of it.
    text: String,
    /// Rows that would be encoded.
    rows: usize,
    /// Whether it would be run.
    is_ready: bool,
}

/// What the plan would do, a line each: what data is there and whether it is what the protocol asks
/// for, how long it would take. And whether all of it is ready.
pub fn dry_run(plan: &Plan) -> Result<(Vec<String>, bool)> {
    let speed = Speed::of(plan)?;
    let mut lines = vec![heading(plan)];
    let (mut total, mut all_ready) = (0, true);
    let planned = Planned::of(plan);
    for Planned { name, task_run, .. } in &planned {
        match task_run {
            Ok(task_run) => {
                let state = DataState::of(plan, task_run);
                total += state.rows;
                all_ready &= state.is_ready;
                let version = task_run.task.version;
                let method = task_run.assignment.method.name();
                lines.push(format!(
                    "{name} (version {version}): {method}: {}",
                    state.text
                ));
            }
            Err(error) => {
                all_ready = false;
                lines.push(format!("{name}: {error}"));
            }
        }
    }
    let (time, out) = (speed.told(plan, &planned), plan.out.told());
    lines.push(format!(
        "{total} rows; {time}; results would take under 1 MB in {out}"
    ));
    Ok((lines, all_ready))
}

/// What would be measured, where, and by whose rules.
fn heading(plan: &Plan) -> String {
    let (device, title) = (plan.settings.device_name(), plan.subject.title());
    let protocol = plan.protocol.name();
    match &plan.subject {
        Subject::Model(_) => {
            let precision = plan.settings.load.precision.name();
            format!("{title} on {device} in {precision}, protocol {protocol}")
        }
        Subject::Given(folder) => {
            let folder = folder.path().display();
            format!("{title} in {folder}, on {device}, protocol {protocol}")
        }
    }
}

/// How long work takes.
enum Speed {
    /// The model would be fetched first.
    Unknown,
    /// Operations a second of an image through its encoder.
    Measured(Box<FlavaConfig>, f64),
    /// Features are there.
    Given,
}

impl Speed {
    fn of(plan: &Plan) -> Result<Self> {
        let choice = match &plan.subject {
            Subject::Model(choice) => choice,
            Subject::Given(_) => return Ok(Self::Given),
        };
        if let ModelChoice::Hub(repo) = choice
            && !plan.locator.has_model(repo)
        {
            return Ok(Self::Unknown);
        }
        let model = choice.load(&plan.settings, &plan.locator)?.model;
        let speed = flops::one_image(&model.config) / measure(&model)?;
        Ok(Self::Measured(Box::new(model.config.clone()), speed))
    }

    /// What tasks take.
    fn told(&self, plan: &Plan, planned: &[Planned]) -> String {
        match self {
            Self::Unknown => "the model is not here yet: it would be fetched first".to_owned(),
            Self::Measured(config, speed) => {
                let works = works(plan, runs(planned), config);
                let seconds: f64 = works.iter().map(|work| work.units * work.cost).sum();
                format!("about {}", human_duration(seconds * SPEED / speed))
            }
            Self::Given => "nothing is encoded".to_owned(),
        }
    }
}

impl DataState {
    fn of(plan: &Plan, task_run: &TaskRun) -> Self {
        let lacking = |text: String| Self {
            text,
            rows: 0,
            is_ready: false,
        };
        match Self::local(plan, task_run) {
            Ok(state) => state,
            Err(Error::Task(error @ TaskError::Missing { .. })) => {
                lacking(format!("missing: {error}"))
            }
            Err(error) => lacking(format!("broken: {error}")),
        }
    }

    fn local(plan: &Plan, task_run: &TaskRun) -> Result<Self> {
        let TaskRun {
            task, assignment, ..
        } = task_run;
        let choice = task.find_source(assignment, &plan.locator, true)?;
        let opened = OpenTask::open(task, choice, plan.seed)?;
        let count = |split: &OpenSplit| {
            let have = split.dataset.len();
            plan.limit.map_or(have, |limit| limit.of(have))
        };
        let rows: usize = opened.splits().map(count).sum();
        let source = opened.choice.source.name();
        let notes: String = opened
            .notes
            .iter()
            .map(|note| format!("; note: {note}"))
            .collect();
        if !opened.mismatches.is_empty() {
            let reasons = opened.mismatches.join("; ");
            return Ok(Self {
                text: format!("mismatched: {source}: {reasons}{notes}"),
                rows: if plan.allow_mismatch { rows } else { 0 },
                is_ready: plan.allow_mismatch,
            });
        }
        let counts = opened
            .splits()
            .map(|split| format!("{} {}", count(split), split.name));
        let counts = counts.collect::<Vec<_>>().join(", ");
        let (is_ready, features) = features(plan, task_run, &opened);
        let state = if is_ready { "ready" } else { "not ready" };
        Ok(Self {
            text: format!("{state}: {source}: {counts}{notes}{features}"),
            rows: if is_ready { rows } else { 0 },
            is_ready,
        })
    }
}

/// Whether given features are there and fit, and which they are; nothing where a model is to make
/// them.
fn features(plan: &Plan, task_run: &TaskRun, opened: &OpenTask) -> (bool, String) {
    let Some(folder) = plan.subject.given() else {
        return (true, String::new());
    };
    match GivenTask::open(folder, task_run, opened) {
        Ok(given) => (true, format!("; features: {}", given.described())),
        Err(error) => (false, format!("; features: {error}")),
    }
}

/// Seconds that an image takes.
fn measure(model: &Pretrained) -> Result<f64> {
    let _guard = tch::no_grad_guard();
    let side = model.config.image_config.image_size;
    let batch = (MEASURED / flops::one_image(&model.config)) as i64;
    let batch = batch.clamp(4, BATCH);
    let pixels = Tensor::f_zeros([batch, 3, side, side], (Kind::Float, model.options.device))?;
    let inputs = ImageInputs::new(pixels.f_to_kind(model.options.precision.kind())?);
    let flava = model.flava()?;
    flava.encode_image_cls(&inputs)?; // the first run allocates and compiles
    let mut shortest = f64::INFINITY;
    for _ in 0..TIMES {
        let start = Instant::now();
        let cls = flava.encode_image_cls(&inputs)?.cls();
        let _waited = cls.f_sum(Kind::Float)?.double_value(&[]);
        shortest = shortest.min(start.elapsed().as_secs_f64());
    }
    Ok(shortest / batch as f64)
}
