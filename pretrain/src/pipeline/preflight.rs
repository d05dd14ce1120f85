//! Whether what a job needs is there, before its first step.

use flava_base::did_you_mean;
use flava_tasks::Dataset;

use super::{job::roles_of, run::Run};
use crate::{
    Error, Result,
    recipe::{Init, RowKind, Stage, TrainStage},
};

/// Rows of a corpus that are looked at before it is read.
const LOOKED_AT: usize = 16;

impl Run<'_> {
    /// Opens every corpus and finds every earlier model before the first step, so that what is
    /// missing is missed now.
    pub(super) fn check_sources(&self) -> Result<()> {
        let check = |stage: &Stage| {
            roles_of(stage)
                .into_iter()
                .try_for_each(|(corpus, rows)| self.check_rows(corpus, rows))?;
            match stage {
                Stage::Tokenizer(stage) if !stage.from.is_empty() => {
                    self.earlier_tokenizer(&stage.from).map(drop)
                }
                Stage::Codebook(stage) if !stage.from.is_empty() => self
                    .earlier_codebook(&stage.from, &self.config()?)
                    .map(drop),
                Stage::Train(stage) => self.check_train_sources(stage),
                _ => Ok(()),
            }
        };
        let mut stages = self.job.stages();
        stages.try_for_each(|(name, stage)| {
            check(stage).map_err(|e| Error::Input(format!("stage.{name}: {e}")))
        })
    }

    /// Whether the models that a stage takes parts of, and the data that it is measured on, are
    /// there.
    fn check_train_sources(&self, stage: &TrainStage) -> Result<()> {
        let stages = &self.job.recipe.stage;
        for Init { from, parts } in stage
            .init
            .iter()
            .filter(|init| !stages.contains_key(&init.from))
        {
            let near = did_you_mean(from, stages.keys(), 1);
            self.check_earlier(from, parts)
                .map_err(|e| Error::Input(format!("init: {e}{near}")))?;
        }
        let Some(evaluate) = &stage.evaluate else {
            return Ok(());
        };
        let ways = "give a folder with the data as evaluate.data, name other tasks, or set evaluate = \"none\"";
        self.job
            .check_evaluation(evaluate, self.job.offline)
            .map_err(|e| Error::Input(format!("evaluate: {e}; {ways}")))
    }

    /// Whether some rows of a corpus, spread over it, have what a stage reads of them.
    fn check_rows(&self, name: &str, rows: RowKind) -> Result<()> {
        let dataset = self.corpus(name)?;
        let looked_at = spread(dataset.len());
        let mut first = None;
        for row in looked_at.clone() {
            let reason = match is_whole(&*dataset, row, rows) {
                Ok(true) => return Ok(()),
                Ok(false) => format!("{} has none", dataset.id(row)),
                Err(error) => error.to_string(),
            };
            first.get_or_insert(reason);
        }
        let wanted = match rows {
            RowKind::Images => "an image",
            RowKind::Texts => "a text",
            RowKind::Pairs => "an image with a text",
        };
        let (count, first) = (looked_at.count(), first.unwrap_or_default());
        Err(Error::Input(format!(
            "none of {count} rows of the corpus {name} that were looked at is {wanted}; the first: {first}"
        )))
    }
}

/// Whether a row has what is read of it.
fn is_whole(dataset: &dyn Dataset, row: usize, rows: RowKind) -> flava_tasks::Result<bool> {
    let any_text = |texts: &[String]| texts.iter().any(|text| !text.trim().is_empty());
    if rows == RowKind::Texts {
        return Ok(any_text(&dataset.texts_of(row)?));
    }
    let example = dataset.get(row)?;
    Ok(example.image.is_some() && (rows == RowKind::Images || any_text(&example.texts)))
}

/// Some of so many rows, spread over them.
fn spread(rows: usize) -> impl Iterator<Item = usize> + Clone {
    let pieces = LOOKED_AT.min(rows);
    (0..pieces).map(move |piece| piece * rows / pieces)
}
