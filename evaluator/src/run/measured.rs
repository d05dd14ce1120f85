//! What a run measures, and what keys and records say of it.

use std::{collections::HashMap, path::Path};

use flava_model::runtime::{Progress, distributed::Peers};
use flava_results::GIVEN;
use flava_tasks::{Feature, Method, Tower};

use super::size::Size;
use crate::{
    Plan, Result, TaskRun, cache,
    data::OpenTask,
    features::{Encoders, Extractor, FeatureSource, Store},
    given::{GivenFolder, GivenTask},
    plan::OpenSubject,
};

/// Where processes of a run share features that are not to be kept, in the run's folder.
pub(super) const SHARED_FEATURES: &str = ".features";

/// What the features of a run's tasks are read of.
pub(super) enum Measured<'a> {
    Encoders(Encoders<'a>),
    Given(&'a GivenFolder),
}

impl<'a> Measured<'a> {
    pub(super) fn new(
        subject: &'a OpenSubject,
        plan: &'a Plan,
        out: &Path,
        progress: &'a Progress,
        peers: &'a Peers,
    ) -> Self {
        let loaded = match subject {
            OpenSubject::Model(loaded) => loaded,
            OpenSubject::Given(folder) => return Self::Given(folder),
        };
        let mut extractor = Extractor::new(&loaded.model, &plan.settings, progress);
        // Which rows are broken may change while their ids stay: what lacks some is not kept.
        if plan.cache && !plan.settings.skip_broken {
            extractor.store = cache::store();
        }
        if peers.has_others() {
            extractor.peers = Some(peers);
            let own = || Store::new(out.join(SHARED_FEATURES));
            extractor.store = Some(extractor.store.take().unwrap_or_else(own));
        }
        Self::Encoders(Encoders { loaded, extractor })
    }

    /// Tells which features later tasks will read.
    pub(super) fn look_ahead(&mut self, later: HashMap<String, Vec<Feature>>) {
        if let Self::Encoders(encoders) = self {
            encoders.extractor.later = later;
        }
    }

    /// What one task's features are read of.
    pub(super) fn of_task(
        &self,
        task_run: &TaskRun,
        opened: &OpenTask,
    ) -> Result<FeatureSource<'_>> {
        match self {
            Self::Encoders(encoders) => Ok(FeatureSource::Encoders(encoders)),
            Self::Given(folder) => {
                GivenTask::open(folder, task_run, opened).map(FeatureSource::Given)
            }
        }
    }
}

/// What keys and records say of what a task's features are read of.
pub(super) struct Provenance {
    pub(super) revision: String,
    pub(super) fingerprint: String,
    /// What decides its numbers, besides how inputs are prepared.
    pub(super) identity: String,
    /// Digest of what makes tokens of texts; None where nothing does.
    pub(super) tokenizer: Option<String>,
    pub(super) precision: String,
    /// How images become pixels.
    pub(super) transform: String,
    /// Which states are read.
    pub(super) feature: String,
    pub(super) size: Size,
    pub(super) notes: Vec<String>,
    /// What the weights started from, where that is not the method's to say.
    pub(super) initialisation: Option<String>,
}

impl Provenance {
    pub(super) fn of(source: &FeatureSource, task_run: &TaskRun, plan: &Plan) -> Result<Self> {
        match source {
            FeatureSource::Encoders(encoders) => Ok(Self::of_model(encoders, task_run, plan)),
            FeatureSource::Given(given) => Self::of_given(given),
        }
    }

    fn of_model(encoders: &Encoders, task_run: &TaskRun, plan: &Plan) -> Self {
        let Encoders { loaded, extractor } = encoders;
        let (model, method) = (&loaded.model, &task_run.assignment.method);
        Self {
            revision: loaded.revision.clone(),
            fingerprint: model.fingerprint.clone(),
            identity: model.identity(),
            tokenizer: Some(model.text.digest()),
            precision: plan.settings.load.precision.name().into(),
            transform: extractor.transform().id(),
            feature: method.feature_name(),
            size: Size::of(method, extractor),
            notes: model.notes.clone(),
            initialisation: None,
        }
    }

    fn of_given(given: &GivenTask) -> Result<Self> {
        let (source, digest) = (given.folder().source(), given.digest()?);
        let name = &source.name;
        let mut notes = vec![format!(
            "features computed elsewhere: {name}, digest {digest}"
        )];
        if !source.note.is_empty() {
            notes.push(format!("{name}: {}", source.note));
        }
        notes.extend(given.notes());
        Ok(Self {
            revision: source.revision.clone(),
            identity: format!("{GIVEN} {digest}"),
            fingerprint: digest,
            tokenizer: None,
            precision: given.precision(),
            transform: source.transform.clone(),
            feature: GIVEN.into(),
            size: Size {
                parameters: source.parameters,
                flops_per_row: source.flops_per_row,
            },
            notes,
            initialisation: Some(GIVEN.into()),
        })
    }

    /// How images became pixels, for a record; empty where a model read none.
    pub(super) fn transform_of(&self, method: &Method) -> String {
        let feature = method.feature();
        let is_of_texts = feature.is_some_and(|feature| feature.tower == Tower::Text);
        if is_of_texts && self.initialisation.is_none() {
            String::new()
        } else {
            self.transform.clone()
        }
    }
}
