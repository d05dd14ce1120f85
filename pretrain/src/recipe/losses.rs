//! What FLAVA's losses count, and which rows they read.

use flava_model::FlavaConfig;
use serde::{Deserialize, Serialize};

/// What a corpus's rows are read as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RowKind {
    /// Images: MIM.
    Images,
    /// Texts: MLM.
    Texts,
    /// Both: the contrastive loss, ITM and MMM.
    Pairs,
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
    /// Those of a model's configuration.
    pub fn of(config: &FlavaConfig) -> Self {
        Self {
            mim: config.mim_weight,
            mlm: config.mlm_weight,
            itm: config.itm_weight,
            global_contrastive: config.global_contrastive_weight,
            mmm_image: config.mmm_image_weight,
            mmm_text: config.mmm_text_weight,
        }
    }

    /// Writes them into a model's configuration.
    pub fn set(&self, config: &mut FlavaConfig) {
        (config.mim_weight, config.mlm_weight, config.itm_weight) = (self.mim, self.mlm, self.itm);
        (config.mmm_image_weight, config.mmm_text_weight) = (self.mmm_image, self.mmm_text);
        config.global_contrastive_weight = self.global_contrastive;
    }

    /// Each with its name.
    pub fn named(&self) -> [(&'static str, f64); 6] {
        [
            ("mim", self.mim),
            ("mlm", self.mlm),
            ("itm", self.itm),
            ("global_contrastive", self.global_contrastive),
            ("mmm_image", self.mmm_image),
            ("mmm_text", self.mmm_text),
        ]
    }

    /// Whether a loss reads both of a pair together, with parts hidden.
    pub fn read_masked_pairs(&self) -> bool {
        let weights = [self.itm, self.mmm_image, self.mmm_text];
        weights.iter().any(|weight| *weight > 0.0)
    }

    /// Whether a loss reads the visual tokens of such rows.
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
            RowKind::Pairs => self.global_contrastive > 0.0 || self.read_masked_pairs(),
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
