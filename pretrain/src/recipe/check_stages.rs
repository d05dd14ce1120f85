//! Whether what a stage is told can be done.

use flava_model::FlavaConfig;

use super::{
    losses::{LossWeights, RowKind},
    schedule::TrainingSchedule,
    stages::{CodebookStage, DinoStage, TokenizerStage},
    train::{Evaluate, Share, TrainStage},
};
use crate::augment::Crop;

/// What is wrong, if anything.
pub(super) type Check = std::result::Result<(), String>;

/// Fewest tokens that a vocabulary is learned to.
const SMALLEST_VOCABULARY: usize = 100;
/// Most corpora of a mixture.
const MOST_CORPORA: usize = 200;

impl TokenizerStage {
    pub(super) fn check(&self) -> Check {
        shares(&[("max_broken", self.max_broken)])?;
        let learns = self.from.is_empty();
        if learns && (self.corpora.is_empty() || self.vocab_size < SMALLEST_VOCABULARY) {
            return Err(format!(
                "a tokenizer is learned from corpora, to at least {SMALLEST_VOCABULARY} tokens \
                 (vocab_size), or taken from a folder (from)"
            ));
        }
        Ok(())
    }
}

impl CodebookStage {
    pub(super) fn check(&self) -> Check {
        if !self.from.is_empty() {
            return Ok(());
        }
        if self.temperature.iter().any(|t| *t <= 0.0) {
            return Err(format!(
                "temperature {:?} is not positive",
                self.temperature
            ));
        }
        if self.decoder_hidden < 0 {
            return Err(format!(
                "decoder_hidden = {} is no width",
                self.decoder_hidden
            ));
        }
        not_negative(&[
            ("kl_weight", self.kl_weight),
            ("usage_weight", self.usage_weight),
        ])?;
        check_crop("crop", self.crop.as_ref())?;
        self.schedule.check()
    }
}

impl DinoStage {
    pub(super) fn check(&self, config: &FlavaConfig) -> Check {
        let patch = config.image_config.patch_size as usize;
        if !self.local_size.is_multiple_of(patch) || self.local_size == 0 {
            let size = self.local_size;
            return Err(format!(
                "local_size {size} is no multiple of the patches' {patch}"
            ));
        }
        self.check_views()?;
        self.check_head()?;
        shares(&[
            ("momentum", self.momentum),
            ("centre_momentum", self.centre_momentum),
        ])?;
        not_negative(&[
            ("final_weight_decay", self.final_weight_decay),
            ("clip_each", self.clip_each),
        ])?;
        if self.schedule.weight_decay <= 0.0 && self.final_weight_decay > 0.0 {
            return Err("a weight_decay that ends above 0 begins above 0".into());
        }
        self.schedule.check()
    }

    fn check_head(&self) -> Check {
        let [first, last] = self.teacher_temperature;
        let temperatures = [self.student_temperature, first, last];
        if temperatures.iter().any(|t| *t <= 0.0) {
            return Err("student_temperature and teacher_temperature are positive".into());
        }
        let widths = [self.outputs, self.hidden, self.bottleneck];
        if widths.iter().any(|width| *width < 1) {
            return Err("outputs, hidden and bottleneck are at least 1".into());
        }
        Ok(())
    }

    fn check_views(&self) -> Check {
        let colours = &self.colours;
        shares(&[
            ("colours.jitter", colours.jitter),
            ("colours.strength", colours.strength),
            ("colours.saturation", colours.saturation),
            ("colours.hue", colours.hue),
            ("colours.grey", colours.grey),
        ])?;
        for [low, high] in [self.blur, self.local_blur] {
            if !(0.0 <= low && low <= high) {
                let reason = "go from a standard deviation to one that is not smaller";
                return Err(format!("blur and local_blur {reason}"));
            }
        }
        check_crop("global_crop", Some(&self.global_crop))?;
        check_crop("local_crop", Some(&self.local_crop))
    }
}

impl TrainStage {
    pub(super) fn check(&self, config: &FlavaConfig) -> Check {
        self.weights.check()?;
        self.check_mixture()?;
        self.check_negatives()?;
        check_crop("crop", self.crop.as_ref())?;
        self.check_texts(config)?;
        if let Some(evaluate) = &self.evaluate {
            evaluate
                .check()
                .map_err(|reason| format!("evaluate: {reason}"))?;
        }
        self.schedule.check()
    }

    fn check_mixture(&self) -> Check {
        if self.mixture.is_empty() || self.mixture.len() > MOST_CORPORA {
            return Err("mixture names no corpus, or too many".into());
        }
        self.mixture
            .iter()
            .try_for_each(|share| self.check_share(share))?;
        if self.mixture.iter().all(|share| share.ratio == 0.0) {
            return Err("every ratio of the mixture is 0".into());
        }
        Ok(())
    }

    fn check_share(&self, share: &Share) -> Check {
        let Share { corpus, ratio, .. } = share;
        if *ratio < 0.0 {
            return Err(format!("the ratio {ratio} of {corpus} is no share"));
        }
        if !self.weights.read(share.rows) && *ratio > 0.0 {
            let reason = "is drawn, but every loss of its rows has weight 0";
            return Err(format!("{corpus} {reason}"));
        }
        if share.batch_size == Some(0) {
            return Err(format!("batch_size 0 for {corpus}"));
        }
        Ok(())
    }

    fn check_negatives(&self) -> Check {
        let share = self.contrastive_share;
        if !(share > 0.0 && share <= 1.0) {
            return Err(format!(
                "contrastive_share = {share} is no share of a batch"
            ));
        }
        let is_pairs = |share: &Share| share.rows == RowKind::Pairs && share.ratio > 0.0;
        let weights = &self.weights;
        let mmm = weights.mmm_image > 0.0 || weights.mmm_text > 0.0;
        let negatives = self.negatives;
        if self.mixture.iter().any(is_pairs) && negatives > 0.0 && weights.itm <= 0.0 && mmm {
            return Err(format!(
                "negatives = {negatives} exchanges captions, but matching has weight 0: other \
                 losses would take them for right"
            ));
        }
        Ok(())
    }

    fn check_texts(&self, config: &FlavaConfig) -> Check {
        let longest = config.text_config.max_position_embeddings as usize;
        for length in [self.text_length, self.caption_length] {
            if length < 3 || length > longest {
                return Err(format!(
                    "texts of {length} tokens for a model of 3 to {longest}"
                ));
            }
        }
        for (name, share) in [
            ("negatives", self.negatives),
            ("dropout", self.dropout),
            ("text_masks.rate", self.text_masks.rate),
            ("caption_masks.rate", self.caption_masks.rate),
        ] {
            if !(0.0..1.0).contains(&share) {
                return Err(format!("{name} = {share} is no share below 1"));
            }
        }
        Ok(())
    }
}

impl LossWeights {
    fn check(&self) -> Check {
        let named = self.named();
        let named = named.map(|(name, weight)| (format!("weights.{name}"), weight));
        not_negative(
            &named
                .each_ref()
                .map(|(name, weight)| (name.as_str(), *weight)),
        )
    }
}

impl Evaluate {
    fn check(&self) -> Check {
        self.task_of_best()?;
        if self.every == 0 {
            return Err("every is at least 1".into());
        }
        Ok(())
    }
}

impl TrainingSchedule {
    fn check(&self) -> Check {
        self.problems()
            .map_err(|reason| format!("schedule: {reason}"))
    }

    fn problems(&self) -> Check {
        let Self { steps, warmup, .. } = self;
        if *steps == 0 || self.batch_size == 0 || self.save_every == 0 {
            return Err("steps, batch_size and save_every are at least 1".into());
        }
        self.check_adamw()?;
        if !(0.0..1.0).contains(&self.ema) {
            return Err(format!("ema = {} is a share below 1", self.ema));
        }
        if warmup > steps {
            return Err(format!("a warmup of {warmup} steps, of {steps} in all"));
        }
        not_negative(&[
            ("weight_decay", self.weight_decay),
            ("clip_norm", self.clip_norm),
            ("final_rate", self.final_rate),
        ])?;
        shares(&[("max_broken", self.max_broken)])
    }

    fn check_adamw(&self) -> Check {
        let Self {
            learning_rate,
            eps,
            betas,
            ..
        } = self;
        if *learning_rate <= 0.0 || *eps <= 0.0 {
            let both = format!("learning_rate = {learning_rate} and eps = {eps}");
            return Err(format!("{both} are above 0"));
        }
        if betas.iter().any(|beta| !(0.0..1.0).contains(beta)) {
            return Err(format!("betas = {betas:?} are shares below 1"));
        }
        Ok(())
    }
}

fn shares(all: &[(&str, f64)]) -> Check {
    let wrong = all.iter().find(|(_, share)| !(0.0..=1.0).contains(share));
    wrong.map_or(Ok(()), |(name, share)| {
        Err(format!("{name} = {share} is no share"))
    })
}

fn not_negative(all: &[(&str, f64)]) -> Check {
    let wrong = all.iter().find(|(_, number)| *number < 0.0);
    wrong.map_or(Ok(()), |(name, number)| {
        Err(format!("{name} = {number} is below 0"))
    })
}

fn check_crop(name: &str, crop: Option<&Crop>) -> Check {
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
