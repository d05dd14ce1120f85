//! The folders that a run leaves for others: its last model, and the untrained one.

use std::path::{Path, PathBuf};

use flava_model::{
    FlavaConfig,
    checkpoint::{Architecture, Checkpoint, write_directory},
};
use tch::Kind;

use super::run::Run;
use crate::{
    Result,
    recipe::{FinalWeights, MODEL_FOLDER, UNTRAINED_FOLDER},
};

impl Run<'_> {
    /// Writes the last model without what training needs, in the kind that the recipe asks for.
    pub(super) fn export(&self, folder: &Path) -> Result<PathBuf> {
        let out = self.job.out.join(MODEL_FOLDER);
        self.lead("model", |run| run.write_model(folder, &out))?;
        Ok(out)
    }

    fn write_model(&self, folder: &Path, out: &Path) -> Result<()> {
        let config = FlavaConfig::from_file(&folder.join("config.json"))?;
        let checkpoint = Checkpoint::open(folder)?;
        let kind = match self.job.recipe.final_weights {
            FinalWeights::F16 => Kind::Half,
            FinalWeights::F32 => Kind::Float,
        };
        let mut tensors = Vec::new();
        for (name, tensor) in checkpoint.tensors() {
            tensors.push((name.clone(), tensor.to_tensor()?.f_to_kind(kind)?));
        }
        let processor = self.job.recipe.processor(&config);
        write_directory(
            out,
            Architecture::FlavaForPreTraining,
            &config,
            tensors,
            &processor,
            &*self.text()?,
        )?;
        Ok(flava_base::write_atomic(
            &out.join("recipe.toml"),
            self.job.recipe.to_toml()?.as_bytes(),
        )?)
    }

    /// Writes a new model over the tokenizer that was made.
    pub(super) fn export_untrained(&self) -> Result<PathBuf> {
        let config = self.config()?;
        let (model, store) = self.model(config)?;
        let out = self.job.out.join(UNTRAINED_FOLDER);
        let processor = self.job.recipe.processor(&model.config);
        write_directory(
            &out,
            Architecture::FlavaForPreTraining,
            &model.config,
            store.variables(),
            &processor,
            &*self.text()?,
        )?;
        Ok(out)
    }
}
