//! What of a recipe contradicts itself, found before the first step.

use flava_base::did_you_mean;
use flava_model::FlavaConfig;

use super::{Recipe, Share, Stage, TrainStage, check_stages::Check, model::check_model};

/// Folder of the result.
pub(crate) const MODEL_FOLDER: &str = "model";
/// Folder of the model that it is compared with.
pub(crate) const UNTRAINED_FOLDER: &str = "untrained";
/// Folders that are no stage's.
const OWN_FOLDERS: [&str; 2] = [MODEL_FOLDER, UNTRAINED_FOLDER];

impl Recipe {
    /// What contradicts itself.
    pub(super) fn check(&self) -> Check {
        let model = serde_json::to_value(&self.model).map_err(|e| e.to_string())?;
        let default = serde_json::to_value(FlavaConfig::default()).map_err(|e| e.to_string())?;
        check_model("model", &model, &default)?;
        let config = FlavaConfig::from_json(&model.to_string()).map_err(|e| e.to_string())?;
        let patches = config.image_config.grid().pow(2) as usize;
        self.image_masks.check(patches)?;
        if self.run.is_empty() {
            return Err("run names no stage".into());
        }
        let mut before: Vec<&str> = Vec::new();
        for name in &self.run {
            let stage = self.named_stage(name, &before)?;
            self.check_stage(stage, &before, &config)
                .map_err(|reason| format!("stage.{name}: {reason}"))?;
            before.push(name);
        }
        Ok(())
    }

    /// The stage that `run` names after some others.
    fn named_stage(&self, name: &str, before: &[&str]) -> Result<&Stage, String> {
        let stage = self.stage.get(name).ok_or_else(|| {
            let near = did_you_mean(name, self.stage.keys(), 1);
            format!("run names the stage {name}, which is not there{near}")
        })?;
        if before.contains(&name) {
            return Err(format!("run names the stage {name} twice"));
        }
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
        if name.is_empty() || !name.chars().all(is_plain) || OWN_FOLDERS.contains(&name) {
            return Err(format!(
                "{name:?} cannot be the name of a stage, which has a folder of its name"
            ));
        }
        let is_tokenizer = |name: &&str| self.stage[*name].kind() == "tokenizer";
        let needs_words = matches!(stage, Stage::Dino(_) | Stage::Train(_));
        if needs_words && !before.iter().any(is_tokenizer) {
            return Err(format!(
                "stage.{name}: its model needs words, but no stage before makes a tokenizer"
            ));
        }
        Ok(stage)
    }

    /// Whether a stage names each of some corpora: one that none does is a slip, unless it was
    /// inherited.
    pub(super) fn check_named(&self, own: &[String]) -> Check {
        let named: Vec<&str> = self.stage.values().flat_map(Stage::corpora).collect();
        let Some(unread) = own.iter().find(|name| !named.contains(&name.as_str())) else {
            return Ok(());
        };
        Err(format!(
            "no stage reads the corpus {unread}{}",
            did_you_mean(unread, named, 1)
        ))
    }

    fn corpus(&self, name: &str) -> Check {
        if self.corpora.contains_key(name) {
            return Ok(());
        }
        let near = did_you_mean(name, self.corpora.keys(), 1);
        Err(format!("there is no corpus {name:?}{near}"))
    }

    fn check_stage(&self, stage: &Stage, before: &[&str], config: &FlavaConfig) -> Check {
        let is_earlier = matches!(stage, Stage::Codebook(codebook) if !codebook.from.is_empty());
        if !is_earlier {
            let mut corpora = stage.corpora().into_iter();
            corpora.try_for_each(|name| self.corpus(name))?;
        }
        match stage {
            Stage::Tokenizer(stage) => stage.check(),
            Stage::Codebook(stage) => stage.check(),
            Stage::Dino(stage) => stage.check(config),
            Stage::Train(stage) => {
                stage.check(config)?;
                self.check_visual_tokens(stage, before)?;
                self.check_init(stage, before)
            }
        }
    }

    /// Whether a stage before this one makes the codebook whose tokens its losses read.
    fn check_visual_tokens(&self, stage: &TrainStage, before: &[&str]) -> Check {
        let is_codebook = |name: &&str| self.stage[*name].kind() == "codebook";
        if before.iter().any(is_codebook) {
            return Ok(());
        }
        let reads = |share: &&Share| share.ratio > 0.0 && stage.weights.read_patches(share.rows);
        match stage.mixture.iter().find(reads) {
            Some(share) => Err(format!(
                "the visual tokens of {} are asked for, but no stage before makes a codebook",
                share.corpus
            )),
            None => Ok(()),
        }
    }

    /// Whether the stages that parts are taken over from run before this one.
    fn check_init(&self, stage: &TrainStage, before: &[&str]) -> Check {
        for init in &stage.init {
            if init.parts.is_empty() {
                return Err(format!("init takes no parts over from {}", init.from));
            }
            if self.stage.contains_key(&init.from) && !before.contains(&init.from.as_str()) {
                let from = &init.from;
                return Err(format!(
                    "init takes over from {from}, which does not run before it"
                ));
            }
        }
        Ok(())
    }
}
