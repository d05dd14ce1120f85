//! `config.json` of a FLAVA checkpoint, in the form Hugging Face transformers reads and writes.
//!
//! Unknown keys are ignored (files of 2022 carry some sixty generic ones in each part), absent ones take the
//! defaults, which are those of `facebook/flava-full`.

use std::{fs, path::Path};

use serde::{Deserialize, Serialize};

use crate::{Error, Result, layers::Activation};

/// Lowest and highest value of `logit_scale`: temperature 1 and 100 (4.6052 is transformers' rounding of ln 100).
pub const LOGIT_SCALE_RANGE: (f64, f64) = (0.0, 4.6052);

/// The image encoder, a Vision Transformer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ImageConfig {
    model_type: String,
    /// Width of the encoder.
    pub hidden_size: i64,
    /// Number of blocks.
    pub num_hidden_layers: i64,
    /// Attention heads of a block.
    pub num_attention_heads: i64,
    /// Width of the feed-forward layer.
    pub intermediate_size: i64,
    /// Activation of the feed-forward layer and of the masked-patch head.
    pub hidden_act: Activation,
    /// Dropout after every linear layer of a block.
    pub hidden_dropout_prob: f64,
    /// Dropout of the attention probabilities.
    pub attention_probs_dropout_prob: f64,
    /// Standard deviation of new weights.
    pub initializer_range: f64,
    /// Epsilon of the layer norms.
    pub layer_norm_eps: f64,
    /// Side of the square input, in pixels.
    pub image_size: i64,
    /// Side of a square patch, in pixels.
    pub patch_size: i64,
    /// Channels of the input.
    pub num_channels: i64,
    /// Whether query, key and value have biases.
    pub qkv_bias: bool,
    /// Whether there is a token for masked patches.
    pub mask_token: bool,
    /// Number of visual words; the codebook's.
    pub vocab_size: i64,
}

/// The text encoder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TextConfig {
    model_type: String,
    /// Number of word pieces.
    pub vocab_size: i64,
    /// Number of segments that a pair of texts can have.
    pub type_vocab_size: i64,
    /// Longest input, in tokens.
    pub max_position_embeddings: i64,
    position_embedding_type: String,
    /// Width of the encoder.
    pub hidden_size: i64,
    /// Number of blocks.
    pub num_hidden_layers: i64,
    /// Attention heads of a block.
    pub num_attention_heads: i64,
    /// Width of the feed-forward layer.
    pub intermediate_size: i64,
    /// Activation of the feed-forward layer and of the masked-word heads.
    pub hidden_act: Activation,
    /// Dropout after the embeddings and every linear layer of a block.
    pub hidden_dropout_prob: f64,
    /// Dropout of the attention probabilities.
    pub attention_probs_dropout_prob: f64,
    /// Standard deviation of new weights.
    pub initializer_range: f64,
    /// Epsilon of the layer norms.
    pub layer_norm_eps: f64,
    /// Id of the padding token; its embedding gets no gradient.
    pub pad_token_id: Option<i64>,
    /// Whether query, key and value have biases.
    pub qkv_bias: bool,
}

/// The multimodal encoder over both others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct MultimodalConfig {
    model_type: String,
    /// Width of the encoder.
    pub hidden_size: i64,
    /// Number of blocks.
    pub num_hidden_layers: i64,
    /// Attention heads of a block.
    pub num_attention_heads: i64,
    /// Width of the feed-forward layer.
    pub intermediate_size: i64,
    /// Activation of the feed-forward layer.
    pub hidden_act: Activation,
    /// Dropout after every linear layer of a block.
    pub hidden_dropout_prob: f64,
    /// Dropout of the attention probabilities.
    pub attention_probs_dropout_prob: f64,
    /// Standard deviation of new weights.
    pub initializer_range: f64,
    /// Epsilon of the layer norms.
    pub layer_norm_eps: f64,
    /// Whether query, key and value have biases.
    pub qkv_bias: bool,
    /// Whether the sequence starts with a token of its own.
    pub use_cls_token: bool,
}

/// The image codebook: the encoder of DALL-E's discrete VAE.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CodebookConfig {
    model_type: String,
    /// Enters the gain of the residual paths only: four groups are always built.
    pub num_groups: i64,
    /// Channels of the input.
    pub input_channels: i64,
    /// Residual blocks of a group.
    pub num_blocks_per_group: i64,
    /// Width of the first group; each later one doubles it.
    pub hidden_size: i64,
    /// Number of visual words.
    pub vocab_size: i64,
    /// Whether the codebook is left out of training (early files say null).
    pub freeze: Option<bool>,
    /// Standard deviation of new weights.
    pub initializer_range: f64,
}

/// The whole of `config.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "RawConfig")]
pub struct FlavaConfig {
    model_type: String,
    /// Width of the image-text matching head; the multimodal encoder's.
    pub hidden_size: i64,
    /// Read by nothing; each part has its own.
    pub layer_norm_eps: f64,
    /// Width of the contrastive embeddings.
    pub projection_dim: i64,
    /// Whether the pretraining model has an image codebook.
    pub init_codebook: bool,
    /// Initial `logit_scale`.
    pub logit_scale_init_value: f64,
    /// Standard deviation of new weights of projections and heads.
    pub initializer_range: f64,
    /// Label of a position that is not scored.
    pub ce_ignore_index: i64,
    /// Weight of masked image modelling; zero or less switches a loss off.
    pub mim_weight: f64,
    /// Weight of masked language modelling.
    pub mlm_weight: f64,
    /// Weight of the global contrastive loss.
    pub global_contrastive_weight: f64,
    /// Weight of image-text matching.
    pub itm_weight: f64,
    /// Weight of masked multimodal modelling, patches.
    pub mmm_image_weight: f64,
    /// Weight of masked multimodal modelling, words.
    pub mmm_text_weight: f64,
    /// Whether gradients flow through the gathered embeddings of other ranks.
    pub global_backprop_contrastive: bool,
    /// Transformers' switch for the multimodal encoder on unmasked input.
    pub skip_unmasked_multimodal_encoder: bool,
    /// Transformers' switch for computing losses.
    pub return_loss: bool,
    /// The image encoder.
    pub image_config: ImageConfig,
    /// The text encoder.
    pub text_config: TextConfig,
    /// The multimodal encoder.
    pub multimodal_config: MultimodalConfig,
    /// The image codebook.
    pub image_codebook_config: CodebookConfig,
}

/// What the four transformer configurations have in common, for the block they share.
#[derive(Clone, Copy, Debug)]
pub struct BlockConfig {
    /// Width.
    pub hidden_size: i64,
    /// Number of blocks.
    pub num_hidden_layers: i64,
    /// Attention heads.
    pub num_attention_heads: i64,
    /// Width of the feed-forward layer.
    pub intermediate_size: i64,
    /// Activation of the feed-forward layer.
    pub hidden_act: Activation,
    /// Dropout after linear layers.
    pub hidden_dropout_prob: f64,
    /// Dropout of attention probabilities.
    pub attention_probs_dropout_prob: f64,
    /// Epsilon of the layer norms.
    pub layer_norm_eps: f64,
    /// Whether query, key and value have biases.
    pub qkv_bias: bool,
}

macro_rules! block_config {
    ($($config:ty),*) => {$(
        impl $config {
            /// The part of this configuration that the transformer blocks read.
            pub fn block(&self) -> BlockConfig {
                BlockConfig {
                    hidden_size: self.hidden_size,
                    num_hidden_layers: self.num_hidden_layers,
                    num_attention_heads: self.num_attention_heads,
                    intermediate_size: self.intermediate_size,
                    hidden_act: self.hidden_act,
                    hidden_dropout_prob: self.hidden_dropout_prob,
                    attention_probs_dropout_prob: self.attention_probs_dropout_prob,
                    layer_norm_eps: self.layer_norm_eps,
                    qkv_bias: self.qkv_bias,
                }
            }
        }
    )*};
}
block_config!(ImageConfig, TextConfig, MultimodalConfig);

impl Default for ImageConfig {
    fn default() -> Self {
        Self {
            model_type: "flava_image_model".into(),
            hidden_size: 768,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            intermediate_size: 3072,
            hidden_act: Activation::Gelu,
            hidden_dropout_prob: 0.0,
            attention_probs_dropout_prob: 0.0,
            initializer_range: 0.02,
            layer_norm_eps: 1e-12,
            image_size: 224,
            patch_size: 16,
            num_channels: 3,
            qkv_bias: true,
            mask_token: true,
            vocab_size: 8192,
        }
    }
}

impl ImageConfig {
    /// Patches along one side of the input.
    pub fn grid(&self) -> i64 {
        self.image_size / self.patch_size
    }
}

impl Default for TextConfig {
    fn default() -> Self {
        Self {
            model_type: "flava_text_model".into(),
            vocab_size: 30522,
            type_vocab_size: 2,
            max_position_embeddings: 512,
            position_embedding_type: "absolute".into(),
            hidden_size: 768,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            intermediate_size: 3072,
            hidden_act: Activation::Gelu,
            hidden_dropout_prob: 0.0,
            attention_probs_dropout_prob: 0.0,
            initializer_range: 0.02,
            layer_norm_eps: 1e-12,
            pad_token_id: Some(0),
            qkv_bias: true,
        }
    }
}

impl Default for MultimodalConfig {
    fn default() -> Self {
        Self {
            model_type: "flava_multimodal_model".into(),
            hidden_size: 768,
            num_hidden_layers: 6,
            num_attention_heads: 12,
            intermediate_size: 3072,
            hidden_act: Activation::Gelu,
            hidden_dropout_prob: 0.0,
            attention_probs_dropout_prob: 0.0,
            initializer_range: 0.02,
            layer_norm_eps: 1e-12,
            qkv_bias: true,
            use_cls_token: true,
        }
    }
}

impl Default for CodebookConfig {
    fn default() -> Self {
        Self {
            model_type: "flava_image_codebook".into(),
            num_groups: 4,
            input_channels: 3,
            num_blocks_per_group: 2,
            hidden_size: 256,
            vocab_size: 8192,
            freeze: Some(true),
            initializer_range: 0.02,
        }
    }
}

impl Default for FlavaConfig {
    fn default() -> Self {
        RawConfig::default().into()
    }
}

/// `config.json` as files have it: nested parts may be absent, null or doubled by a legacy `*_config_dict`.
#[derive(Deserialize)]
#[serde(default)]
struct RawConfig {
    model_type: String,
    hidden_size: i64,
    layer_norm_eps: f64,
    projection_dim: i64,
    init_codebook: bool,
    logit_scale_init_value: f64,
    initializer_range: f64,
    ce_ignore_index: i64,
    mim_weight: f64,
    mlm_weight: f64,
    global_contrastive_weight: f64,
    itm_weight: f64,
    mmm_image_weight: f64,
    mmm_text_weight: f64,
    global_backprop_contrastive: bool,
    skip_unmasked_multimodal_encoder: bool,
    return_loss: bool,
    image_config: Option<ImageConfig>,
    text_config: Option<TextConfig>,
    multimodal_config: Option<MultimodalConfig>,
    image_codebook_config: Option<CodebookConfig>,
    image_config_dict: Option<ImageConfig>,
    text_config_dict: Option<TextConfig>,
    multimodal_config_dict: Option<MultimodalConfig>,
    image_codebook_config_dict: Option<CodebookConfig>,
}

impl Default for RawConfig {
    fn default() -> Self {
        Self {
            model_type: "flava".into(),
            hidden_size: 768,
            layer_norm_eps: 1e-12,
            projection_dim: 768,
            init_codebook: true,
            logit_scale_init_value: 2.6592,
            initializer_range: 0.02,
            ce_ignore_index: -100,
            mim_weight: 1.0,
            mlm_weight: 1.0,
            global_contrastive_weight: 1.0,
            itm_weight: 1.0,
            mmm_image_weight: 1.0,
            mmm_text_weight: 1.0,
            global_backprop_contrastive: true,
            skip_unmasked_multimodal_encoder: true,
            return_loss: true,
            image_config: None,
            text_config: None,
            multimodal_config: None,
            image_codebook_config: None,
            image_config_dict: None,
            text_config_dict: None,
            multimodal_config_dict: None,
            image_codebook_config_dict: None,
        }
    }
}

impl From<RawConfig> for FlavaConfig {
    fn from(raw: RawConfig) -> Self {
        // transformers completes a legacy dict with defaults and lets all of it win.
        fn part<T: Default>(legacy: Option<T>, current: Option<T>) -> T {
            legacy.or(current).unwrap_or_default()
        }
        Self {
            model_type: raw.model_type,
            hidden_size: raw.hidden_size,
            layer_norm_eps: raw.layer_norm_eps,
            projection_dim: raw.projection_dim,
            init_codebook: raw.init_codebook,
            logit_scale_init_value: raw.logit_scale_init_value,
            initializer_range: raw.initializer_range,
            ce_ignore_index: raw.ce_ignore_index,
            mim_weight: raw.mim_weight,
            mlm_weight: raw.mlm_weight,
            global_contrastive_weight: raw.global_contrastive_weight,
            itm_weight: raw.itm_weight,
            mmm_image_weight: raw.mmm_image_weight,
            mmm_text_weight: raw.mmm_text_weight,
            global_backprop_contrastive: raw.global_backprop_contrastive,
            skip_unmasked_multimodal_encoder: raw.skip_unmasked_multimodal_encoder,
            return_loss: raw.return_loss,
            image_config: part(raw.image_config_dict, raw.image_config),
            text_config: part(raw.text_config_dict, raw.text_config),
            multimodal_config: part(raw.multimodal_config_dict, raw.multimodal_config),
            image_codebook_config: part(raw.image_codebook_config_dict, raw.image_codebook_config),
        }
    }
}

impl FlavaConfig {
    /// Reads and checks `path`, a `config.json`.
    pub fn from_file(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).map_err(|e| Error::io(path, e))?;
        Self::from_json(&text).map_err(|e| Error::file(path, e))
    }

    /// Parses and checks the text of a `config.json`.
    pub fn from_json(text: &str) -> Result<Self> {
        let config: Self = serde_json::from_str(text).map_err(|e| Error::Config(e.to_string()))?;
        config.check()?;
        Ok(config)
    }

    /// Checks what the parts assume of each other.
    pub fn check(&self) -> Result<()> {
        let Self { image_config: image, text_config: text, multimodal_config: multimodal, .. } = self;
        ensure(self.model_type == "flava", || format!("model_type is {:?}; expected \"flava\"", self.model_type))?;
        check_block("image_config", image.block())?;
        check_block("text_config", text.block())?;
        check_block("multimodal_config", multimodal.block())?;
        for (part, size) in [("text_config", text.hidden_size), ("multimodal_config", multimodal.hidden_size)] {
            same("image_config.hidden_size", image.hidden_size, &format!("{part}.hidden_size"), size)?;
        }
        same("hidden_size", self.hidden_size, "multimodal_config.hidden_size", multimodal.hidden_size)?;
        positive("projection_dim", self.projection_dim)?;
        self.check_image()?;
        self.check_text()
    }

    fn check_image(&self) -> Result<()> {
        let image = &self.image_config;
        let sizes = [("image_size", image.image_size), ("patch_size", image.patch_size), ("num_channels", image.num_channels)];
        for (name, size) in sizes {
            positive(&format!("image_config.{name}"), size)?;
        }
        positive("image_config.vocab_size", image.vocab_size)?;
        ensure(image.image_size % image.patch_size == 0, || {
            format!("image_config.image_size {} is no multiple of patch_size {}", image.image_size, image.patch_size)
        })?;
        let codebook = &self.image_codebook_config;
        for (name, size) in [("hidden_size", codebook.hidden_size), ("input_channels", codebook.input_channels)] {
            positive(&format!("image_codebook_config.{name}"), size)?;
        }
        ensure((1..=64).contains(&codebook.num_blocks_per_group) && codebook.num_groups > 0, || {
            format!("image_codebook_config has {} groups of {} blocks", codebook.num_groups, codebook.num_blocks_per_group)
        })?;
        if self.init_codebook {
            same("image_config.vocab_size", image.vocab_size, "image_codebook_config.vocab_size", codebook.vocab_size)?;
        }
        Ok(())
    }

    fn check_text(&self) -> Result<()> {
        let text = &self.text_config;
        ensure(text.position_embedding_type == "absolute", || {
            format!("text_config.position_embedding_type {:?} is not implemented, only \"absolute\"", text.position_embedding_type)
        })?;
        positive("text_config.vocab_size", text.vocab_size)?;
        positive("text_config.type_vocab_size", text.type_vocab_size)?;
        positive("text_config.max_position_embeddings", text.max_position_embeddings)?;
        ensure(text.pad_token_id.is_none_or(|id| (0..text.vocab_size).contains(&id)), || {
            format!("text_config.pad_token_id {:?} is outside vocab_size {}", text.pad_token_id, text.vocab_size)
        })
    }

    /// The text of a `config.json` that transformers loads as `architecture` (`FlavaModel`, `FlavaForPreTraining`).
    pub fn to_json(&self, architecture: &str) -> String {
        let mut value = serde_json::to_value(self).expect("a config is plain data");
        value["architectures"] = serde_json::json!([architecture]);
        value["torch_dtype"] = "float32".into();
        format!("{value:#}\n")
    }
}

fn ensure(holds: bool, message: impl FnOnce() -> String) -> Result<()> {
    if holds { Ok(()) } else { Err(Error::Config(message())) }
}

fn positive(name: &str, size: i64) -> Result<()> {
    // The bound keeps a hostile file from asking for more memory than any machine has.
    ensure((1..=1 << 24).contains(&size), || format!("{name} is {size}"))
}

fn same(name: &str, a: i64, other: &str, b: i64) -> Result<()> {
    ensure(a == b, || format!("{name} is {a} but {other} is {b}"))
}

fn check_block(part: &str, block: BlockConfig) -> Result<()> {
    positive(&format!("{part}.hidden_size"), block.hidden_size)?;
    positive(&format!("{part}.num_attention_heads"), block.num_attention_heads)?;
    positive(&format!("{part}.intermediate_size"), block.intermediate_size)?;
    ensure((0..=1024).contains(&block.num_hidden_layers), || format!("{part}.num_hidden_layers is {}", block.num_hidden_layers))?;
    ensure(block.hidden_size % block.num_attention_heads == 0, || {
        format!("{part}.hidden_size {} does not divide by num_attention_heads {}", block.hidden_size, block.num_attention_heads)
    })?;
    for (name, p) in
        [("hidden_dropout_prob", block.hidden_dropout_prob), ("attention_probs_dropout_prob", block.attention_probs_dropout_prob)]
    {
        ensure((0.0..1.0).contains(&p), || format!("{part}.{name} is {p}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_object_is_flava_full() {
        let config = FlavaConfig::from_json("{}").unwrap();
        assert_eq!(config, FlavaConfig::default());
        assert_eq!((config.image_config.hidden_size, config.multimodal_config.num_hidden_layers), (768, 6));
    }

    #[test]
    fn legacy_parts_win_with_their_defaults() {
        let json = r#"{"text_config": {"num_hidden_layers": 3, "layer_norm_eps": 1e-5},
                       "text_config_dict": {"num_hidden_layers": 5}, "image_config": null}"#;
        let text = FlavaConfig::from_json(json).unwrap().text_config;
        assert_eq!((text.num_hidden_layers, text.layer_norm_eps), (5, 1e-12));
    }

    #[test]
    fn unknown_keys_are_ignored_and_null_padding_is_kept() {
        let json = r#"{"text_config": {"pad_token_id": null, "add_cross_attention": false}, "dtype": "float32"}"#;
        assert_eq!(FlavaConfig::from_json(json).unwrap().text_config.pad_token_id, None);
    }

    #[test]
    fn contradictions_are_named() {
        for (json, needle) in [
            (r#"{"image_config": {"hidden_size": 384}}"#, "text_config.hidden_size is 768"),
            (r#"{"image_config": {"num_attention_heads": 7}}"#, "does not divide by num_attention_heads 7"),
            (r#"{"image_config": {"image_size": 225}}"#, "225 is no multiple of patch_size 16"),
            (r#"{"image_config": {"vocab_size": 100}}"#, "image_codebook_config.vocab_size is 8192"),
            (r#"{"text_config": {"position_embedding_type": "relative_key"}}"#, "relative_key"),
            (r#"{"text_config": {"hidden_act": "snake"}}"#, "snake"),
            (r#"{"model_type": "bert"}"#, "bert"),
            (r#"{"projection_dim": -4}"#, "projection_dim is -4"),
        ] {
            let message = FlavaConfig::from_json(json).unwrap_err().to_string();
            assert!(message.contains(needle), "{json}: {message}");
        }
    }

    #[test]
    fn written_configs_read_back() {
        let config = FlavaConfig { projection_dim: 40, ..FlavaConfig::default() };
        assert_eq!(FlavaConfig::from_json(&config.to_json("FlavaModel")).unwrap(), config);
    }
}
