//! `config.json` of a FLAVA checkpoint, in the form Hugging Face transformers reads and writes.
//!
//! Unknown keys are ignored (files of 2022 carry some sixty generic ones in each part), absent ones
//! take the defaults, which are those of `facebook/flava-full`.

mod check;
mod parts;

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

pub use parts::{BlockConfig, CodebookConfig, ImageConfig, MultimodalConfig, TextConfig};

/// Lowest and highest value of `logit_scale`: temperature 1 and 100 (4.6052 is transformers'
/// rounding of ln 100).
pub const LOGIT_SCALE_RANGE: (f64, f64) = (0.0, 4.6052);

/// Largest `config.json`.
const MAX_BYTES: u64 = 16 << 20;

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

impl Default for FlavaConfig {
    fn default() -> Self {
        RawConfig::default().into()
    }
}

/// `config.json` as files have it: nested parts may be absent, null or doubled by a legacy
/// `*_config_dict`.
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
        let text = flava_base::read_text(path, MAX_BYTES)?;
        Self::from_json(&text).map_err(|e| Error::file(path, e))
    }

    /// Sets the dropout of states and attention of all three encoders.
    pub fn set_dropout(&mut self, rate: f64) {
        let Self {
            image_config: image,
            text_config: text,
            multimodal_config: multimodal,
            ..
        } = self;
        (
            image.hidden_dropout_prob,
            image.attention_probs_dropout_prob,
        ) = (rate, rate);
        (text.hidden_dropout_prob, text.attention_probs_dropout_prob) = (rate, rate);
        (
            multimodal.hidden_dropout_prob,
            multimodal.attention_probs_dropout_prob,
        ) = (rate, rate);
    }

    /// Parses and checks the text of a `config.json`.
    pub fn from_json(text: &str) -> Result<Self> {
        let config: Self = serde_json::from_str(text).map_err(|e| Error::Config(e.to_string()))?;
        config.check()?;
        Ok(config)
    }

    /// The text of a `config.json` that transformers loads as `architecture` (`FlavaModel`,
    /// `FlavaForPreTraining`) with weights of `dtype` (`float32`, `float16`).
    pub fn to_json(&self, architecture: &str, dtype: &str) -> String {
        let mut value = serde_json::to_value(self).expect("a config is plain data");
        value["architectures"] = serde_json::json!([architecture]);
        value["torch_dtype"] = dtype.into();
        format!("{value:#}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_object_is_flava_full() {
        let config = FlavaConfig::from_json("{}").unwrap();
        assert_eq!(config, FlavaConfig::default());
        assert_eq!(
            (
                config.image_config.hidden_size,
                config.multimodal_config.num_hidden_layers
            ),
            (768, 6)
        );
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
        assert_eq!(
            FlavaConfig::from_json(json)
                .unwrap()
                .text_config
                .pad_token_id,
            None
        );
    }

    #[test]
    fn contradictions_are_named() {
        for (json, needle) in [
            (
                r#"{"image_config": {"hidden_size": 384}}"#,
                "text_config.hidden_size is 768",
            ),
            (
                r#"{"image_config": {"num_attention_heads": 7}}"#,
                "does not divide by num_attention_heads 7",
            ),
            (
                r#"{"image_config": {"image_size": 225}}"#,
                "225 is no multiple of patch_size 16",
            ),
            (
                r#"{"image_config": {"vocab_size": 100}}"#,
                "image_codebook_config.vocab_size is 8192",
            ),
            (
                r#"{"text_config": {"position_embedding_type": "relative_key"}}"#,
                "relative_key",
            ),
            (r#"{"text_config": {"hidden_act": "snake"}}"#, "snake"),
            (r#"{"model_type": "bert"}"#, "bert"),
            (r#"{"projection_dim": -4}"#, "projection_dim is -4"),
            (r#"{"image_config": {"image_size": 4800000}}"#, "patches"),
            (
                r#"{"text_config": {"layer_norm_eps": -1}}"#,
                "layer_norm_eps is -1",
            ),
            (
                r#"{"image_config": {"num_hidden_layers": 0}}"#,
                "num_hidden_layers is 0",
            ),
            (
                r#"{"image_config": {"initializer_range": -0.1}}"#,
                "initializer_range",
            ),
            (
                r#"{"text_config": {"max_position_embeddings": 2}}"#,
                "max_position_embeddings is 2",
            ),
            (
                r#"{"image_config": {"intermediate_size": 16000000}}"#,
                "parameters",
            ),
            (r#"{"ce_ignore_index": 3}"#, "ce_ignore_index is 3"),
        ] {
            let message = FlavaConfig::from_json(json).unwrap_err().to_string();
            assert!(message.contains(needle), "{json}: {message}");
        }
    }

    #[test]
    fn written_configs_read_back() {
        let config = FlavaConfig {
            projection_dim: 40,
            ..FlavaConfig::default()
        };
        assert_eq!(
            FlavaConfig::from_json(&config.to_json("FlavaModel", "float32")).unwrap(),
            config
        );
    }
}
