//! How a model is pretrained: a TOML file with the model's sizes, the corpora, and the stages in their order.

use std::{collections::BTreeMap, fs, path::Path};

use flava_model::{FlavaConfig, processor::ImageProcessorConfig};
use flava_tasks::sources::Corpus;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::{
    Error, Result,
    augment::{Colours, Crop},
    masking::WordMasks,
};

/// Sizes, and what a model of that size is trained on.
const SIZES: [(&str, &str); 2] = [("base", include_str!("../recipes/base.toml")), ("mini", include_str!("../recipes/mini.toml"))];
/// The paper's columns: what differs from the whole of it.
const COLUMNS: [(&str, &str); 8] = [
    ("mim", include_str!("../recipes/mim.toml")),
    ("mlm", include_str!("../recipes/mlm.toml")),
    ("flava-c-local", include_str!("../recipes/flava-c-local.toml")),
    ("flava-c", include_str!("../recipes/flava-c.toml")),
    ("flava-mm", include_str!("../recipes/flava-mm.toml")),
    ("flava-without-init", include_str!("../recipes/flava-without-init.toml")),
    ("flava-beit-init", include_str!("../recipes/flava-beit-init.toml")),
    ("flava", include_str!("../recipes/flava.toml")),
];

/// A recipe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// What it makes.
    pub summary: String,
    /// What it costs.
    pub cost: String,
    /// What to expect of the result.
    pub expect: String,
    /// Where its settings come from.
    #[serde(default)]
    pub sources: Vec<String>,
    /// What of it nobody has published.
    #[serde(default)]
    pub guesses: Vec<String>,
    /// The stages, in order.
    pub run: Vec<String>,
    /// Rows of a corpus that are mixed with each other.
    #[serde(default = "buffer")]
    pub shuffle_buffer: usize,
    /// Kind of the weights in the final folder: `f32` or `f16`.
    #[serde(default)]
    pub final_weights: FinalWeights,
    /// Keys of config.json that differ from flava-full's.
    pub model: Table,
    /// How patches are hidden.
    #[serde(default)]
    pub image_masks: ImageMasks,
    /// Corpora by name.
    pub corpora: BTreeMap<String, Corpus>,
    /// Stages by name.
    pub stage: BTreeMap<String, Stage>,
}

fn buffer() -> usize {
    16_384
}

/// Kind of the weights in the final folder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FinalWeights {
    /// As they are trained.
    #[default]
    F32,
    /// Half the size.
    F16,
}

/// How patches are hidden (`BEiT`'s blocks).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageMasks {
    /// Patches to hide, at most.
    pub total: usize,
    /// Smallest block.
    pub min_block: usize,
}

impl Default for ImageMasks {
    fn default() -> Self {
        Self { total: 75, min_block: 16 }
    }
}

/// A part of pretraining.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Stage {
    /// Word pieces from texts, or those of an earlier model.
    Tokenizer(TokenizerStage),
    /// The image codebook: trained as the encoder of a discrete VAE, or an earlier one.
    Codebook(CodebookStage),
    /// The image encoder by self-distillation.
    Dino(DinoStage),
    /// Encoders and heads by FLAVA's losses: one of them or all together.
    Train(Box<TrainStage>),
}

impl Stage {
    /// As it is written in recipes.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Tokenizer(_) => "tokenizer",
            Self::Codebook(_) => "codebook",
            Self::Dino(_) => "dino",
            Self::Train(_) => "train",
        }
    }

    /// Updates that it makes.
    pub fn steps(&self) -> usize {
        match self {
            Self::Tokenizer(_) => 0,
            Self::Codebook(stage) => stage.schedule.steps,
            Self::Dino(stage) => stage.schedule.steps,
            Self::Train(stage) => stage.schedule.steps,
        }
    }
}

/// Where word pieces come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenizerStage {
    /// A folder or repository with a tokenizer; empty to learn one.
    #[serde(default)]
    pub from: String,
    /// Corpora whose texts are read.
    #[serde(default)]
    pub corpora: Vec<String>,
    /// Most pieces, the special ones included.
    #[serde(default)]
    pub vocab_size: usize,
    /// How often a piece must occur.
    #[serde(default = "twice")]
    pub min_frequency: u64,
    /// Most texts that are read of a corpus; 0 reads all.
    #[serde(default)]
    pub max_texts: usize,
}

fn twice() -> u64 {
    2
}

/// Updates and how they are made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingSchedule {
    /// Updates.
    pub steps: usize,
    /// Rows of one update.
    pub batch_size: usize,
    /// Highest learning rate.
    pub learning_rate: f64,
    /// Updates over which it rises.
    pub warmup: usize,
    /// What follows.
    #[serde(default)]
    pub decay: RateDecay,
    /// What it ends at.
    #[serde(default)]
    pub final_rate: f64,
    /// Weight decay, as a share of the rate.
    pub weight_decay: f64,
    /// Whether biases, norms and tokens decay too.
    #[serde(default)]
    pub decay_all: bool,
    /// Adam's averages.
    #[serde(default = "betas")]
    pub betas: [f64; 2],
    /// Adam's epsilon.
    #[serde(default = "eps")]
    pub eps: f64,
    /// Norm that gradients are cut to; 0 cuts none.
    #[serde(default)]
    pub clip_norm: f64,
    /// Updates between two saved states; the last one is kept.
    #[serde(default = "thousand")]
    pub save_every: usize,
    /// Saved states that are kept by number beside the last one.
    #[serde(default)]
    pub keep: usize,
    /// Share of a corpus's rows that may be broken before training stops.
    #[serde(default = "hundredth")]
    pub max_broken: f64,
}

fn betas() -> [f64; 2] {
    [0.9, 0.999]
}

fn eps() -> f64 {
    1e-8
}

fn thousand() -> usize {
    1000
}

fn hundredth() -> f64 {
    0.01
}

/// What follows the warm-up of the learning rate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RateDecay {
    /// Straight down.
    Linear,
    /// Half a cosine down.
    #[default]
    Cosine,
    /// None.
    Constant,
}

/// The discrete VAE (DALL-E, appendix A).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CodebookStage {
    /// A folder or repository with a codebook; empty to train one.
    #[serde(default)]
    pub from: String,
    /// Pictures.
    #[serde(default)]
    pub corpus: String,
    /// Parts of pictures; without it they are taken whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crop: Option<Crop>,
    /// Updates.
    #[serde(default = "no_schedule")]
    pub schedule: TrainingSchedule,
    /// Channels of the decoder where it ends; 0 for the encoder's.
    #[serde(default)]
    pub decoder_hidden: i64,
    /// Temperature of the Gumbel softmax, at first and at last.
    #[serde(default = "temperatures")]
    pub temperature: [f64; 2],
    /// Updates over which it falls.
    #[serde(default)]
    pub temperature_steps: usize,
    /// Weight of the divergence from the even distribution, at last.
    #[serde(default)]
    pub kl_weight: f64,
    /// Updates over which it rises from nothing.
    #[serde(default)]
    pub kl_steps: usize,
    /// Weight of the distance of a batch's words from being used alike; DALL-E has none, and needs 3 million updates.
    #[serde(default)]
    pub usage_weight: f64,
}

fn temperatures() -> [f64; 2] {
    [1.0, 1.0 / 16.0]
}

fn no_schedule() -> TrainingSchedule {
    TrainingSchedule {
        steps: 0,
        batch_size: 1,
        learning_rate: 0.0,
        warmup: 0,
        decay: RateDecay::Cosine,
        final_rate: 0.0,
        weight_decay: 0.0,
        decay_all: false,
        betas: betas(),
        eps: eps(),
        clip_norm: 0.0,
        save_every: thousand(),
        keep: 0,
        max_broken: hundredth(),
    }
}

/// Self-distillation without labels (Caron et al. 2021).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DinoStage {
    /// Pictures.
    pub corpus: String,
    /// Updates; `weight_decay` is what it begins with.
    pub schedule: TrainingSchedule,
    /// What the weight decay ends at.
    pub final_weight_decay: f64,
    /// Width of the output.
    pub outputs: i64,
    /// Width of the head's two hidden layers.
    pub hidden: i64,
    /// Width before the output layer.
    pub bottleneck: i64,
    /// Large views; two of them.
    pub global_crop: Crop,
    /// Small views.
    pub local_crop: Crop,
    /// How many small views.
    pub local_crops: usize,
    /// Side of a small view in pixels.
    pub local_size: usize,
    /// Colours of all views.
    #[serde(default)]
    pub colours: Colours,
    /// The student's temperature.
    pub student_temperature: f64,
    /// The teacher's, at first and later.
    pub teacher_temperature: [f64; 2],
    /// Updates over which it rises.
    pub teacher_temperature_steps: usize,
    /// How much of the teacher stays at each update, at first; at last all of it does.
    pub momentum: f64,
    /// How much of the centre stays.
    pub centre_momentum: f64,
    /// Updates during which the output layer is left alone.
    pub frozen_steps: usize,
    /// Norm that each parameter's gradient is cut to; 0 cuts none.
    #[serde(default)]
    pub clip_each: f64,
}

/// Training by FLAVA's losses.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainStage {
    /// Updates.
    pub schedule: TrainingSchedule,
    /// What each batch is drawn from.
    pub mixture: Vec<Share>,
    /// What is taken over from earlier stages or checkpoints.
    #[serde(default)]
    pub init: Vec<Init>,
    /// What each loss counts.
    #[serde(default)]
    pub weights: LossWeights,
    /// Share of the batch among which a contrastive query finds its partner: 1 is the paper's global loss.
    #[serde(default = "whole")]
    pub contrastive_share: f64,
    /// How often a pair's caption is exchanged for another one.
    #[serde(default)]
    pub negatives: f64,
    /// Parts of pictures; without it they are taken whole, and visual words are computed once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crop: Option<Crop>,
    /// Hidden words of texts alone.
    #[serde(default = "plain")]
    pub text_masks: WordMasks,
    /// Hidden words of captions.
    #[serde(default = "whole_words")]
    pub caption_masks: WordMasks,
    /// Longest text alone, in tokens.
    pub text_length: usize,
    /// Longest caption, in tokens.
    pub caption_length: usize,
    /// Dropout of states and attention.
    #[serde(default)]
    pub dropout: f64,
    /// What the model is measured on while it is trained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evaluate: Option<Evaluate>,
}

fn whole() -> f64 {
    1.0
}

fn plain() -> WordMasks {
    WordMasks { rate: 0.15, whole_words: false }
}

fn whole_words() -> WordMasks {
    WordMasks { rate: 0.15, whole_words: true }
}

/// A corpus of a mixture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Share {
    /// Which.
    pub corpus: String,
    /// How often it is drawn, relative to the others.
    pub ratio: f64,
    /// What its rows are read as.
    pub rows: RowKind,
    /// Rows of one update, where they are not the schedule's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch_size: Option<usize>,
}

/// What a corpus's rows are read as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RowKind {
    /// Pictures: MIM.
    Images,
    /// Texts: MLM.
    Texts,
    /// Both: the contrastive loss, ITM and MMM.
    Pairs,
}

/// What is taken over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Init {
    /// An earlier stage, a folder, or a repository.
    pub from: String,
    /// Which parts of it.
    pub parts: Vec<Part>,
}

/// A part of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// The image encoder.
    Image,
    /// The text encoder.
    Text,
    /// The head of masked image modelling.
    MimHead,
    /// The head of masked language modelling.
    MlmHead,
    /// Everything.
    All,
}

impl Part {
    /// How the names of its tensors begin.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Image => "flava.image_model.",
            Self::Text => "flava.text_model.",
            Self::MimHead => "mim_head.",
            Self::MlmHead => "mlm_head.",
            Self::All => "",
        }
    }
}

/// What each loss counts; 0 leaves it out.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs, reason = "each is the objective of its name")]
pub struct LossWeights {
    pub mim: f64,
    pub mlm: f64,
    pub itm: f64,
    pub global_contrastive: f64,
    pub mmm_image: f64,
    pub mmm_text: f64,
}

impl Default for LossWeights {
    fn default() -> Self {
        Self { mim: 1.0, mlm: 1.0, itm: 1.0, global_contrastive: 1.0, mmm_image: 1.0, mmm_text: 1.0 }
    }
}

/// What a model is measured on while it is trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evaluate {
    /// Updates between two measurements.
    pub every: usize,
    /// Tasks of `flava-eval`, with commas between them.
    pub tasks: String,
    /// The task by whose main metric the best state is chosen.
    pub best_by: String,
}

impl Recipe {
    /// A built-in recipe (`mini`, `flava-base`, a column such as `flava-c`, at mini size `mini-flava-c`) or a file, with settings
    /// `stage.key=value` over it.
    pub fn open(name: &str, set: &[String]) -> Result<Self> {
        let wrong = |reason: String| Error::Recipe { name: name.to_owned(), reason };
        let mut table = Self::table(name)?;
        for setting in set {
            apply(&mut table, setting).map_err(|reason| wrong(format!("--set {setting}: {reason}")))?;
        }
        let text = toml::to_string(&table).map_err(|e| wrong(e.to_string()))?;
        let recipe: Self = toml::from_str(&text).map_err(|e| wrong(nearest(e.message())))?;
        recipe.check().map_err(wrong)?;
        Ok(recipe)
    }

    /// A recipe as TOML, whole, to start one of your own from.
    pub fn text(name: &str) -> Result<String> {
        toml::to_string(&Self::open(name, &[])?).map_err(|e| Error::Input(e.to_string()))
    }

    /// The names of the built-in recipes.
    pub fn names() -> Vec<String> {
        let columns = |prefix: &str| COLUMNS.iter().map(|(name, _)| format!("{prefix}{name}")).collect::<Vec<_>>();
        ["mini".to_owned(), "flava-base".to_owned()].into_iter().chain(columns("")).chain(columns("mini-")).collect()
    }

    fn table(name: &str) -> Result<Table> {
        let wrong = |reason: String| Error::Recipe { name: name.to_owned(), reason };
        let parse = |text: &str| toml::from_str::<Table>(text).map_err(|e| wrong(e.to_string()));
        let path = Path::new(name);
        if path.extension().is_some_and(|ending| ending == "toml") {
            let mut table = parse(&fs::read_to_string(path).map_err(|e| flava_model::Error::io(path, e))?)?;
            let Some(base) = table.remove("extends") else { return Ok(table) };
            let base = base.as_str().ok_or_else(|| wrong("extends is no name of a recipe".into()))?;
            if Path::new(base).extension().is_some() {
                return Err(wrong(format!("extends {base}: a file extends a built-in recipe")));
            }
            let mut whole = Self::table(base)?;
            merge(&mut whole, table);
            return Ok(whole);
        }
        let (size, column) = match name {
            "mini" => ("mini", None),
            "flava-base" => ("base", None),
            _ => name.strip_prefix("mini-").map_or(("base", Some(name)), |column| ("mini", Some(column))),
        };
        let of = |all: &[(&str, &'static str)], name: &str| all.iter().find(|(known, _)| *known == name).map(|(_, text)| *text);
        let mut table = parse(of(&SIZES, size).unwrap_or_default())?;
        let Some(column) = column else { return Ok(table) };
        let Some(text) = of(&COLUMNS, column) else {
            let known = Self::names();
            let near = closest(name, known.iter().map(String::as_str)).map_or(String::new(), |near| format!("; did you mean {near}?"));
            return Err(wrong(format!("there is no such recipe, and no file of that name (.toml){near}")));
        };
        merge(&mut table, parse(text)?);
        Ok(table)
    }

    /// The model's configuration; `words` is the size of the tokenizer.
    pub fn config(&self, words: usize) -> Result<FlavaConfig> {
        let json = serde_json::to_string(&self.model).map_err(|e| Error::Input(e.to_string()))?;
        let mut config = FlavaConfig::from_json(&json)?;
        config.text_config.vocab_size = config.text_config.vocab_size.max(words as i64);
        if !self.model.get("text_config").is_some_and(|text| text.get("vocab_size").is_some()) {
            config.text_config.vocab_size = words as i64;
        }
        Ok(config)
    }

    /// How its pictures are prepared.
    pub fn processor(&self, config: &FlavaConfig) -> ImageProcessorConfig {
        let image = &config.image_config;
        let mut processor = ImageProcessorConfig::for_size(image.image_size as usize, image.patch_size as usize);
        processor.total_mask_patches = self.image_masks.total;
        processor.mask_group_min_patches = self.image_masks.min_block;
        processor
    }

    /// The stages, in order.
    pub fn stages(&self) -> impl Iterator<Item = (&str, &Stage)> {
        self.run.iter().filter_map(|name| Some((name.as_str(), self.stage.get(name)?)))
    }

    /// What contradicts itself.
    fn check(&self) -> std::result::Result<(), String> {
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

/// Puts `over` over `under`, table by table. A table of another `format` or `kind` replaces what was there: its keys mean other things.
fn merge(under: &mut Table, over: Table) {
    for (key, value) in over {
        match (under.get_mut(&key), value) {
            (Some(Value::Table(under)), Value::Table(over)) => {
                let differs = |tag: &str| over.get(tag).is_some_and(|tag_over| under.get(tag) != Some(tag_over));
                if differs("format") || differs("kind") {
                    *under = over;
                } else {
                    merge(under, over);
                }
            }
            (_, value) => drop(under.insert(key, value)),
        }
    }
}

/// `key=value`, where the key's first part may be a stage's name.
fn apply(table: &mut Table, setting: &str) -> std::result::Result<(), String> {
    let (key, value) = setting.split_once('=').ok_or("is no key=value")?;
    let mut path: Vec<&str> = key.trim().split('.').collect();
    let is_stage = table.get("stage").and_then(Value::as_table).is_some_and(|stages| stages.contains_key(path[0]));
    if is_stage {
        path.insert(0, "stage");
    }
    // What TOML does not read is a text.
    let value = toml::from_str::<Table>(&format!("v = {}", value.trim()))
        .ok()
        .and_then(|mut parsed| parsed.remove("v"))
        .unwrap_or_else(|| Value::String(value.trim().to_owned()));
    let (last, parents) = path.split_last().ok_or("names no key")?;
    let mut place = table;
    for part in parents {
        let known: Vec<String> = place.keys().cloned().collect();
        let next = place.get_mut(*part).and_then(Value::as_table_mut);
        place = next.ok_or_else(|| {
            let near = closest(part, known.iter().map(String::as_str)).map_or(String::new(), |near| format!("; did you mean {near}?"));
            format!("there is no table {part:?}{near}")
        })?;
    }
    // A value keeps its form, so that `learning_rate=1` is not refused for being whole.
    let value = match (place.get(*last), value) {
        (Some(Value::Float(_)), Value::Integer(whole)) => Value::Float(whole as f64),
        (_, value) => value,
    };
    place.insert((*last).to_owned(), value);
    Ok(())
}

/// serde's message about an unknown key, with the nearest known one.
fn nearest(message: &str) -> String {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let near = match (message.contains("unknown field") || message.contains("unknown variant"), quoted.next()) {
        (true, Some(unknown)) => closest(unknown, quoted),
        _ => None,
    };
    near.map_or_else(|| message.to_owned(), |near| format!("{message}; did you mean {near}?"))
}

fn closest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let scored = known.map(|other| (strsim::jaro_winkler(name, other), other)).filter(|(score, _)| *score > 0.75);
    scored.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, other)| other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_recipe_is_sound_and_says_what_it_costs() {
        for name in Recipe::names() {
            let recipe = Recipe::open(&name, &[]).unwrap_or_else(|e| panic!("{e}"));
            assert!(!recipe.summary.is_empty() && !recipe.cost.is_empty() && !recipe.expect.is_empty(), "{name}");
            assert!(recipe.stages().any(|(_, stage)| stage.steps() > 0), "{name}");
        }
    }

    #[test]
    fn settings_go_over_the_recipe_and_mistakes_are_named() {
        let open = |set: &str| Recipe::open("mini", &[set.to_owned()]);
        let Stage::Train(joint) = &open("joint.schedule.steps=7").unwrap().stage["joint"] else { panic!("joint trains") };
        assert_eq!(joint.schedule.steps, 7);
        for (set, needle) in [
            ("joint.schedule.step=7", "did you mean steps?"),
            ("jiont.schedule.steps=7", "did you mean"),
            ("joint.negatives=2.0", "no share below 1"),
            ("joint.schedule.warmup=1000000", "a warm-up of 1000000"),
            ("joint.caption_length=4000", "texts of 4000 tokens"),
            ("image_masks.total=5000", "image_masks"),
            ("model.hidden_size=63", "hidden_size"),
            ("run=[\"joint\", \"textt\"]", "which is not there"),
            ("joint.weights={mim=0, mlm=1}", "has weight 0"),
        ] {
            let message = open(set).expect_err(set).to_string();
            assert!(message.contains(needle), "{set}: {message}");
        }
        assert!(Recipe::open("flava-see", &[]).unwrap_err().to_string().contains("did you mean"));
    }
}
