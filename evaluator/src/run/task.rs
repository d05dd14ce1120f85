//! One task, run in one way.

use std::{path::Path, time::Instant};

use flava_heads::ItmHead;
use flava_model::{
    checkpoint::Checkpoint,
    runtime::{
        Fill, Progress, Vars,
        distributed::{Group, Peers},
    },
};
use flava_results::{Record, RunFolder};
use flava_tasks::{Feature, Method, Source, Split, sources::OpenSplit};
use serde_json::json;
use tch::nn::VarStore;

use super::measured::{Measured, Provenance};
use crate::{
    Plan, Result, TaskRun,
    data::{self, ChosenPrompts, OpenTask},
    features::{FeatureSource, Rows, SplitIdentity, SplitRole},
    methods::{MethodInput, MethodOutput, Splits, help_method, run_method},
};

/// One task, opened: what its key and its record tell of.
pub(super) struct Measurement<'a> {
    pub(super) task_run: &'a TaskRun,
    pub(super) opened: &'a OpenTask<'a>,
    pub(super) splits: Splits,
    pub(super) source: &'a FeatureSource<'a>,
    pub(super) provenance: Provenance,
}

/// What all tasks of a run share.
pub(super) struct Tasks<'a> {
    pub(super) plan: &'a Plan,
    /// The run's folder.
    pub(super) out: &'a Path,
    pub(super) measured: Measured<'a>,
    pub(super) progress: &'a Progress,
    /// Those that share the tasks out.
    pub(super) peers: &'a Peers,
    /// Those that train each task together.
    pub(super) group: &'a Group,
}

/// All processes, whatever they do together.
pub(super) fn of_both(peers: &Peers, group: &Group) -> Peers {
    if group.has_others() {
        group.peers()
    } else {
        peers.clone()
    }
}

/// What a task is called among the processes of a run.
pub(super) fn piece_of(name: &str) -> String {
    format!("task/{name}")
}

impl Tasks<'_> {
    /// A task's record: an earlier one where it holds, else what is measured now; None where
    /// another process of the run measures it.
    pub(super) fn run(&self, task_run: &TaskRun, folder: &mut RunFolder) -> Result<Option<Record>> {
        let (plan, name) = (self.plan, task_run.name());
        let start = Instant::now();
        let data = format!("data/{name}");
        let opened = of_both(self.peers, self.group).first(&data, || {
            data::open(plan, &task_run.task, &task_run.assignment)
        })??;
        let source = self.measured.of_task(task_run, &opened)?;
        let prompts = data::prompts(plan, &task_run.task, &task_run.assignment, &opened)?;
        let run = Measurement {
            provenance: Provenance::of(&source, task_run, plan)?,
            splits: self.splits(&opened)?,
            task_run,
            opened: &opened,
            source: &source,
        };
        let key = self.key(&run, prompts.as_ref())?;
        if let Some(record) = self.finished(&name, &key, folder)? {
            return Ok(Some(record));
        }
        if self.peers.has_others() {
            help(&run)?;
            if !self.peers.claim(&piece_of(&name))? {
                return Ok(None);
            }
        }
        let itm_head = itm_head(&run)?;
        let input = MethodInput {
            task: &task_run.task,
            assignment: &task_run.assignment,
            name: &name,
            key: &key,
            splits: &run.splits,
            prompts: prompts.as_ref().map(|chosen| &chosen.prompts),
            itm_head: itm_head.as_ref(),
            plan,
            out: self.out,
            source: &source,
            progress: self.progress,
            group: self.group,
        };
        if !self.group.leads() {
            return help_method(&input).map(|()| None);
        }
        folder.start(&name)?;
        let mut output = run_method(&input)?;
        if let Some(prompts) = &prompts {
            self.tell_of(prompts, &mut output);
        }
        let mut record = self.record(&run, output, folder)?;
        (record.key, record.seconds) = (key, start.elapsed().as_secs_f64());
        let second = run.splits.second_test.as_ref();
        let second = second.map(|rows| Some(rows.split.name.as_str()));
        let files: Vec<Option<&str>> = [None].into_iter().chain(second).collect();
        folder.finish(&record, &files)?;
        Ok(Some(record))
    }

    /// The record that is there already, if it holds and is not to be measured again.
    fn finished(&self, name: &str, key: &str, folder: &mut RunFolder) -> Result<Option<Record>> {
        let holds = |record: &Record| !self.plan.again && record.skipped == 0;
        let Some(record) = folder.finished(name, key).filter(holds) else {
            return Ok(None);
        };
        folder.keep(&record, "an earlier run's record holds")?;
        self.progress.say(&format!(
            "{name}: its record is there already (--again measures it again)"
        ));
        Ok(Some(record))
    }

    fn tell_of(&self, prompts: &ChosenPrompts, output: &mut MethodOutput) {
        let told = json!({ "from": prompts.origin, "digest": prompts.digest() });
        output.details.insert("prompts".into(), told);
        output.notes.extend(prompts.note.clone());
        if self.plan.prompts.is_some() && prompts.note.is_none() {
            output.departures.push("prompts of --prompts".into());
        }
    }

    fn splits(&self, opened: &OpenTask) -> Result<Splits> {
        let source = &*opened.choice.source;
        let (limit, seed) = (self.plan.limit, self.plan.seed);
        let rows = |role: SplitRole, open: &OpenSplit, split: &Split| {
            let origin = origin(source, split);
            Rows::new(open.clone(), SplitIdentity { role, origin }, limit, seed)
        };
        let optional = |role: SplitRole, open: &Option<OpenSplit>, split: &Option<Split>| {
            let both = open.as_ref().zip(split.as_ref());
            let rows = both.map(|(open, split)| rows(role, open, split));
            rows.transpose()
        };
        let (validation, second) = (SplitRole::Validation, SplitRole::SecondTest);
        Ok(Splits {
            train: optional(SplitRole::Train, &opened.train, &source.train)?,
            validation: optional(validation, &opened.validation, &source.validation)?,
            test: rows(SplitRole::Test, &opened.test, &source.test)?,
            second_test: optional(second, &opened.second_test, &source.second_test)?,
        })
    }
}

/// Makes what the task reads of images and no other process makes.
fn help(run: &Measurement) -> Result<()> {
    let method = &run.task_run.assignment.method;
    let FeatureSource::Encoders(encoders) = run.source else {
        return Ok(());
    };
    if matches!(method, Method::FineTune { .. }) {
        return Ok(());
    }
    let feature = method.feature().unwrap_or(Feature::IMAGE_EMBEDDING);
    let splits = &run.splits;
    let reads_train = method.feature().is_some();
    let train = splits.train.as_ref().filter(|_| reads_train);
    for rows in train.into_iter().chain([&splits.test]) {
        encoders.extractor.help(rows, feature)?;
    }
    Ok(())
}

/// The checkpoint's matching head, where a task ranks with it.
fn itm_head(run: &Measurement) -> Result<Option<ItmHead>> {
    let method = &run.task_run.assignment.method;
    if !matches!(method, Method::Retrieval { rerank: Some(_) }) {
        return Ok(None);
    }
    let loaded = run.source.encoders()?.loaded;
    let model = &loaded.model;
    let mut store = VarStore::new(model.options.device);
    store.set_kind(model.options.precision.kind());
    let vars = Vars::root(&store, Fill::Unset) / "itm_head";
    let head = ItmHead::new(&vars, model.config.hidden_size);
    Checkpoint::open(&loaded.folder)?
        .load_into(&store)?
        .require(&["itm_head"])?;
    store.freeze();
    Ok(Some(head))
}

/// What rows of a split are called before anybody has opened it.
pub(super) fn origin(source: &Source, split: &Split) -> String {
    let (folder, format) = (source.data_folder(), &source.format);
    let images: String = source
        .images_from
        .iter()
        .map(|from| format!(" {from:?}"))
        .collect();
    let (only, without) = (&split.only, &split.without);
    let part = match (only.is_empty(), without.is_empty()) {
        (true, true) => String::new(),
        _ => format!(" {only:?} but {without:?}"),
    };
    format!(
        "{folder} {format:?} {} {}{part}{images}",
        split.files, split.name
    )
}
