//! The model of a recipe: its sizes, how its images are prepared, and how it is written.

use flava_base::did_you_mean;
use flava_model::{FlavaConfig, processor::ImageProcessorConfig};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Recipe, check_stages::Check};
use crate::{Error, Result};

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
        Self {
            total: 75,
            min_block: 16,
        }
    }
}

impl Recipe {
    /// The model's configuration; `words` is the size of the tokenizer.
    pub fn config(&self, words: usize) -> Result<FlavaConfig> {
        let json = serde_json::to_string(&self.model).map_err(|e| Error::Input(e.to_string()))?;
        let mut config = FlavaConfig::from_json(&json)?;
        // A table may be larger than the tokenizer where the recipe says so.
        let asked = self
            .model
            .get("text_config")
            .and_then(|text| text.get("vocab_size")?.as_integer())
            .unwrap_or(0);
        config.text_config.vocab_size = asked.max(words as i64);
        Ok(config)
    }

    /// How its images are prepared.
    pub fn processor(&self, config: &FlavaConfig) -> ImageProcessorConfig {
        let image = &config.image_config;
        let mut processor =
            ImageProcessorConfig::for_size(image.image_size as usize, image.patch_size as usize);
        processor.total_mask_patches = self.image_masks.total;
        processor.mask_group_min_patches = self.image_masks.min_block;
        processor
    }
}

impl ImageMasks {
    pub(super) fn check(self, patches: usize) -> Check {
        let Self { total, min_block } = self;
        if total == 0 || total >= patches || min_block > total {
            return Err(format!(
                "image_masks: total {total} and min_block {min_block} for images of {patches} \
                 patches"
            ));
        }
        Ok(())
    }
}

/// Keys of the configuration that nobody knows, which would change nothing, and those that stages
/// set.
pub(super) fn check_model(path: &str, model: &Value, known: &Value) -> Check {
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
