//! What the stages of a recipe are told.

use serde::{Deserialize, Deserializer, Serialize, de::Error};
use toml::Table;

use super::{
    schedule::{TrainingSchedule, hundredth, no_schedule},
    train::TrainStage,
};
use crate::augment::{Colours, Crop};
use flava_base::overrides::read;

/// A part of pretraining.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Stage {
    /// Tokens from texts, or those of an earlier model.
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

/// Where tokens come from.
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

/// The discrete VAE (DALL-E, appendix A).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CodebookStage {
    /// A folder or repository with a codebook; empty to train one.
    #[serde(default)]
    pub from: String,
    /// Images.
    #[serde(default)]
    pub corpus: String,
    /// Parts of images; without it they are taken whole.
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

/// Self-distillation without labels (Caron et al. 2021).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DinoStage {
    /// Images.
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
