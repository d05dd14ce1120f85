//! The stage that makes the codebook, whose training is one like others.

use std::{
    fs,
    path::{Path, PathBuf},
};

use flava_model::{
    ImageCodebook,
    checkpoint::load_exactly,
    processor::PassOrder,
    runtime::{Fill, Vars},
};
use flava_training::Learner;
use tch::{Device, nn::VarStore};

use super::{
    run::{MODEL_FILES, Run},
    settings::is_done,
    training::result_of,
};
use crate::{
    Result,
    codebook::{CodebookSetup, CodebookTraining, read_codebook, write_codebook},
    recipe::CodebookStage,
};
use flava_model::FlavaConfig;

impl Run<'_> {
    /// The variables of a codebook that no stage makes.
    pub(super) fn earlier_codebook(&self, from: &str, config: &FlavaConfig) -> Result<VarStore> {
        let from = self.earlier(from, &MODEL_FILES)?;
        let store = VarStore::new(Device::Cpu);
        let _codebook = ImageCodebook::new(
            &(Vars::root(&store, Fill::Unset) / "image_codebook"),
            &config.image_codebook_config,
        );
        load_exactly(store.variables(), read_codebook(&from)?, &from)?;
        Ok(store)
    }

    pub(super) fn codebook(&mut self, name: &str, stage: &CodebookStage, key: &str) -> Result<()> {
        let made = if stage.from.is_empty() {
            self.train_codebook(name, stage, key)?
        } else {
            self.copy_codebook(name, stage, key)?
        };
        self.made.codebook = Some(made);
        Ok(())
    }

    /// An earlier codebook in the stage's folder.
    fn copy_codebook(&self, name: &str, stage: &CodebookStage, key: &str) -> Result<PathBuf> {
        let config = self.config()?;
        let folder = self.folder(name);
        let last = folder.join("last");
        self.lead(&format!("{name}/made"), |run| {
            if is_done(&folder, key)? {
                return Ok(());
            }
            let store = run.earlier_codebook(&stage.from, &config)?;
            fs::create_dir_all(&last).map_err(|e| flava_model::Error::io(&last, e))?;
            write_codebook(&last, &config.image_codebook_config, store.variables())?;
            Ok(flava_base::write_atomic(
                &folder.join("key"),
                key.as_bytes(),
            )?)
        })?;
        Ok(last)
    }

    fn train_codebook(&self, name: &str, stage: &CodebookStage, key: &str) -> Result<PathBuf> {
        let config = self.config()?;
        let folder = self.folder(name);
        let result = if let Some(result) = result_of(&folder, key, &stage.schedule, None)? {
            result
        } else {
            // That of fewer steps says nothing of more.
            self.lead(&format!("{name}/no report"), |_| {
                match fs::remove_file(folder.join("reconstruction.json")) {
                    Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                        Err(flava_model::Error::io(&folder, e).into())
                    }
                    _ => Ok(()),
                }
            })?;
            let training = self.codebook_training(stage, &config)?;
            self.trained(name, &stage.schedule, key, training, None)?
                .folder
        };
        self.lead(&format!("{name}/report"), |run| {
            if folder.join("reconstruction.json").exists() {
                return Ok(());
            }
            let mut trained = run.codebook_training(stage, &config)?;
            trained.load(&result)?;
            run.report_codebook(name, &trained, &folder)
        })?;
        Ok(result)
    }

    fn codebook_training(
        &self,
        stage: &CodebookStage,
        config: &FlavaConfig,
    ) -> Result<CodebookTraining> {
        let processor = self.job.recipe.processor(config);
        let setup = CodebookSetup {
            samples: self.samples(&stage.corpus, stage.schedule.batch_size)?,
            transform: processor.codebook_transform(PassOrder::default()),
            seed: self.job.seed,
            device: self.job.device,
            threads: self.job.threads,
        };
        Ok(CodebookTraining::new(config, stage, setup))
    }

    /// Says how well images come back from their words.
    fn report_codebook(&self, name: &str, trained: &CodebookTraining, folder: &Path) -> Result<()> {
        let found = trained.report(folder)?;
        self.progress.say(&format!(
            "{name}: squared error {:.4} ({:.4} of the mean colour), {:.0} % of the words used, perplexity {:.0}",
            found.squared_error,
            found.squared_error_of_mean,
            found.usage * 100.0,
            found.perplexity
        ));
        Ok(())
    }
}
