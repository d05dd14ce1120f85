//! A checkpoint ready to use: weights, preprocessing and identity from one directory.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use flava_base::hex;
use sha2::{Digest, Sha256};
use tch::{Device, nn::VarStore};

use crate::{
    AttentionKind, Error, Flava, FlavaConfig, Result,
    checkpoint::{Checkpoint, LoadReport, WEIGHTS},
    processor::{ImageProcessorConfig, PassOrder, TextProcessor},
    runtime::{Fill, Precision, Vars},
};

/// What tables of words are filled up to, where they are.
const PADDED_TO: usize = 64;

/// How a checkpoint is loaded for inference.
#[derive(Clone, Copy, Debug)]
pub struct LoadOptions {
    /// Where it runs.
    pub device: Device,
    /// In which precision.
    pub precision: Precision,
    /// How attention is computed.
    pub attention: AttentionKind,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self {
            device: Device::Cpu,
            precision: Precision::F32,
            attention: AttentionKind::Fused,
        }
    }
}

/// FLAVA's encoders for inference, with what turns files into their inputs.
#[derive(Debug)]
pub struct Pretrained {
    /// None where only what describes them was read.
    flava: Option<Flava>,
    /// Their configuration.
    pub config: FlavaConfig,
    /// How images are prepared.
    pub image: ImageProcessorConfig,
    /// How texts are prepared.
    pub text: Arc<TextProcessor>,
    /// How many parameters each part has, such as `image_model`.
    pub parameters: BTreeMap<String, u64>,
    /// A digest of the weights.
    pub fingerprint: String,
    /// What of the checkpoint fitted.
    pub report: LoadReport,
    /// What a reader of its numbers should know: defaults that stand in for files that are not
    /// there.
    pub notes: Vec<String>,
    /// Where and how it runs.
    pub options: LoadOptions,
}

/// Everything of a directory in Hugging Face's layout but its weights.
#[derive(Debug)]
pub struct Description {
    /// config.json.
    pub config: FlavaConfig,
    /// `preprocessor_config.json`, or what goes with the configuration's sizes.
    pub image: ImageProcessorConfig,
    /// tokenizer.json, or vocab.txt.
    pub text: TextProcessor,
    /// Defaults that stand in for files that are not there, and decide numbers.
    pub notes: Vec<String>,
}

impl Description {
    /// Reads it.
    pub fn open(directory: &Path) -> Result<Self> {
        let config = FlavaConfig::from_file(&directory.join("config.json"))?;
        let mut notes = Vec::new();
        let image = ImageProcessorConfig::from_directory(directory)?.unwrap_or_else(|| {
            let reason = "has neither preprocessor_config.json nor processor_config.json: FLAVA's mean and deviation stand in";
            notes.push(format!("{} {reason}", directory.display()));
            ImageProcessorConfig::for_size(config.image_config.image_size as usize, config.image_config.patch_size as usize)
        });
        let there = |name: &str| flava_base::is_there(&directory.join(name));
        if !there("tokenizer_config.json") && !there("tokenizer.json") {
            let reason = "has no tokenizer_config.json: texts are lower-cased, as by BERT's uncased tokenizer";
            notes.push(format!("{} {reason}", directory.display()));
        }
        Ok(Self {
            config,
            image,
            text: TextProcessor::from_directory(directory)?,
            notes,
        })
    }
}

impl Pretrained {
    /// Loads a Hugging Face directory: config.json, weights, `preprocessor_config.json`, tokenizer
    /// files.
    pub fn open(directory: &Path, options: LoadOptions) -> Result<Self> {
        Self::read(directory, options, true)
    }

    /// As [`Self::open`], with the same checks, but without the encoders: for who trains them, and
    /// loads them to that end.
    pub fn describe(directory: &Path, options: LoadOptions) -> Result<Self> {
        Self::read(directory, options, false)
    }

    fn read(directory: &Path, options: LoadOptions, with_encoders: bool) -> Result<Self> {
        if !directory.is_dir() {
            return Err(Error::file(
                directory,
                "is no folder; --model takes a folder with config.json and weights",
            ));
        }
        let Description {
            config,
            image,
            text,
            notes,
        } = Description::open(directory)?;
        let checkpoint = Checkpoint::open(directory)?;
        let device = if with_encoders {
            options.device
        } else {
            Device::Cpu
        };
        let mut store = VarStore::new(device);
        store.set_kind(options.precision.kind());
        let vars = Vars::root(&store, Fill::Unset) / "flava";
        let mut flava = Flava::new(&vars, &config, options.attention);
        let report = if with_encoders {
            checkpoint.load_into(&store)?
        } else {
            checkpoint.compare(&store)?
        };
        report.require(&["flava"])?;
        let mut described = Self {
            flava: None,
            config,
            image,
            text: Arc::new(text),
            parameters: parameters(&store),
            fingerprint: checkpoint.fingerprint(),
            report,
            notes,
            options,
        };
        described.check().map_err(|e| match e {
            Error::Config(reason) => Error::file(directory, reason),
            other => other,
        })?;
        if with_encoders {
            store.freeze();
            flava.pack();
            described.flava = Some(flava);
        }
        Ok(described)
    }

    /// The encoders.
    ///
    /// # Errors
    /// If the model was described only.
    pub fn flava(&self) -> Result<&Flava> {
        let reason = "the encoders were not loaded, as this run only trains";
        let none = || Error::Config(reason.into());
        self.flava.as_ref().ok_or_else(none)
    }

    /// A digest of the weights and of how they are put together.
    pub fn identity(&self) -> String {
        let config = hex(&Sha256::digest(self.config.to_json("", "float32"))[..8]);
        format!("{}-{config}", self.fingerprint)
    }

    /// Checks that the parts fit each other, and notes what a reader should know.
    fn check(&mut self) -> Result<()> {
        if !self.report.unexpected.is_empty() {
            self.notes.push(format!(
                "{}: the tensors that are no part of FLAVA were left out",
                self.report
            ));
        }
        let side = self.config.image_config.image_size as usize;
        if let Some((height, width)) = self.image.transform(PassOrder::default()).output_size()
            && (height, width) != (side, side)
        {
            return Err(Error::Config(format!(
                "the image processor's file gives {height}x{width} pixels, config.json wants {side}x{side}"
            )));
        }
        self.check_words()
    }

    /// Checks that the embedding is of the tokenizer's words, and notes rows beyond them.
    fn check_words(&mut self) -> Result<()> {
        let rows = self.config.text_config.vocab_size as usize;
        let words = self.text.vocab_size();
        if words > rows {
            return Err(Error::Config(format!(
                "the tokenizer has {words} words, config.json's text_config.vocab_size is {rows}"
            )));
        }
        if words == rows {
            return Ok(());
        }
        let unused = rows - words;
        if !(rows.is_multiple_of(PADDED_TO) && unused < PADDED_TO) {
            let reason = "the embedding has words that the tokenizer does not know: they belong to different vocabularies";
            return Err(Error::Config(format!(
                "the tokenizer has {words} words, text_config.vocab_size is {rows}: {reason}"
            )));
        }
        self.notes.push(format!(
            "the tokenizer has {words} words, the embedding {rows} rows: the last {unused} are unused"
        ));
        Ok(())
    }
}

/// How many parameters each part of the encoders has.
fn parameters(store: &VarStore) -> BTreeMap<String, u64> {
    let mut parts = BTreeMap::new();
    for (name, variable) in store.variables() {
        let part = name.split('.').nth(1).unwrap_or_default();
        *parts.entry(part.to_owned()).or_default() += variable.numel() as u64;
    }
    parts
}

/// Files of a model's folder that describe its weights.
const DESCRIPTIONS: [&str; 9] = [
    "config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "added_tokens.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.txt",
    "README.md",
];

/// Of the files of a model's folder or repository, those that are needed to load it.
///
/// # Errors
/// What is missing: config.json, weights (all their shards), or a tokenizer.
pub fn wanted_files(paths: &[String]) -> std::result::Result<Vec<&str>, String> {
    let has = |name: &str| paths.iter().any(|path| path == name);
    if !has("config.json") {
        return Err("has no config.json".into());
    }
    if !has("tokenizer.json") && !has("vocab.txt") {
        return Err("has neither tokenizer.json nor vocab.txt".into());
    }
    let weights = WEIGHTS
        .iter()
        .find(|name| has(name))
        .ok_or_else(|| format!("has none of {}", WEIGHTS.join(", ")))?;
    let mut wanted: Vec<&str> = DESCRIPTIONS.into_iter().filter(|name| has(name)).collect();
    wanted.push(weights);
    if let Some(stem) = weights.strip_suffix(".index.json") {
        wanted.extend(shards(paths, stem)?);
    }
    Ok(wanted)
}

/// The shards of weights that an index names by `stem`; all of them, or what is missing.
fn shards<'a>(paths: &'a [String], stem: &str) -> std::result::Result<Vec<&'a str>, String> {
    let (name, ending) = stem.rsplit_once('.').unwrap_or((stem, ""));
    let start = format!("{name}-");
    let is_shard = |path: &&str| path.starts_with(&start) && path.ends_with(ending);
    let shards: Vec<&str> = paths.iter().map(String::as_str).filter(is_shard).collect();
    let count = |path: &&str| {
        let (_, rest) = path.split_once("-of-")?;
        rest.split('.').next()?.parse::<usize>().ok()
    };
    let of = shards.iter().filter_map(count).max();
    if shards.is_empty() || of != Some(shards.len()) {
        return Err(format!(
            "has {} of {} shards of {stem}",
            shards.len(),
            of.unwrap_or(1)
        ));
    }
    Ok(shards)
}
