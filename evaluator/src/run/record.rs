//! From what a method gave to a record.

use std::collections::BTreeMap;

use flava_results::{MetricValue, Record, RunFolder, timestamp};
use flava_tasks::{Metric, Predictions};
use serde_json::{Map, Value, json};

use super::{
    size::hub_task,
    task::{Measurement, Tasks},
};
use crate::{
    Error, Result, TaskRun,
    features::{FeatureSource, Rows, numerics},
    methods::MethodOutput,
    program,
    score::scores_of_all,
};

/// What a record says besides what was run.
struct Told {
    metrics: Vec<MetricValue>,
    departures: Vec<String>,
    notes: Vec<String>,
}

impl Tasks<'_> {
    /// The record of what a method gave; its predictions are written first.
    pub(super) fn record(
        &self,
        run: &Measurement,
        mut output: MethodOutput,
        folder: &RunFolder,
    ) -> Result<Record> {
        let Measurement {
            task_run,
            opened,
            splits,
            provenance,
            ..
        } = run;
        let TaskRun {
            task, assignment, ..
        } = task_run;
        let departures = self.departures(run, &output);
        let mut notes = self.notes(run, &output);
        notes.extend(opened.notes.iter().chain(&provenance.notes).cloned());
        notes.extend(opened.mismatches.iter().cloned());
        let names = splits.tests().map(|rows| rows.split.name.clone());
        let predictions = std::mem::take(&mut output.predictions);
        let predictions: Vec<(String, Predictions)> = names.zip(predictions).collect();
        for (index, (split, predictions)) in predictions.iter().enumerate() {
            let file = folder.new_predictions(&task_run.name(), (index > 0).then_some(split));
            predictions.write(&file, &task.name)?;
        }
        let metrics = metrics(task_run, &predictions, output.spread)?;
        let main = assignment.metrics[0];
        if let Some(slices) = slices(&splits.test, &predictions[0].1, main, &task.name) {
            output.details.insert("slices".into(), slices);
        }
        if let FeatureSource::Given(given) = run.source {
            output.details.insert("given".into(), given.detail());
        }
        let told = Told {
            metrics,
            departures,
            notes,
        };
        Ok(self.assemble(run, output, told))
    }

    fn assemble(&self, run: &Measurement, output: MethodOutput, told: Told) -> Record {
        let (opened, test, provenance) = (run.opened, &run.splits.test, &run.provenance);
        let TaskRun {
            task,
            assignment,
            variant,
        } = run.task_run;
        let (method, size) = (&assignment.method, &provenance.size);
        let own = || provenance.transform_of(method);
        let initialisation = provenance.initialisation.clone();
        Record {
            task: task.name.clone(),
            variant: variant.clone(),
            key: String::new(),
            task_version: task.version,
            suite: task.suite.name().into(),
            family: task.family.name().into(),
            protocol: assignment.protocol.name().into(),
            method: method.name().into(),
            feature: provenance.feature.clone(),
            split: test.split.name.clone(),
            metrics: told.metrics,
            chance: task.chance,
            train_rows: output.train_rows,
            skipped: output.skipped,
            rows_of: test.dataset().len(),
            parameters: size.parameters,
            flops_per_row: size.flops_per_row,
            hub_task: hub_task(method, task.family, assignment.metrics[0]).into(),
            model: self.plan.subject.name(),
            model_revision: provenance.revision.clone(),
            model_fingerprint: provenance.fingerprint.clone(),
            data: opened.choice.source.name().to_owned(),
            data_revision: opened.choice.located.revision.clone(),
            data_fingerprint: test.fingerprint.clone(),
            transform: output.transform.unwrap_or_else(own),
            precision: provenance.precision.clone(),
            device: self.plan.settings.device_name(),
            seed: self.plan.seed,
            publishable: told.departures.is_empty(),
            departures: told.departures,
            initialisation: initialisation.unwrap_or(output.initialisation),
            recipe: output.recipe,
            recipe_digest: output.recipe_digest,
            mismatches: opened.mismatches.clone(),
            notes: told.notes,
            details: output.details,
            program: program(),
            commit: flava_results::COMMIT.into(),
            date: timestamp(),
            seconds: 0.0,
        }
    }

    /// What is done otherwise than the protocol has it.
    fn departures(&self, run: &Measurement, output: &MethodOutput) -> Vec<String> {
        let (task_run, opened, splits) = (run.task_run, run.opened, &run.splits);
        let mut found = output.departures.clone();
        if splits.all().any(|rows| rows.len() < rows.dataset().len()) {
            found.push("--limit".into());
        }
        if output.skipped > 0 {
            found.push(format!("{} rows left out", output.skipped));
        }
        if !task_run.variant.is_empty() {
            found.push(format!("run as {}", task_run.variant));
        }
        if self.plan.settings.store_f16 {
            found.push("features in f16".into());
        }
        if !opened.mismatches.is_empty() {
            found.push("other rows than the protocol's".into());
        }
        found
    }

    /// What a reader must know beside the number.
    fn notes(&self, run: &Measurement, output: &MethodOutput) -> Vec<String> {
        let (task_run, splits) = (run.task_run, &run.splits);
        let (own, asked) = (task_run.assignment.protocol, self.plan.protocol);
        let mut notes = Vec::new();
        if own != asked {
            let (own, asked) = (own.name(), asked.name());
            notes.push(format!(
                "run under protocol {own}: the rows of {asked} are not known"
            ));
        }
        for rows in splits.all() {
            let (have, count) = (rows.dataset().len(), rows.len());
            if count < have {
                let split = &rows.split.name;
                notes.push(format!("a sample of {count} of the {have} rows of {split}"));
            }
        }
        if output.skipped > 0 {
            let count = output.skipped;
            notes.push(format!("{count} rows with broken images were left out"));
        }
        if !numerics().is_empty() {
            notes.push(format!("computed under{}", numerics()));
        }
        notes.extend(output.notes.iter().cloned());
        notes
    }
}

/// The scores of predictions, the main one first.
fn metrics(
    task_run: &TaskRun,
    predictions: &[(String, Predictions)],
    spread: f64,
) -> Result<Vec<MetricValue>> {
    let assignment = &task_run.assignment;
    let mut metrics = scores_of_all(&assignment.metrics, predictions, &task_run.task.name)?;
    let main = assignment.metrics[0];
    match metrics.first_mut() {
        Some(first) if first.metric == main.name() => {
            if spread > 0.0 {
                widen(first, spread);
            }
            Ok(metrics)
        }
        _ => {
            let method = assignment.method.name();
            Err(Error::Undefined {
                metric: main,
                reason: format!("cannot be computed from what {method} gives"),
            })
        }
    }
}

/// The main metric of each kind of row, where the data tells kinds, as VQA tells kinds of answers.
fn slices(rows: &Rows, predictions: &Predictions, metric: Metric, task: &str) -> Option<Value> {
    let kind = |&row: &usize| rows.dataset().slice(row).map(str::to_owned);
    let kinds: Vec<String> = rows.indices().iter().map(kind).collect::<Option<_>>()?;
    if kinds.len() != predictions.len() {
        return None;
    }
    let mut by_kind: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, kind) in kinds.iter().enumerate() {
        by_kind.entry(kind).or_default().push(index);
    }
    let score = |indices: &Vec<usize>| {
        let score = metric.score(&predictions.pick(indices), task)?;
        Some(json!({
            metric.name(): score.value,
            "ci_low": score.ci_low,
            "ci_high": score.ci_high,
            "n": score.n,
        }))
    };
    let mut slices = Map::new();
    for (kind, indices) in &by_kind {
        slices.insert((*kind).to_owned(), score(indices).unwrap_or_default());
    }
    Some(slices.into())
}

/// An interval over rows that also holds what other draws of the training rows would have given.
fn widen(metric: &mut MetricValue, deviation: f64) {
    const TWO_SIDED_95: f64 = 1.96;
    let half = |end: f64| (end - metric.value).hypot(TWO_SIDED_95 * deviation);
    let (low, high) = (half(metric.ci_low), half(metric.ci_high));
    (metric.ci_low, metric.ci_high) = (
        (metric.value - low).max(0.0),
        (metric.value + high).min(1.0),
    );
    metric.standard_error = metric.standard_error.hypot(deviation);
    metric.interval = format!("{} and draws", metric.interval);
}
