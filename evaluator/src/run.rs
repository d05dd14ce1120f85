//! Carries a plan out, task by task; what is finished is written before the next begins, and is not
//! done again.

use std::{collections::HashMap, time::Instant};

use flava_base::hex;
use flava_heads::ItmHead;
use flava_model::{
    ImageInputs, Pretrained,
    checkpoint::Checkpoint,
    runtime::{Fill, Progress, Vars},
};
use flava_results::{Record, RunFolder, timestamp};
use flava_tasks::{
    Error as TaskError, Feature, Method, Predictions, Recipe, Source, Split, Task,
    sources::OpenSplit,
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tch::{Kind, Tensor, nn::VarStore};

use crate::{
    Error, Loaded, ModelChoice, Piece, Plan, Result, cache, data,
    data::OpenTask,
    embedded,
    features::{Extractor, Rows, numerics},
    finetune::{Saved, head_digest, is_tuned},
    methods::{Answer, Job, Splits, answer, tuned},
    score::scores_of_all,
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
    /// Pieces of work that were planned.
    pub planned: usize,
    /// Whether Ctrl-C ended it.
    pub interrupted: bool,
}

/// What all pieces of a run share.
pub(crate) struct Run<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) loaded: &'a Loaded,
    pub(crate) extractor: Extractor<'a>,
}

/// Runs the plan's tasks. An error here means that nothing could be run; tasks that fail are in the
/// outcome.
pub fn run(plan: &Plan) -> Result<Outcome> {
    let planned: Vec<(String, Result<Piece>)> = plan
        .tasks
        .iter()
        .flat_map(|task| pieces(plan, task))
        .collect();
    let names: Vec<String> = planned.iter().map(|(name, _)| name.clone()).collect();
    let loaded = plan.model.load(&plan.settings, &plan.places)?;
    let mut folder = RunFolder::open(&plan.out, &describe(plan, &names), &names)?;
    let rows = |piece: &Result<Piece>| {
        piece
            .as_ref()
            .map_or(0, |piece| expected_rows(piece, plan.limit))
    };
    let mut progress = Progress::new(
        planned.iter().map(|(_, piece)| rows(piece)).sum(),
        "rows",
        plan.settings.quiet,
    );
    let log = plan.out.join("run.log");
    progress
        .log_to(&log)
        .map_err(|e| Error::Other(format!("{}: {e}", log.display())))?;
    progress.say(&format!(
        "{}: {} with model {}",
        timestamp(),
        program(),
        plan.model.name()
    ));
    for note in folder.take_notes().iter().chain(&loaded.model.notes) {
        progress.say(&format!("note: {note}"));
    }
    let mut extractor = Extractor::new(&loaded.model, &plan.settings, &progress);
    // Which rows are broken may change while their ids stay: what lacks some is not kept.
    extractor.store = if plan.cache && !plan.settings.skip_broken {
        cache::store()
    } else {
        None
    };
    let mut run = Run {
        plan,
        loaded: &loaded,
        extractor,
    };
    let mut outcome = Outcome {
        planned: planned.len(),
        ..Outcome::default()
    };
    if plan.model == ModelChoice::Embedded {
        outcome.notes.push(embedded::NOTE.into());
    }
    let mut reached = 0;
    for (place, (name, piece)) in planned.iter().enumerate() {
        run.extractor.later = later(&planned[place + 1..]);
        let result = match piece {
            Ok(piece) => run.piece(piece, &mut folder),
            Err(error) => Err(Error::Other(error.to_string())),
        };
        reached += rows(piece);
        progress.reach(reached);
        for note in folder.take_notes() {
            progress.say(&format!("note: {note}"));
            outcome.notes.push(note);
        }
        match result {
            Ok(record) => {
                let score = record.main();
                progress.say(&format!(
                    "{name}: {} {:.4} on {} rows in {:.1} s",
                    score.metric, score.value, score.n, record.seconds
                ));
                outcome
                    .notes
                    .extend(record.notes.iter().map(|note| format!("{name}: {note}")));
                outcome.records.push(record);
            }
            Err(Error::Interrupted) => {
                outcome.interrupted = true;
                break;
            }
            Err(error) => {
                progress.say(&format!("{name}: failed: {error}"));
                folder.fail(name, &error.to_string())?;
                outcome.failures.push((name.clone(), error));
            }
        }
    }
    progress.finish();
    Ok(outcome)
}

/// A task's pieces of work by name; a task that has none under the plan stands as one that fails.
fn pieces(plan: &Plan, task: &Task) -> Vec<(String, Result<Piece>)> {
    match plan.pieces(task) {
        Ok(pieces) => pieces
            .into_iter()
            .map(|piece| (piece.name(), Ok(piece)))
            .collect(),
        Err(error) => vec![(task.name.clone(), Err(error))],
    }
}

/// The plan as it is written down.
fn describe(plan: &Plan, names: &[String]) -> Value {
    json!({
        "model": plan.model.name(), "tasks": names, "protocol": plan.protocol.name(), "limit": plan.limit, "seed": plan.seed,
        "precision": plan.settings.load.precision.name(), "device": plan.settings.device_name(), "program": program(),
    })
}

fn program() -> String {
    format!("flava {}", env!("CARGO_PKG_VERSION"))
}

/// Rows that a piece of work is expected to encode.
fn expected_rows(piece: &Piece, limit: Option<usize>) -> usize {
    let splits = piece
        .task
        .sources
        .first()
        .into_iter()
        .flat_map(Source::splits);
    splits
        .map(|split| limit.map_or(split.rows, |limit| limit.min(split.rows)))
        .sum()
}

/// What rows of a split are called before anybody has opened it.
fn origin(source: &Source, split: &Split) -> String {
    format!(
        "{} {:?} {} {}",
        source.place(),
        source.format,
        split.files,
        split.name
    )
}

/// The features that pieces of work will read of each split.
fn later(planned: &[(String, Result<Piece>)]) -> HashMap<String, Vec<Feature>> {
    let mut later: HashMap<String, Vec<Feature>> = HashMap::new();
    for piece in planned.iter().filter_map(|(_, piece)| piece.as_ref().ok()) {
        let feature = piece
            .assignment
            .method
            .feature()
            .unwrap_or(Feature::IMAGE_EMBEDDING);
        if matches!(piece.assignment.method, Method::FineTune { .. }) {
            continue;
        }
        for source in &piece.task.sources {
            for split in source.splits() {
                later
                    .entry(origin(source, split))
                    .or_default()
                    .push(feature);
            }
        }
    }
    later
}

impl Run<'_> {
    /// A piece's record: an earlier one where it holds, else what is measured now.
    fn piece(&self, piece: &Piece, folder: &mut RunFolder) -> Result<Record> {
        let (plan, name) = (self.plan, piece.name());
        let start = Instant::now();
        let opened = data::open(plan, &piece.task, &piece.assignment)?;
        let prompts = data::prompts(plan, &piece.task, &piece.assignment, &opened)?;
        let splits = self.splits(&opened)?;
        let key = self.key(
            piece,
            &splits,
            prompts
                .as_ref()
                .map(|chosen| format!("{} {}", chosen.origin, chosen.digest())),
        )?;
        if let Some(record) = folder
            .finished(&name, &key)
            .filter(|record| !plan.again && record.skipped == 0)
        {
            folder.keep(&record)?;
            self.extractor.progress.say(&format!(
                "{name}: its record is there already (--again measures it again)"
            ));
            return Ok(record);
        }
        folder.start(&name)?;
        let itm_head = self.itm_head(piece)?;
        let job = Job {
            task: &piece.task,
            assignment: &piece.assignment,
            splits: &splits,
            prompts: prompts.as_ref().map(|chosen| &chosen.prompts),
            itm_head: itm_head.as_ref(),
            seed: plan.seed,
            full_sweep: plan.full_sweep,
            preview: plan.preview,
        };
        let mut answer = match piece.assignment.method {
            Method::FineTune { .. } => tuned(self, piece, &splits, &key)?,
            _ => answer(&job, &self.extractor)?,
        };
        if let Some(chosen) = &prompts {
            answer.details.insert(
                "prompts".into(),
                json!({ "from": chosen.origin, "digest": chosen.digest() }),
            );
            answer.notes.extend(chosen.note.clone());
            if plan.prompts.is_some() && chosen.note.is_none() {
                answer.departures.push("prompts of --prompts".into());
            }
        }
        let mut record = self.record(piece, &opened, &splits, answer, folder)?;
        (record.key, record.seconds) = (key, start.elapsed().as_secs_f64());
        let second = splits
            .second_test
            .as_ref()
            .map(|rows| Some(rows.split.name.as_str()));
        folder.finish(
            &record,
            &[None].into_iter().chain(second).collect::<Vec<_>>(),
        )?;
        Ok(record)
    }

    fn splits(&self, opened: &OpenTask) -> Result<Splits> {
        let source = opened.choice.source;
        let rows = |open: &OpenSplit, split: &Split| {
            Rows::new(
                open.clone(),
                &origin(source, split),
                self.plan.limit,
                self.plan.seed,
            )
        };
        let optional = |open: &Option<OpenSplit>, split: &Option<Split>| {
            open.as_ref()
                .zip(split.as_ref())
                .map(|(o, s)| rows(o, s))
                .transpose()
        };
        Ok(Splits {
            train: optional(&opened.train, &source.train)?,
            validation: optional(&opened.validation, &source.validation)?,
            test: rows(&opened.test, &source.test)?,
            second_test: optional(&opened.second_test, &source.second_test)?,
        })
    }

    /// A digest of everything that decides a piece's numbers.
    fn key(&self, piece: &Piece, splits: &Splits, prompts: Option<String>) -> Result<String> {
        let (plan, model) = (self.plan, &self.loaded.model);
        let device = if model.options.device.is_cuda() {
            "cuda"
        } else {
            "cpu"
        };
        let tunes = matches!(piece.assignment.method, Method::FineTune { .. });
        let tuned = tunes && is_tuned(&self.loaded.folder) && !plan.tuning.always;
        let recipe = if tuned {
            Some(Saved::read(&self.loaded.folder)?.recipe)
        } else if tunes {
            Some(Recipe::of(&piece.task, plan.tuning.recipe.as_deref(), &plan.tuning.set)?.0)
        } else {
            None
        };
        let head = if tuned {
            Some(head_digest(&self.loaded.folder)?)
        } else {
            None
        };
        let groups: Vec<String> = splits.all().map(groups).collect();
        let all = json!({
            "task": piece.task.name, "version": piece.task.version, "variant": piece.variant,
            "method": serde_json::to_value(&piece.assignment.method).unwrap_or_default(),
            "metrics": serde_json::to_value(&piece.assignment.metrics).unwrap_or_default(),
            "protocol": piece.assignment.protocol.name(), "model": model.identity(), "tokenizer": model.text.digest(),
            "rows": splits.all().map(|rows| rows.fingerprint.clone()).collect::<Vec<_>>(), "prompts": prompts,
            "seed": plan.seed, "precision": plan.settings.load.precision.name(), "device": device, "stored_f16": plan.settings.store_f16,
            "transform": self.extractor.transform().id(), "skip_broken": plan.settings.skip_broken, "program": program(),
            "batch_size": format!("{:?}", plan.settings.batch_size), "allow_mismatch": plan.allow_mismatch,
            "recipe": recipe, "random_init": plan.tuning.random_init, "micro_batch": plan.tuning.micro_batch, "head": head,
            "classes": piece.task.classes, "class_names": piece.task.class_names, "groups": groups, "numerics": numerics(),
        });
        Ok(hex(&Sha256::digest(all.to_string())[..16]))
    }

    /// The checkpoint's matching head, where a piece ranks with it.
    fn itm_head(&self, piece: &Piece) -> Result<Option<ItmHead>> {
        if !matches!(
            piece.assignment.method,
            Method::Retrieval { rerank: Some(_) }
        ) {
            return Ok(None);
        }
        let model = &self.loaded.model;
        let mut store = VarStore::new(model.options.device);
        store.set_kind(model.options.precision.kind());
        let head = ItmHead::new(
            &(Vars::root(&store, Fill::Unset) / "itm_head"),
            model.config.hidden_size,
        );
        Checkpoint::open(&self.loaded.folder)?
            .load_into(&store)?
            .require(&["itm_head"])?;
        store.freeze();
        Ok(Some(head))
    }

    /// The record of an answer; its predictions are written first.
    fn record(
        &self,
        piece: &Piece,
        opened: &OpenTask,
        splits: &Splits,
        answer: Answer,
        folder: &RunFolder,
    ) -> Result<Record> {
        let Piece {
            task, assignment, ..
        } = piece;
        let names = [&splits.test]
            .into_iter()
            .chain(&splits.second_test)
            .map(|rows| rows.split.name.clone());
        let departures = departures(self.plan, piece, (opened, splits), &answer);
        let mut notes = notes(self.plan, piece, splits, &answer);
        notes.extend(opened.notes.iter().chain(&self.loaded.model.notes).cloned());
        let predictions: Vec<(String, Predictions)> = names.zip(answer.predictions).collect();
        for (place, (split, predictions)) in predictions.iter().enumerate() {
            predictions.write(
                &folder.new_predictions(&piece.name(), (place > 0).then_some(split)),
                &task.name,
            )?;
        }
        let mut metrics = scores_of_all(&assignment.metrics, &predictions, &task.name)?;
        if answer.spread > 0.0 {
            metrics
                .iter_mut()
                .take(1)
                .for_each(|metric| widen(metric, answer.spread));
        }
        let mut details = answer.details;
        if let Some(slices) = slices(
            &splits.test,
            &predictions[0].1,
            assignment.metrics[0],
            &task.name,
        ) {
            details.insert("slices".into(), slices);
        }
        let main = assignment.metrics[0].name();
        if metrics.first().is_none_or(|first| first.metric != main) {
            return Err(Error::Other(format!(
                "{main} cannot be computed from what {} gives",
                assignment.method.name()
            )));
        }
        notes.extend(opened.mismatches.iter().cloned());
        let text_alone = assignment
            .method
            .feature()
            .is_some_and(|feature| feature.tower == flava_tasks::Tower::Text);
        Ok(Record {
            task: task.name.clone(),
            variant: piece.variant.clone(),
            key: String::new(),
            task_version: task.version,
            family: task.family.name().into(),
            protocol: assignment.protocol.name().into(),
            method: assignment.method.name().into(),
            feature: assignment.method.feature_name(),
            split: splits.test.split.name.clone(),
            metrics,
            chance: task.chance,
            train_rows: answer.train_rows,
            skipped: answer.skipped,
            model: self.plan.model.name(),
            model_revision: self.loaded.revision.clone(),
            model_fingerprint: self.loaded.model.fingerprint.clone(),
            data: opened.choice.source.name().to_owned(),
            data_revision: opened.choice.located.revision.clone(),
            data_fingerprint: splits.test.fingerprint.clone(),
            transform: if text_alone {
                String::new()
            } else {
                answer
                    .transform
                    .unwrap_or_else(|| self.extractor.transform().id())
            },
            precision: self.plan.settings.load.precision.name().into(),
            device: self.plan.settings.device_name(),
            seed: self.plan.seed,
            publishable: departures.is_empty(),
            departures,
            initialisation: answer.initialisation,
            recipe: answer.recipe.0,
            recipe_digest: answer.recipe.1,
            mismatches: opened.mismatches.clone(),
            notes,
            details,
            program: program(),
            date: timestamp(),
            seconds: 0.0,
        })
    }
}

/// The main metric of each kind of row, where the data tells kinds, as VQA tells kinds of answers.
fn slices(
    rows: &Rows,
    predictions: &Predictions,
    metric: flava_tasks::Metric,
    task: &str,
) -> Option<Value> {
    let kind = |&row: &usize| rows.dataset().slice(row).map(str::to_owned);
    let kinds: Vec<String> = rows
        .indices()
        .iter()
        .map(kind)
        .collect::<Option<_>>()
        .filter(|kinds: &Vec<String>| kinds.len() == predictions.len())?;
    let mut places: std::collections::BTreeMap<&str, Vec<usize>> =
        std::collections::BTreeMap::new();
    kinds
        .iter()
        .enumerate()
        .for_each(|(place, kind)| places.entry(kind).or_default().push(place));
    let score = |places: &Vec<usize>| {
        let score = metric.score(&predictions.pick(places), task)?;
        Some(
            json!({ metric.name(): score.value, "ci_low": score.ci_low, "ci_high": score.ci_high, "n": score.n }),
        )
    };
    Some(
        places
            .iter()
            .map(|(kind, places)| ((*kind).to_owned(), score(places).unwrap_or_default()))
            .collect::<serde_json::Map<_, _>>()
            .into(),
    )
}

/// An interval over rows that also holds what other draws of the training rows would have given.
fn widen(metric: &mut flava_results::MetricValue, deviation: f64) {
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

/// Which rows share a picture, and which are told apart by their kind: intervals, held-out rows and
/// slices go by both.
fn groups(rows: &Rows) -> String {
    let mut digest = Sha256::new();
    let mut first = HashMap::new();
    for &row in rows.indices() {
        let next = first.len();
        let cluster = *first.entry(rows.dataset().cluster(row)).or_insert(next);
        digest.update(format!("{cluster} {:?}\n", rows.dataset().slice(row)));
    }
    hex(&digest.finalize()[..8])
}

/// What is done otherwise than the protocol has it.
fn departures(
    plan: &Plan,
    piece: &Piece,
    (opened, splits): (&OpenTask, &Splits),
    answer: &Answer,
) -> Vec<String> {
    let mut found = answer.departures.clone();
    if splits.all().any(|rows| rows.len() < rows.dataset().len()) {
        found.push("--limit".into());
    }
    if answer.skipped > 0 {
        found.push(format!("{} rows left out", answer.skipped));
    }
    if !piece.variant.is_empty() {
        found.push(format!("run as {}", piece.variant));
    }
    if plan.settings.store_f16 {
        found.push("features in f16".into());
    }
    if !opened.mismatches.is_empty() {
        found.push("other rows than the protocol's".into());
    }
    found
}

/// What a reader must know beside the number.
fn notes(plan: &Plan, piece: &Piece, splits: &Splits, answer: &Answer) -> Vec<String> {
    let assignment = &piece.assignment;
    let mut notes = Vec::new();
    if assignment.protocol != plan.protocol {
        notes.push(format!(
            "run under protocol {}: the rows of {} are not known",
            assignment.protocol.name(),
            plan.protocol.name()
        ));
    }
    for rows in splits.all() {
        let have = rows.dataset().len();
        if rows.len() < have {
            notes.push(format!(
                "a sample of {} of the {have} rows of {}",
                rows.len(),
                rows.split.name
            ));
        }
    }
    if answer.skipped > 0 {
        notes.push(format!(
            "{} rows with broken pictures were left out",
            answer.skipped
        ));
    }
    if !numerics().is_empty() {
        notes.push(format!("computed under{}", numerics()));
    }
    notes.extend(answer.notes.iter().cloned());
    notes
}

/// What the plan would do, a line each: what data is there and whether it is what the protocol asks
/// for, how long it would take. And whether all of it is ready.
pub fn dry_run(plan: &Plan) -> Result<(Vec<String>, bool)> {
    let settings = plan.settings;
    let there = if let ModelChoice::Hub(repo) = &plan.model {
        plan.places.has_model(repo)
    } else {
        true
    };
    let seconds_per_row = if there {
        Some(measure(&plan.model.load(&settings, &plan.places)?.model)?)
    } else {
        None
    };
    let mut lines = vec![format!(
        "model {} on {} in {}, protocol {}",
        plan.model.name(),
        settings.device_name(),
        settings.load.precision.name(),
        plan.protocol.name()
    )];
    let (mut total, mut all_ready) = (0, true);
    for (name, piece) in plan.tasks.iter().flat_map(|task| pieces(plan, task)) {
        match piece {
            Ok(piece) => {
                let (state, rows, ready) = state(plan, &piece);
                total += rows;
                all_ready &= ready;
                lines.push(format!(
                    "{name} (version {}): {}: {state}",
                    piece.task.version,
                    piece.assignment.method.name()
                ));
            }
            Err(error) => {
                all_ready = false;
                lines.push(format!("{name}: {error}"));
            }
        }
    }
    let time = seconds_per_row.map_or_else(
        || "the model is not here yet: it would be fetched first".into(),
        |seconds| {
            format!(
                "encoding would take about {:.0} s",
                (seconds * total as f64).ceil()
            )
        },
    );
    lines.push(format!(
        "{total} rows; {time}; results would take under 1 MB in {}",
        plan.out.display()
    ));
    Ok((lines, all_ready))
}

/// Whether a piece's data is ready, mismatched, missing or broken, how many rows would be encoded,
/// and whether it would be run.
fn state(plan: &Plan, piece: &Piece) -> (String, usize, bool) {
    let local = || -> Result<(String, usize, bool)> {
        let choice = piece
            .task
            .find_source(&piece.assignment, &plan.places, true)?;
        let opened = OpenTask::open(&piece.task, choice, plan.seed)?;
        let count = |split: &OpenSplit| {
            plan.limit
                .map_or(split.dataset.len(), |limit| limit.min(split.dataset.len()))
        };
        let rows: Vec<String> = opened
            .splits()
            .map(|split| format!("{} {}", count(split), split.name))
            .collect();
        let total = opened.splits().map(count).sum();
        let source = opened.choice.source.name();
        let notes: String = opened
            .notes
            .iter()
            .map(|note| format!("; note: {note}"))
            .collect();
        Ok(match opened.mismatches.as_slice() {
            [] => (
                format!("ready: {source}: {}{notes}", rows.join(", ")),
                total,
                true,
            ),
            reasons => {
                let rows = if plan.allow_mismatch { total } else { 0 };
                (
                    format!("mismatched: {source}: {}{notes}", reasons.join("; ")),
                    rows,
                    plan.allow_mismatch,
                )
            }
        })
    };
    match local() {
        Ok(found) => found,
        Err(Error::Task(error @ TaskError::Missing { .. })) => {
            (format!("missing: {error}"), 0, false)
        }
        Err(error) => (format!("broken: {error}"), 0, false),
    }
}

/// Seconds that a picture takes.
fn measure(model: &Pretrained) -> Result<f64> {
    const BATCH: i64 = 8;
    let _guard = tch::no_grad_guard();
    let side = model.config.image_config.image_size;
    let pixels = Tensor::f_zeros([BATCH, 3, side, side], (Kind::Float, model.options.device))?
        .f_to_kind(model.options.precision.kind())?;
    let inputs = ImageInputs::new(pixels);
    model.flava.encode_image_cls(&inputs)?; // the first run allocates and compiles
    let start = Instant::now();
    let _sum = model
        .flava
        .encode_image_cls(&inputs)?
        .cls()
        .f_sum(Kind::Float)?
        .double_value(&[]);
    Ok(start.elapsed().as_secs_f64() / BATCH as f64)
}
