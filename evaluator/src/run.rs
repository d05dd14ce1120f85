//! Carries a plan out, task by task; what is finished is written before the next begins.

use std::time::Instant;

use flava_model::{ImageInputs, Pretrained, runtime::Progress};
use flava_results::{MetricValue, Record, RunFolder, timestamp};
use flava_tasks::{Source, SourceFormat, Task};
use tch::{Kind, Tensor};

use crate::{
    Error, ModelChoice, Plan, Result, embedded,
    features::{Extractor, Rows},
    protocols::{Splits, answer, feature_name},
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
    let model = plan.model.load(&plan.settings)?;
    if !model.report.unexpected.is_empty() {
        eprintln!("{}", model.report);
    }
    let progress = Progress::new(plan.tasks.len(), "tasks", plan.settings.quiet);
    let mut outcome = Outcome::default();
    if plan.model == ModelChoice::Embedded {
        outcome.notes.push(embedded::NOTE.into());
    }
    for task in &plan.tasks {
        let extractor = Extractor { model: &model, settings: &plan.settings, progress: &progress };
        let result = run_task(plan, task, &extractor).and_then(|record| {
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

fn run_task(plan: &Plan, task: &Task, extractor: &Extractor) -> Result<Record> {
    let start = Instant::now();
    let source = task.find_source(plan.data.as_deref())?;
    let open = |split| task.open_split(source, split, plan.data.as_deref(), plan.seed).map(|split| Rows::new(split, plan.limit, plan.seed));
    let splits = Splits { train: source.train.as_ref().map(&open).transpose()?, test: open(&source.test)? };
    let answer = answer(task, &splits, extractor, plan.seed)?;
    let metric = |metric: &flava_tasks::Metric| {
        let score = metric.score(&answer.predictions)?;
        Some(MetricValue {
            metric: metric.name().into(),
            value: score.value,
            standard_error: score.standard_error,
            ci_low: score.ci_low,
            ci_high: score.ci_high,
            n: score.n,
        })
    };
    let metrics: Vec<MetricValue> = task.metrics.iter().filter_map(metric).collect();
    if metrics.is_empty() {
        return Err(Error::Other(format!("none of its metrics fits the protocol {}", task.protocol.name())));
    }
    let text_only = feature_name(&task.protocol) == "text_cls";
    Ok(Record {
        task: task.name.clone(),
        task_version: task.version,
        family: task.family.name().into(),
        protocol: task.protocol.name().into(),
        feature: feature_name(&task.protocol).into(),
        split: splits.test.split.name.clone(),
        metrics,
        chance: task.chance,
        train_rows: answer.train_rows,
        skipped: answer.skipped,
        model: plan.model.name(),
        model_fingerprint: extractor.model.fingerprint.clone(),
        data: data_name(source),
        data_revision: source.revision.clone(),
        data_fingerprint: splits.test.split.fingerprint(),
        transform: if text_only { String::new() } else { extractor.transform().id() },
        precision: plan.settings.load.precision.name().into(),
        device: plan.settings.device_name(),
        seed: plan.seed,
        notes: notes(&splits, answer.skipped, &answer.details),
        details: answer.details,
        program: format!("flava {}", env!("CARGO_PKG_VERSION")),
        date: timestamp(),
        seconds: start.elapsed().as_secs_f64(),
    })
}

fn data_name(source: &Source) -> String {
    if matches!(source.format, SourceFormat::Mini { .. }) { "mini (drawn)".into() } else { source.repo.clone() }
}

/// What a reader must know beside the number.
fn notes(splits: &Splits, skipped: usize, details: &serde_json::Map<String, serde_json::Value>) -> Vec<String> {
    let mut notes = Vec::new();
    for rows in splits.train.iter().chain([&splits.test]) {
        let (name, have, expected) = (&rows.split.name, rows.split.dataset.len(), rows.split.expected);
        if have != expected {
            notes.push(format!("split {name} has {have} rows, {expected} were expected: this is not the published split"));
        }
        if rows.len() < have {
            notes.push(format!("a sample of {} of the {have} rows of {name}", rows.len()));
        }
    }
    if skipped > 0 {
        notes.push(format!("{skipped} rows with broken pictures were left out"));
    }
    if details.get("converged") == Some(&false.into()) {
        notes.push("the probe's fit reached its limit of iterations".into());
    }
    notes
}

/// What the plan would do, a line each: what data is there, how many rows, how long it would take.
pub fn dry_run(plan: &Plan) -> Result<String> {
    let model = plan.model.load(&plan.settings)?;
    let seconds_per_row = measure(&model)?;
    let settings = plan.settings;
    let mut lines = vec![format!("model {} on {} in {}", plan.model.name(), settings.device_name(), settings.load.precision.name())];
    let mut total = 0.0;
    for task in &plan.tasks {
        let (state, rows) = match task.find_source(plan.data.as_deref()) {
            Err(error) => (error.to_string(), 0),
            Ok(source) => {
                let count = |split: &flava_tasks::Split| plan.limit.map_or(split.rows, |limit| limit.min(split.rows));
                let (train, test) = (source.train.as_ref().map_or(0, count), count(&source.test));
                (format!("{}: {train} rows to fit on, {test} to score", data_name(source)), train + test)
            }
        };
        total += rows as f64 * seconds_per_row;
        lines.push(format!(
            "{} (version {}): {} on {}; {state}",
            task.name,
            task.version,
            task.protocol.name(),
            feature_name(&task.protocol)
        ));
    }
    lines.push(format!("encoding would take about {:.0} s; results would take under 1 MB in {}", total.ceil(), plan.out.display()));
    Ok(lines.join("\n"))
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
