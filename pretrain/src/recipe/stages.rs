//! What the stages of a recipe are told.

use std::path::PathBuf;

use flava_base::LrDecay;
use flava_tasks::{Registry, Suite, select};
use flava_training::{AdamWConfig, LrSchedule, TrainerConfig};
use serde::{Deserialize, Deserializer, Serialize, de::Error};
use toml::Table;

use crate::{
    augment::{Colours, Crop},
    joint::WordMasks,
};
use flava_base::overrides::read;

/// A part of pretraining.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
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

impl<'de> Deserialize<'de> for Stage {
    /// By its kind; what is wrong comes with its key, which serde's own way of reading such a table
    /// loses.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let mut table = Table::deserialize(deserializer)?;
        let kind = table
            .remove("kind")
            .ok_or_else(|| D::Error::custom("has no kind, and no stage of this name is known"))?;
        match kind.as_str() {
            Some("tokenizer") => read(table).map(Self::Tokenizer),
            Some("codebook") => read(table).map(Self::Codebook),
            Some("dino") => read(table).map(Self::Dino),
            Some("train") => read(table).map(|stage| Self::Train(Box::new(stage))),
            _ => Err(format!(
                "{kind} is no kind of a stage: tokenizer, codebook, dino or train"
            )),
        }
        .map_err(D::Error::custom)
    }
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

    /// The corpora that it names, also where it reads none of their rows.
    pub fn corpora(&self) -> Vec<&str> {
        match self {
            Self::Tokenizer(stage) => stage.corpora.iter().map(String::as_str).collect(),
            Self::Codebook(stage) => vec![&stage.corpus],
            Self::Dino(stage) => vec![&stage.corpus],
            Self::Train(stage) => stage
                .mixture
                .iter()
                .map(|share| share.corpus.as_str())
                .collect(),
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
    /// Share of the texts that may be broken.
    #[serde(default = "hundredth")]
    pub max_broken: f64,
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
    #[serde(default = "cosine")]
    pub decay: LrDecay,
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
    /// Maximum gradient norm; 0 for none.
    #[serde(default)]
    pub clip_norm: f64,
    /// Decay of a moving average of the weights, which is then the result; 0 for none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub ema: f64,
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

/// Keys that decide something only where they are set do not change the digests of recipes that
/// are older than they are.
fn is_zero<T: PartialEq + Default>(value: &T) -> bool {
    *value == T::default()
}

impl TrainingSchedule {
    /// How the trainer makes the steps.
    pub fn config(&self) -> TrainerConfig {
        TrainerConfig {
            lr_schedule: LrSchedule {
                peak: self.learning_rate,
                last: self.final_rate,
                warmup: self.warmup,
                steps: self.steps,
                decay: self.decay,
            },
            adamw: AdamWConfig {
                betas: self.betas,
                eps: self.eps,
                weight_decay: self.weight_decay,
                decay_all: self.decay_all,
            },
            clip_norm: self.clip_norm,
            ema: self.ema,
            save_every: self.save_every,
            keep: self.keep,
            max_broken: self.max_broken,
        }
    }
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

fn cosine() -> LrDecay {
    LrDecay::Cosine
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
    /// Weight of the distance of a batch's words from being used alike; DALL-E has none, and needs
    /// 3 million updates.
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
        decay: LrDecay::Cosine,
        final_rate: 0.0,
        weight_decay: 0.0,
        decay_all: false,
        betas: betas(),
        eps: eps(),
        clip_norm: 0.0,
        ema: 0.0,
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
    /// Standard deviation of the blur of large views, from and to, in pixels.
    #[serde(default = "blur")]
    pub blur: [f64; 2],
    /// The same of small views.
    #[serde(default = "blur")]
    pub local_blur: [f64; 2],
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

/// DINO's, of all views.
fn blur() -> [f64; 2] {
    [0.1, 2.0]
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
    /// Share of the batch among which a contrastive query finds its partner: 1 is the paper's
    /// global loss.
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
    WordMasks {
        rate: 0.15,
        whole_words: false,
    }
}

fn whole_words() -> WordMasks {
    WordMasks {
        rate: 0.15,
        whole_words: true,
    }
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

impl LossWeights {
    /// Whether a loss reads the visual words of such rows.
    pub fn read_patches(&self, rows: RowKind) -> bool {
        match rows {
            RowKind::Images => self.mim > 0.0,
            RowKind::Pairs => self.mmm_image > 0.0,
            RowKind::Texts => false,
        }
    }

    /// Whether a loss reads such rows at all.
    pub fn read(&self, rows: RowKind) -> bool {
        match rows {
            RowKind::Images => self.mim > 0.0,
            RowKind::Texts => self.mlm > 0.0,
            RowKind::Pairs => [
                self.itm,
                self.global_contrastive,
                self.mmm_image,
                self.mmm_text,
            ]
            .iter()
            .any(|weight| *weight > 0.0),
        }
    }
}

impl Default for LossWeights {
    fn default() -> Self {
        Self {
            mim: 1.0,
            mlm: 1.0,
            itm: 1.0,
            global_contrastive: 1.0,
            mmm_image: 1.0,
            mmm_text: 1.0,
        }
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
    /// The task, one of them, by whose main metric the best state is chosen.
    pub best_by: String,
    /// Measurements without a better score after which training stops; 0 never stops early.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub patience: usize,
    /// Folder of the tasks' data, below that of the corpora; the Hub without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<PathBuf>,
}

impl Evaluate {
    /// The name of the task that the best state is chosen by, or what is wrong with it or with the
    /// tasks.
    pub fn task_of_best(&self) -> std::result::Result<String, String> {
        let registry = Registry::built_in().map_err(|e| e.to_string())?;
        let named = |list: &str| -> std::result::Result<Vec<String>, String> {
            let tasks = select(&registry, list, Suite::Paper).map_err(|e| e.to_string())?;
            Ok(tasks.into_iter().map(|task| task.name.clone()).collect())
        };
        let (tasks, best) = (named(&self.tasks)?, named(&self.best_by)?);
        match best.as_slice() {
            [task] if tasks.contains(task) => Ok(task.clone()),
            [task] => Err(format!(
                "best_by is {task}, which tasks ({}) do not name",
                tasks.join(", ")
            )),
            _ => Err(format!(
                "best_by = {:?} names {} tasks: the best state is chosen by one",
                self.best_by,
                best.len()
            )),
        }
    }
}
