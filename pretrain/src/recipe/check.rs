//! What of a recipe contradicts itself, found before the first step.

use flava_base::did_you_mean;
use flava_model::FlavaConfig;
use serde_json::Value;

use super::{
    ImageMasks, Recipe, RowKind, Stage, TrainStage, TrainingSchedule, stages::LossWeights,
};
use crate::{
    augment::{Colours, Crop},
    run::OWN_FOLDERS,
};

impl Recipe {
    /// What contradicts itself.
    pub(super) fn check(&self) -> std::result::Result<(), String> {
        let model = serde_json::to_value(&self.model).map_err(|e| e.to_string())?;
        let default = serde_json::to_value(FlavaConfig::default()).map_err(|e| e.to_string())?;
        check_model("model", &model, &default)?;
        let config = FlavaConfig::from_json(&model.to_string()).map_err(|e| e.to_string())?;
        let patches = config.image_config.grid().pow(2) as usize;
        if self.image_masks.total == 0
            || self.image_masks.total >= patches
            || self.image_masks.min_block > self.image_masks.total
        {
            let ImageMasks { total, min_block } = self.image_masks;
            return Err(format!(
                "image_masks: total {total} and min_block {min_block} for pictures of {patches} patches"
            ));
        }
        if self.run.is_empty() {
            return Err("run names no stage".into());
        }
        let mut before: Vec<&str> = Vec::new();
        for name in &self.run {
            let stage = self.stage.get(name).ok_or_else(|| {
                let near = did_you_mean(name, self.stage.keys(), 1);
                format!("run names the stage {name}, which is not there{near}")
            })?;
            if before.contains(&name.as_str()) {
                return Err(format!("run names the stage {name} twice"));
            }
            let plain = name
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "-_".contains(c))
                && !name.is_empty();
            if !plain || OWN_FOLDERS.contains(&name.as_str()) {
                return Err(format!(
                    "{name:?} cannot be the name of a stage, which has a folder of its name"
                ));
            }
            let tokenizer = before
                .iter()
                .any(|name| self.stage[*name].kind() == "tokenizer");
            if !tokenizer && matches!(stage, Stage::Dino(_) | Stage::Train(_)) {
                return Err(format!(
                    "stage.{name}: its model needs words, but no stage before makes a tokenizer"
                ));
            }
            self.check_stage(stage, &before, &config)
                .map_err(|reason| format!("stage.{name}: {reason}"))?;
            before.push(name);
        }
        Ok(())
    }

    /// Whether a stage names each of some corpora: one that none does is a slip, unless it was
    /// inherited.
    pub(super) fn check_named(&self, own: &[String]) -> std::result::Result<(), String> {
        let named: Vec<&str> = self.stage.values().flat_map(Stage::corpora).collect();
        let Some(unread) = own.iter().find(|name| !named.contains(&name.as_str())) else {
            return Ok(());
        };
        Err(format!(
            "no stage reads the corpus {unread}{}",
            did_you_mean(unread, named, 1)
        ))
    }

    fn corpus(&self, name: &str) -> std::result::Result<(), String> {
        if self.corpora.contains_key(name) {
            return Ok(());
        }
        let near = did_you_mean(name, self.corpora.keys(), 1);
        Err(format!("there is no corpus {name:?}{near}"))
    }

    fn check_stage(
        &self,
        stage: &Stage,
        before: &[&str],
        config: &FlavaConfig,
    ) -> std::result::Result<(), String> {
        match stage {
            Stage::Tokenizer(stage) => {
                stage
                    .corpora
                    .iter()
                    .try_for_each(|name| self.corpus(name))?;
                shares(&[("max_broken", stage.max_broken)])?;
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
                    return Err(format!(
                        "temperature {:?} is not positive",
                        stage.temperature
                    ));
                }
                if stage.decoder_hidden < 0 {
                    return Err(format!(
                        "decoder_hidden = {} is no width",
                        stage.decoder_hidden
                    ));
                }
                not_negative(&[
                    ("kl_weight", stage.kl_weight),
                    ("usage_weight", stage.usage_weight),
                ])?;
                check_crop("crop", stage.crop.as_ref())?;
                check_schedule(&stage.schedule)
            }
            Stage::Dino(stage) => {
                self.corpus(&stage.corpus)?;
                let patch = config.image_config.patch_size as usize;
                if stage.local_size % patch != 0 || stage.local_size == 0 {
                    return Err(format!(
                        "local_size {} is no multiple of the patches' {patch}",
                        stage.local_size
                    ));
                }
                let Colours {
                    jitter,
                    strength,
                    saturation,
                    hue,
                    grey,
                } = stage.colours;
                shares(&[
                    ("momentum", stage.momentum),
                    ("centre_momentum", stage.centre_momentum),
                    ("colours.jitter", jitter),
                    ("colours.strength", strength),
                    ("colours.saturation", saturation),
                    ("colours.hue", hue),
                    ("colours.grey", grey),
                ])?;
                let ([low, high], [local_low, local_high]) = (stage.blur, stage.local_blur);
                if !(0.0 <= low && low <= high && 0.0 <= local_low && local_low <= local_high) {
                    return Err("blur and local_blur go from a standard deviation to one that is not smaller".into());
                }
                not_negative(&[
                    ("final_weight_decay", stage.final_weight_decay),
                    ("clip_each", stage.clip_each),
                ])?;
                check_crop("global_crop", Some(&stage.global_crop))?;
                check_crop("local_crop", Some(&stage.local_crop))?;
                let [first, last] = stage.teacher_temperature;
                if [stage.student_temperature, first, last]
                    .iter()
                    .any(|t| *t <= 0.0)
                {
                    return Err("student_temperature and teacher_temperature are positive".into());
                }
                if [stage.outputs, stage.hidden, stage.bottleneck]
                    .iter()
                    .any(|width| *width < 1)
                {
                    return Err("outputs, hidden and bottleneck are at least 1".into());
                }
                if stage.schedule.weight_decay <= 0.0 && stage.final_weight_decay > 0.0 {
                    return Err("a weight_decay that ends above 0 begins above 0".into());
                }
                check_schedule(&stage.schedule)
            }
            Stage::Train(stage) => self.check_train(stage, before, config),
        }
    }

    fn check_train(
        &self,
        stage: &TrainStage,
        before: &[&str],
        config: &FlavaConfig,
    ) -> std::result::Result<(), String> {
        let LossWeights {
            mim,
            mlm,
            itm,
            global_contrastive,
            mmm_image,
            mmm_text,
        } = stage.weights;
        not_negative(&[
            ("weights.mim", mim),
            ("weights.mlm", mlm),
            ("weights.itm", itm),
            ("weights.global_contrastive", global_contrastive),
            ("weights.mmm_image", mmm_image),
            ("weights.mmm_text", mmm_text),
        ])?;
        if stage.mixture.is_empty() || stage.mixture.len() > 200 {
            return Err("mixture names no corpus, or too many".into());
        }
        for share in &stage.mixture {
            self.corpus(&share.corpus)?;
            if share.ratio < 0.0 {
                return Err(format!(
                    "the ratio {} of {} is no share",
                    share.ratio, share.corpus
                ));
            }
            if !stage.weights.read(share.rows) && share.ratio > 0.0 {
                return Err(format!(
                    "{} is drawn, but every loss of its rows has weight 0",
                    share.corpus
                ));
            }
            let codebook = || {
                before
                    .iter()
                    .any(|name| self.stage[*name].kind() == "codebook")
            };
            if stage.weights.read_patches(share.rows) && share.ratio > 0.0 && !codebook() {
                return Err(format!(
                    "the visual words of {} are asked for, but no stage before makes a codebook",
                    share.corpus
                ));
            }
            if share.batch_size == Some(0) {
                return Err(format!("batch_size 0 for {}", share.corpus));
            }
        }
        if stage.mixture.iter().all(|share| share.ratio == 0.0) {
            return Err("every ratio of the mixture is 0".into());
        }
        if !(stage.contrastive_share > 0.0 && stage.contrastive_share <= 1.0) {
            return Err(format!(
                "contrastive_share = {} is no share of a batch",
                stage.contrastive_share
            ));
        }
        let pairs = stage
            .mixture
            .iter()
            .any(|share| share.rows == RowKind::Pairs && share.ratio > 0.0);
        if pairs && stage.negatives > 0.0 && itm <= 0.0 && (mmm_image > 0.0 || mmm_text > 0.0) {
            let negatives = stage.negatives;
            return Err(format!(
                "negatives = {negatives} exchanges captions, but matching has weight 0: other losses would take them for right"
            ));
        }
        check_crop("crop", stage.crop.as_ref())?;
        for init in &stage.init {
            if init.parts.is_empty() {
                return Err(format!("init takes no parts over from {}", init.from));
            }
            if self.stage.contains_key(&init.from) && !before.contains(&init.from.as_str()) {
                return Err(format!(
                    "init takes over from {}, which does not run before it",
                    init.from
                ));
            }
        }
        let longest = config.text_config.max_position_embeddings as usize;
        if let Some(length) = [stage.text_length, stage.caption_length]
            .into_iter()
            .find(|length| *length < 3 || *length > longest)
        {
            return Err(format!(
                "texts of {length} tokens for a model of 3 to {longest}"
            ));
        }
        for (name, share) in [
            ("negatives", stage.negatives),
            ("dropout", stage.dropout),
            ("text_masks.rate", stage.text_masks.rate),
            ("caption_masks.rate", stage.caption_masks.rate),
        ] {
            if !(0.0..1.0).contains(&share) {
                return Err(format!("{name} = {share} is no share below 1"));
            }
        }
        if let Some(evaluate) = &stage.evaluate {
            evaluate
                .task_of_best()
                .map_err(|reason| format!("evaluate: {reason}"))?;
            if evaluate.every == 0 {
                return Err("evaluate: every is at least 1".into());
            }
        }
        check_schedule(&stage.schedule)
    }
}

/// Keys of the configuration that nobody knows, which would change nothing, and those that stages
/// set.
fn check_model(path: &str, model: &Value, known: &Value) -> std::result::Result<(), String> {
    let (Some(model), Some(known)) = (model.as_object(), known.as_object()) else {
        return Ok(());
    };
    for (key, value) in model {
        let Some(known) = known.get(key) else {
            let near = did_you_mean(key, known.keys(), 1);
            return Err(format!("{path} has no key {key}{near}"));
        };
        match key.as_str() {
            "hidden_dropout_prob" | "attention_probs_dropout_prob" => {
                return Err(format!("{path}.{key} is set by the stages' dropout"));
            }
            "init_codebook" => {
                return Err(format!(
                    "{path}.{key} is set by whether a stage makes a codebook"
                ));
            }
            _ if key.ends_with("_weight") => {
                return Err(format!("{path}.{key} is set by the stages' weights"));
            }
            _ => check_model(&format!("{path}.{key}"), value, known)?,
        }
    }
    Ok(())
}

fn shares(all: &[(&str, f64)]) -> std::result::Result<(), String> {
    let wrong = all.iter().find(|(_, share)| !(0.0..=1.0).contains(share));
    wrong.map_or(Ok(()), |(name, share)| {
        Err(format!("{name} = {share} is no share"))
    })
}

fn not_negative(all: &[(&str, f64)]) -> std::result::Result<(), String> {
    let wrong = all.iter().find(|(_, number)| *number < 0.0);
    wrong.map_or(Ok(()), |(name, number)| {
        Err(format!("{name} = {number} is below 0"))
    })
}

fn check_crop(name: &str, crop: Option<&Crop>) -> std::result::Result<(), String> {
    let Some(Crop {
        scale: [smallest, largest],
        ratio: [narrowest, widest],
        flip,
    }) = crop
    else {
        return Ok(());
    };
    if !(0.0 < *smallest && smallest <= largest && *largest <= 1.0) {
        return Err(format!(
            "{name}.scale = [{smallest}, {largest}] goes from no share of the area to another"
        ));
    }
    if !(0.0 < *narrowest && narrowest <= widest) {
        return Err(format!(
            "{name}.ratio = [{narrowest}, {widest}] goes from no ratio to another"
        ));
    }
    shares(&[(&format!("{name}.flip"), *flip)])
}

fn check_schedule(schedule: &TrainingSchedule) -> std::result::Result<(), String> {
    let TrainingSchedule {
        steps,
        batch_size,
        learning_rate,
        warmup,
        save_every,
        final_rate,
        betas,
        ..
    } = schedule;
    if *steps == 0 || *batch_size == 0 || *save_every == 0 {
        return Err("schedule: steps, batch_size and save_every are at least 1".into());
    }
    if *learning_rate <= 0.0 || schedule.eps <= 0.0 {
        return Err(format!(
            "schedule: learning_rate = {learning_rate} and eps = {} are above 0",
            schedule.eps
        ));
    }
    if betas.iter().any(|beta| !(0.0..1.0).contains(beta)) {
        return Err(format!("schedule: betas = {betas:?} are shares below 1"));
    }
    let TrainingSchedule {
        weight_decay,
        clip_norm,
        max_broken,
        ..
    } = *schedule;
    not_negative(&[
        ("weight_decay", weight_decay),
        ("clip_norm", clip_norm),
        ("final_rate", *final_rate),
    ])
    .and_then(|()| shares(&[("max_broken", max_broken)]))
    .map_err(|reason| format!("schedule: {reason}"))?;
    if warmup > steps {
        return Err(format!(
            "schedule: a warmup of {warmup} steps, of {steps} in all"
        ));
    }
    Ok(())
}
