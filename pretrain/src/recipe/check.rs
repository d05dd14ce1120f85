//! What of a recipe contradicts itself, found before the first step.

use flava_model::FlavaConfig;

use super::{ImageMasks, Recipe, RowKind, Stage, TrainStage, TrainingSchedule, settings::closest};

impl Recipe {
    /// What contradicts itself.
    pub(super) fn check(&self) -> std::result::Result<(), String> {
        let json = serde_json::to_string(&self.model).map_err(|e| e.to_string())?;
        let config = FlavaConfig::from_json(&json).map_err(|e| e.to_string())?;
        let patches = config.image_config.grid().pow(2) as usize;
        if self.image_masks.total == 0 || self.image_masks.total >= patches || self.image_masks.min_block > self.image_masks.total {
            let ImageMasks { total, min_block } = self.image_masks;
            return Err(format!("image_masks: total {total} and min_block {min_block} for pictures of {patches} patches"));
        }
        let mut before: Vec<&str> = Vec::new();
        for name in &self.run {
            let stage = self.stage.get(name).ok_or_else(|| {
                let near =
                    closest(name, self.stage.keys().map(String::as_str)).map_or(String::new(), |near| format!("; did you mean {near}?"));
                format!("run names the stage {name}, which is not there{near}")
            })?;
            if before.contains(&name.as_str()) {
                return Err(format!("run names the stage {name} twice"));
            }
            self.check_stage(stage, &before, &config).map_err(|reason| format!("stage.{name}: {reason}"))?;
            before.push(name);
        }
        Ok(())
    }

    fn corpus(&self, name: &str) -> std::result::Result<(), String> {
        if self.corpora.contains_key(name) {
            return Ok(());
        }
        let near = closest(name, self.corpora.keys().map(String::as_str)).map_or(String::new(), |near| format!("; did you mean {near}?"));
        Err(format!("there is no corpus {name:?}{near}"))
    }

    fn check_stage(&self, stage: &Stage, before: &[&str], config: &FlavaConfig) -> std::result::Result<(), String> {
        match stage {
            Stage::Tokenizer(stage) => {
                stage.corpora.iter().try_for_each(|name| self.corpus(name))?;
                if stage.from.is_empty() && (stage.corpora.is_empty() || stage.vocab_size < 100) {
                    return Err(
                        "a tokenizer is learned from corpora, to at least 100 pieces (vocab_size), or taken from a folder (from)".into()
                    );
                }
                Ok(())
            }
            Stage::Codebook(stage) => {
                if !stage.from.is_empty() {
                    return Ok(());
                }
                self.corpus(&stage.corpus)?;
                if stage.temperature.iter().any(|t| *t <= 0.0) {
                    return Err(format!("temperature {:?} is not positive", stage.temperature));
                }
                check_schedule(&stage.schedule)
            }
            Stage::Dino(stage) => {
                self.corpus(&stage.corpus)?;
                let patch = config.image_config.patch_size as usize;
                if stage.local_size % patch != 0 || stage.local_size == 0 {
                    return Err(format!("local_size {} is no multiple of the patches' {patch}", stage.local_size));
                }
                if !(0.0..=1.0).contains(&stage.momentum) || stage.student_temperature <= 0.0 {
                    return Err("momentum is no share, or student_temperature not positive".into());
                }
                check_schedule(&stage.schedule)
            }
            Stage::Train(stage) => self.check_train(stage, before, config),
        }
    }

    fn check_train(&self, stage: &TrainStage, before: &[&str], config: &FlavaConfig) -> std::result::Result<(), String> {
        if stage.mixture.is_empty() || stage.mixture.len() > 200 {
            return Err("mixture names no corpus, or too many".into());
        }
        for share in &stage.mixture {
            self.corpus(&share.corpus)?;
            if !share.ratio.is_finite() || share.ratio < 0.0 {
                return Err(format!("the ratio {} of {} is no share", share.ratio, share.corpus));
            }
            let weights = &stage.weights;
            let lossless = match share.rows {
                RowKind::Images => weights.mim <= 0.0,
                RowKind::Texts => weights.mlm <= 0.0,
                RowKind::Pairs => {
                    weights.itm <= 0.0 && weights.global_contrastive <= 0.0 && weights.mmm_image <= 0.0 && weights.mmm_text <= 0.0
                }
            };
            if lossless && share.ratio > 0.0 {
                return Err(format!("{} is drawn, but every loss of its rows has weight 0", share.corpus));
            }
            if share.batch_size == Some(0) {
                return Err(format!("batch_size 0 for {}", share.corpus));
            }
        }
        if stage.mixture.iter().all(|share| share.ratio == 0.0) {
            return Err("every ratio of the mixture is 0".into());
        }
        if !(stage.contrastive_share > 0.0 && stage.contrastive_share <= 1.0) {
            return Err(format!("contrastive_share = {} is no share of a batch", stage.contrastive_share));
        }
        for init in &stage.init {
            let stage = self.stage.get(&init.from);
            if stage.is_some() && !before.contains(&init.from.as_str()) {
                return Err(format!("init takes over from {}, which does not run before it", init.from));
            }
        }
        let longest = config.text_config.max_position_embeddings as usize;
        if let Some(length) = [stage.text_length, stage.caption_length].into_iter().find(|length| *length < 3 || *length > longest) {
            return Err(format!("texts of {length} tokens for a model of 3 to {longest}"));
        }
        for (name, share) in [("negatives", stage.negatives), ("dropout", stage.dropout), ("text_masks.rate", stage.text_masks.rate)] {
            if !(0.0..1.0).contains(&share) {
                return Err(format!("{name} = {share} is no share below 1"));
            }
        }
        check_schedule(&stage.schedule)
    }
}

fn check_schedule(schedule: &TrainingSchedule) -> std::result::Result<(), String> {
    let TrainingSchedule { steps, batch_size, learning_rate, warmup, save_every, .. } = schedule;
    if *steps == 0 || *batch_size == 0 || *save_every == 0 {
        return Err("schedule: steps, batch_size and save_every are at least 1".into());
    }
    if !learning_rate.is_finite() || *learning_rate <= 0.0 {
        return Err(format!("schedule: learning_rate {learning_rate} is not positive"));
    }
    if warmup > steps {
        return Err(format!("schedule: a warm-up of {warmup} of {steps} steps"));
    }
    Ok(())
}
