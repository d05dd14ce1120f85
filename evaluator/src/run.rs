//! Carries a plan out, task by task; what is finished is written before the next begins.

use std::time::Instant;

use flava_model::{ImageInputs, Pretrained, runtime::Progress};
use flava_results::{MetricValue, Record, RunFolder, timestamp};
use flava_tasks::{Assignment, Method, Metric, Predictions, Task, sources::OpenSplit};
use tch::{Kind, Tensor};

use crate::{
    Error, ModelChoice, Plan, Result, data, embedded,
    features::{Extractor, Rows},
    methods::{Answer, Job, Splits, answer},
};

/// How a run ended.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What was measured, in order.
    pub records: Vec<Record>,
    /// Tasks that failed, and why.
    pub failures: Vec<(String, Error)>,
    /// What stands below the table.
    pub notes: Vec<String>,
}

/// Runs the plan's tasks. An error here means that nothing could be run; tasks that fail are in the outcome.
pub fn run(plan: &Plan) -> Result<Outcome> {
    let folder = RunFolder::create(&plan.out)?;
    let loaded = plan.model.load(&plan.settings, &plan.places)?;
    if !loaded.model.report.unexpected.is_empty() {
        eprintln!("{}", loaded.model.report);
    }
    let progress = Progress::new(plan.tasks.len(), "tasks", plan.settings.quiet);
    let mut outcome = Outcome::default();
    if plan.model == ModelChoice::Embedded {
        outcome.notes.push(embedded::NOTE.into());
    }
    for task in &plan.tasks {
        let extractor = Extractor { model: &loaded.model, settings: &plan.settings, progress: &progress };
        let result = run_task(plan, task, &extractor, &loaded.revision).and_then(|record| {
            folder.write(&record)?;
            Ok(record)
        });
        match result {
            Ok(record) => {
                let score = record.main();
                progress.say(&format!("{}: {} {:.4} on {} rows in {:.1} s", task.name, score.metric, score.value, score.n, record.seconds));
                outcome.notes.extend(record.notes.iter().map(|note| format!("{}: {note}", task.name)));
                outcome.records.push(record);
            }
            Err(error) => {
                progress.say(&format!("{}: failed: {error}", task.name));
                outcome.failures.push((task.name.clone(), error));
            }
        }
        progress.step();
    }
    progress.finish();
    Ok(outcome)
}

/// What is run for a task under the plan's protocol.
fn assign(plan: &Plan, task: &Task) -> Result<Assignment> {
    let assignment = task.assign(plan.protocol);
    assignment.ok_or_else(|| Error::Other(format!("{} has no protocol {}", task.name, plan.protocol.name())))
}

fn run_task(plan: &Plan, task: &Task, extractor: &Extractor, model_revision: &str) -> Result<Record> {
    let start = Instant::now();
    let assignment = assign(plan, task)?;
    if matches!(assignment.method, Method::FineTune { .. }) {
        return Err(Error::Other("it is measured after fine-tuning, which this version cannot do yet".into()));
    }
    let opened = data::open(plan, task, &assignment)?;
    let prompts = data::prompts(plan, task, &assignment, &opened)?;
    let rows = |split: &OpenSplit| Rows::new(split.clone(), plan.limit, plan.seed);
    let splits =
        Splits { train: opened.train.as_ref().map(rows), validation: opened.validation.as_ref().map(rows), test: rows(&opened.test) };
    let job =
        Job { task, assignment: &assignment, splits: &splits, prompts: prompts.as_ref().map(|chosen| &chosen.prompts), seed: plan.seed };
    let answer = answer(&job, extractor)?;
    let metrics: Vec<MetricValue> = assignment.metrics.iter().filter_map(|metric| score(*metric, &answer.predictions)).collect();
    if metrics.first().is_none_or(|first| first.metric != assignment.metrics[0].name()) {
        return Err(Error::Other(format!(
            "{} cannot be computed from what {} gives",
            assignment.metrics[0].name(),
            assignment.method.name()
        )));
    }
    let feature = assignment.method.feature_name();
    let mut notes = notes(plan, &assignment, &splits, &answer);
    notes.extend(opened.mismatches.iter().cloned());
    let mut details = answer.details;
    if let Some(chosen) = &prompts {
        details.insert("prompts".into(), serde_json::json!({ "from": chosen.origin, "digest": chosen.digest() }));
    }
    let whole = splits.all().all(|rows| rows.len() == rows.split.dataset.len()) && answer.skipped == 0;
    Ok(Record {
        task: task.name.clone(),
        task_version: task.version,
        family: task.family.name().into(),
        protocol: assignment.protocol.name().into(),
        method: assignment.method.name().into(),
        feature: feature.into(),
        split: splits.test.split.name.clone(),
        metrics,
        chance: task.chance,
        train_rows: answer.train_rows,
        skipped: answer.skipped,
        model: plan.model.name(),
        model_revision: model_revision.to_owned(),
        model_fingerprint: extractor.model.fingerprint.clone(),
        data: opened.choice.source.name().to_owned(),
        data_revision: opened.choice.located.revision.clone(),
        data_fingerprint: data::fingerprint(&opened.test)?,
        transform: if feature == "text_cls" { String::new() } else { extractor.transform().id() },
        precision: plan.settings.load.precision.name().into(),
        device: plan.settings.device_name(),
        seed: plan.seed,
        publishable: whole && opened.mismatches.is_empty(),
        mismatches: opened.mismatches,
        notes,
        details,
        program: format!("flava {}", env!("CARGO_PKG_VERSION")),
        date: timestamp(),
        seconds: start.elapsed().as_secs_f64(),
    })
}

fn score(metric: Metric, predictions: &Predictions) -> Option<MetricValue> {
    let score = metric.score(predictions)?;
    Some(MetricValue {
        metric: metric.name().into(),
        value: score.value,
        standard_error: score.standard_error,
        ci_low: score.ci_low,
        ci_high: score.ci_high,
        n: score.n,
    })
}

/// What a reader must know beside the number.
fn notes(plan: &Plan, assignment: &Assignment, splits: &Splits, answer: &Answer) -> Vec<String> {
    let mut notes = Vec::new();
    if assignment.protocol != plan.protocol {
        notes.push(format!("run under protocol {}: the rows of {} are not known", assignment.protocol.name(), plan.protocol.name()));
    }
    for rows in splits.all() {
        let have = rows.split.dataset.len();
        if rows.len() < have {
            notes.push(format!("a sample of {} of the {have} rows of {}", rows.len(), rows.split.name));
        }
    }
    if answer.skipped > 0 {
        notes.push(format!("{} rows with broken pictures were left out", answer.skipped));
    }
    if answer.details.get("converged") == Some(&false.into()) {
        notes.push("the probe's fit reached its limit of iterations".into());
    }
    // With this many of twenty random orders as good, a right order would be a coincidence (p > 0.1).
    if answer.details.get("class_order").and_then(|test| test["orders_as_good"].as_u64()).is_some_and(|as_good| as_good > 2) {
        notes.push(
            "class names in a random order score as well: the model cannot tell the classes, or the names are not in the labels' order"
                .into(),
        );
    }
    notes
}

/// What the plan would do, a line each: what data is there and whether it is what the protocol asks for, how long it would take.
pub fn dry_run(plan: &Plan) -> Result<String> {
    let settings = plan.settings;
    let there = if let ModelChoice::Hub(repo) = &plan.model { plan.places.has_model(repo) } else { true };
    let seconds_per_row = if there { Some(measure(&plan.model.load(&settings, &plan.places)?.model)?) } else { None };
    let mut lines = vec![format!(
        "model {} on {} in {}, protocol {}",
        plan.model.name(),
        settings.device_name(),
        settings.load.precision.name(),
        plan.protocol.name()
    )];
    let mut total = 0;
    for task in &plan.tasks {
        let (state, rows) = state(plan, task);
        total += rows;
        lines.push(format!("{} (version {}): {}: {state}", task.name, task.version, task.method.name()));
    }
    let time = seconds_per_row.map_or_else(
        || "the model is not here yet: it would be fetched first".into(),
        |seconds| format!("encoding would take about {:.0} s", (seconds * total as f64).ceil()),
    );
    lines.push(format!("{total} rows; {time}; results would take under 1 MB in {}", plan.out.display()));
    Ok(lines.join("\n"))
}

/// Whether a task's data is ready, mismatched, missing or broken, and how many rows would be encoded.
fn state(plan: &Plan, task: &Task) -> (String, usize) {
    let local = |assignment: &Assignment| -> Result<(String, usize)> {
        let choice = task.find_source(assignment, &plan.places, true)?;
        let opened = data::OpenTask::open(task, choice, plan.seed)?;
        let count = |split: &OpenSplit| plan.limit.map_or(split.dataset.len(), |limit| limit.min(split.dataset.len()));
        let rows: Vec<String> = opened.splits().map(|split| format!("{} {}", count(split), split.name)).collect();
        let total = opened.splits().map(count).sum();
        let source = opened.choice.source.name();
        Ok(match opened.mismatches.as_slice() {
            [] => (format!("ready: {source}: {}", rows.join(", ")), total),
            reasons => (format!("mismatched: {source}: {}", reasons.join("; ")), if plan.allow_mismatch { total } else { 0 }),
        })
    };
    let tuned = matches!(task.method, Method::FineTune { .. });
    match assign(plan, task).and_then(|assignment| local(&assignment)) {
        Ok((found, _)) if tuned => (format!("{found} (needs fine-tuning, which this version cannot do yet)"), 0),
        Ok(found) => found,
        Err(Error::Task(error @ flava_tasks::Error::Missing { .. })) => (format!("missing: {error}"), 0),
        Err(error) => (format!("broken: {error}"), 0),
    }
}

/// Seconds that a picture takes.
fn measure(model: &Pretrained) -> Result<f64> {
    const BATCH: i64 = 8;
    let _guard = tch::no_grad_guard();
    let side = model.config.image_config.image_size;
    let pixels = Tensor::f_zeros([BATCH, 3, side, side], (Kind::Float, model.options.device))?.f_to_kind(model.options.precision.kind())?;
    let inputs = ImageInputs::new(pixels);
    model.flava.encode_image_cls(&inputs)?; // the first run allocates and compiles
    let start = Instant::now();
    let _sum = model.flava.encode_image_cls(&inputs)?.cls().f_sum(Kind::Float)?.double_value(&[]);
    Ok(start.elapsed().as_secs_f64() / BATCH as f64)
}
