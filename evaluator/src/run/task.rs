//! One task, run in one way.

use std::time::Instant;

use flava_heads::ItmHead;
use flava_model::{
    checkpoint::Checkpoint,
    runtime::{Fill, Vars},
};
use flava_results::{Record, RunFolder};
use flava_tasks::{Method, Source, Split, sources::OpenSplit};
use serde_json::json;
use tch::nn::VarStore;

use crate::{
    Loaded, Plan, Result, TaskRun,
    data::{self, ChosenPrompts, OpenTask},
    features::{Extractor, Rows},
    methods::{MethodInput, MethodOutput, Splits, run_method},
};

/// What all tasks of a run share.
pub(super) struct Tasks<'a> {
    pub(super) plan: &'a Plan,
    pub(super) loaded: &'a Loaded,
    pub(super) extractor: Extractor<'a>,
}

impl Tasks<'_> {
    /// A task's record: an earlier one where it holds, else what is measured now.
    pub(super) fn run(&self, task_run: &TaskRun, folder: &mut RunFolder) -> Result<Record> {
        let (plan, name) = (self.plan, task_run.name());
        let start = Instant::now();
        let opened = data::open(plan, &task_run.task, &task_run.assignment)?;
        let prompts = data::prompts(plan, &task_run.task, &task_run.assignment, &opened)?;
        let splits = self.splits(&opened)?;
        let key = self.key(task_run, &splits, prompts.as_ref())?;
        if let Some(record) = self.finished(&name, &key, folder)? {
            return Ok(record);
        }
        folder.start(&name)?;
        let itm_head = self.itm_head(task_run)?;
        let mut output = run_method(&MethodInput {
            task: &task_run.task,
            assignment: &task_run.assignment,
            name: &name,
            key: &key,
            splits: &splits,
            prompts: prompts.as_ref().map(|chosen| &chosen.prompts),
            itm_head: itm_head.as_ref(),
            plan,
            loaded: self.loaded,
            extractor: &self.extractor,
        })?;
        if let Some(prompts) = &prompts {
            self.tell_of(prompts, &mut output);
        }
        let mut record = self.record(task_run, &opened, &splits, output, folder)?;
        (record.key, record.seconds) = (key, start.elapsed().as_secs_f64());
        let second = splits.second_test.as_ref();
        let second = second.map(|rows| Some(rows.split.name.as_str()));
        let files: Vec<Option<&str>> = [None].into_iter().chain(second).collect();
        folder.finish(&record, &files)?;
        Ok(record)
    }

    /// The record that is there already, if it holds and is not to be measured again.
    fn finished(&self, name: &str, key: &str, folder: &mut RunFolder) -> Result<Option<Record>> {
        let holds = |record: &Record| !self.plan.again && record.skipped == 0;
        let Some(record) = folder.finished(name, key).filter(holds) else {
            return Ok(None);
        };
        folder.keep(&record)?;
        self.extractor.progress.say(&format!(
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
        let source = opened.choice.source;
        let (limit, seed) = (self.plan.limit, self.plan.seed);
        let rows = |open: &OpenSplit, split: &Split| {
            Rows::new(open.clone(), &origin(source, split), limit, seed)
        };
        let optional = |open: &Option<OpenSplit>, split: &Option<Split>| {
            let both = open.as_ref().zip(split.as_ref());
            both.map(|(open, split)| rows(open, split)).transpose()
        };
        Ok(Splits {
            train: optional(&opened.train, &source.train)?,
            validation: optional(&opened.validation, &source.validation)?,
            test: rows(&opened.test, &source.test)?,
            second_test: optional(&opened.second_test, &source.second_test)?,
        })
    }

    /// The checkpoint's matching head, where a task ranks with it.
    fn itm_head(&self, task_run: &TaskRun) -> Result<Option<ItmHead>> {
        let method = &task_run.assignment.method;
        if !matches!(method, Method::Retrieval { rerank: Some(_) }) {
            return Ok(None);
        }
        let model = &self.loaded.model;
        let mut store = VarStore::new(model.options.device);
        store.set_kind(model.options.precision.kind());
        let vars = Vars::root(&store, Fill::Unset) / "itm_head";
        let head = ItmHead::new(&vars, model.config.hidden_size);
        Checkpoint::open(&self.loaded.folder)?
            .load_into(&store)?
            .require(&["itm_head"])?;
        store.freeze();
        Ok(Some(head))
    }
}

/// What rows of a split are called before anybody has opened it.
pub(super) fn origin(source: &Source, split: &Split) -> String {
    let (folder, format) = (source.data_folder(), &source.format);
    format!("{folder} {format:?} {} {}", split.files, split.name)
}
