//! Floating-point operations of a training step, counted from the sizes: products only, the
//! backward pass at twice the forward one.

use flava_model::{
    FlavaConfig,
    flops::{blocks, image},
};

use crate::recipe::{DinoStage, LossWeights, RowKind};

/// Of a training step of self-distillation over so many large and small views. The teacher, which
/// reads the large ones, has no backward pass.
pub fn distillation(config: &FlavaConfig, stage: &DinoStage, global: f64, local: f64) -> f64 {
    let size = &config.image_config;
    let patches = |side: i64| (side / size.patch_size).pow(2) as f64;
    let global = image(config, global, patches(size.image_size), 1.0);
    let local = image(config, local, patches(stage.local_size as i64), 1.0);
    4.0 * global + 3.0 * local
}

/// Shares of a batch's patches and words that are hidden.
#[derive(Clone, Copy, Debug)]
pub struct HiddenShares {
    /// Of the patches, as many as are hidden at most.
    pub patches: f64,
    /// Of the words, on average.
    pub words: f64,
}

impl HiddenShares {
    /// Of block masks of so many patches at most, and words hidden at a rate.
    pub fn new(config: &FlavaConfig, patches: usize, words: f64) -> Self {
        let all = config.image_config.grid().pow(2) as f64;
        Self {
            patches: patches as f64 / all,
            words,
        }
    }
}

/// The sizes of a batch.
struct BatchSizes<'a> {
    config: &'a FlavaConfig,
    rows: f64,
    /// Of a text.
    tokens: f64,
    patches: f64,
    hidden_patches: f64,
    hidden_words: f64,
}

impl<'a> BatchSizes<'a> {
    fn new(config: &'a FlavaConfig, rows: usize, tokens: f64, hidden: &HiddenShares) -> Self {
        let patches = config.image_config.grid().pow(2) as f64;
        Self {
            config,
            rows: rows as f64,
            tokens,
            patches,
            hidden_patches: hidden.patches * patches,
            hidden_words: hidden.words * tokens,
        }
    }

    fn images(&self, finished: f64) -> f64 {
        image(self.config, self.rows, self.patches, finished)
    }

    fn texts(&self, finished: f64) -> f64 {
        let block = self.config.text_config.block();
        blocks(&block, self.rows, self.tokens, finished)
    }

    /// A head over so many states of each row, with so many classes.
    fn head(&self, labelled: f64, classes: i64) -> f64 {
        let size = self.config.hidden_size as f64;
        self.rows * labelled * 2.0 * size * (size + classes as f64)
    }

    fn patch_head(&self) -> f64 {
        self.head(self.hidden_patches, self.config.image_config.vocab_size)
    }

    fn word_head(&self) -> f64 {
        self.head(self.hidden_words, self.config.text_config.vocab_size)
    }

    /// Pairs with parts hidden, through all encoders.
    fn masked_pairs(&self) -> f64 {
        let (config, size) = (self.config, self.config.hidden_size as f64);
        let seq = 2.0 + self.patches + self.tokens;
        let encoders = self.images(self.patches + 1.0)
            + self.texts(self.tokens)
            + self.rows * (seq - 1.0) * 2.0 * size * size;
        let block = config.multimodal_config.block();
        let finished = 1.0 + self.hidden_patches + self.hidden_words;
        let multimodal = blocks(&block, self.rows, seq, finished);
        let mut heads = 0.0;
        if config.mmm_image_weight > 0.0 {
            heads += self.patch_head();
        }
        if config.mmm_text_weight > 0.0 {
            heads += self.word_head();
        }
        encoders + multimodal + heads
    }

    /// Pairs as they are, for the contrastive loss.
    fn unmasked_pairs(&self) -> f64 {
        let size = self.config.hidden_size as f64;
        self.images(1.0) + self.texts(1.0) + 4.0 * self.rows * self.rows * size
    }

    fn pairs(&self) -> f64 {
        let mut forward = 0.0;
        if LossWeights::of(self.config).read_masked_pairs() {
            forward += self.masked_pairs();
        }
        if self.config.global_contrastive_weight > 0.0 {
            forward += self.unmasked_pairs();
        }
        forward
    }
}

/// Of a pair's forward passes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PairFlops {
    /// With parts hidden.
    pub(crate) masked: f64,
    /// As it is, for the contrastive loss, whose own products are left out.
    pub(crate) unmasked: f64,
}

impl PairFlops {
    pub(crate) fn new(config: &FlavaConfig, tokens: f64, hidden: &HiddenShares) -> Self {
        let one = BatchSizes::new(config, 1, tokens, hidden);
        Self {
            masked: one.masked_pairs(),
            unmasked: one.unmasked_pairs(),
        }
    }
}

/// Of a training step of a batch: `rows` rows, texts of `tokens` tokens on average.
pub fn batch(
    config: &FlavaConfig,
    kind: RowKind,
    rows: usize,
    tokens: f64,
    hidden: &HiddenShares,
) -> f64 {
    let sizes = BatchSizes::new(config, rows, tokens, hidden);
    let forward = match kind {
        RowKind::Images => sizes.images(sizes.hidden_patches) + sizes.patch_head(),
        RowKind::Texts => sizes.texts(sizes.hidden_words) + sizes.word_head(),
        RowKind::Pairs => sizes.pairs(),
    };
    3.0 * forward
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The paper's image encoder: some 35 GFLOP for an image, forward.
    #[test]
    fn the_base_image_encoder_takes_35_gflop() {
        let flops = image(&FlavaConfig::default(), 1.0, 196.0, 197.0) / 1e9;
        assert!((34.0..36.0).contains(&flops), "{flops}");
    }
}
