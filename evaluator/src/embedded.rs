//! The model that runs where none is given: a tiny FLAVA for the mini suite's pictures and words.

use flava_model::{Error, FlavaConfig, LoadOptions, Pretrained, Result, processor::ImageProcessorConfig, processor::TextProcessor};
use flava_tasks::sources::mini_vocabulary;

/// Seed of the untrained weights.
pub(crate) const SEED: i64 = 0;

/// What is said of the model where results are shown.
pub(crate) const NOTE: &str =
    "the embedded model is untrained (seeded random weights): these scores say that the program works, and nothing of FLAVA";

/// The embedded model. Until a trained one is embedded its weights are random.
pub(crate) fn embedded(options: LoadOptions) -> Result<Pretrained> {
    let Parts { config, image, text } = parts()?;
    Pretrained::untrained(config, image, text, SEED, options)
}

/// Everything of the embedded model but its weights.
pub(crate) struct Parts {
    pub(crate) config: FlavaConfig,
    pub(crate) image: ImageProcessorConfig,
    pub(crate) text: TextProcessor,
}

/// What the embedded model is made of; seeded with [`SEED`], its weights follow.
pub(crate) fn parts() -> Result<Parts> {
    let words = mini_vocabulary();
    let part =
        |layers| format!(r#"{{"hidden_size": 64, "num_hidden_layers": {layers}, "num_attention_heads": 4, "intermediate_size": 128}}"#);
    let json = format!(
        r#"{{"hidden_size": 64, "projection_dim": 64, "image_config": {}, "text_config": {}, "multimodal_config": {},
            "image_codebook_config": {{"hidden_size": 16, "vocab_size": 512}}}}"#,
        part(3),
        part(3),
        part(2)
    );
    let mut config: FlavaConfig = serde_json::from_str(&json).map_err(|e| Error::Config(e.to_string()))?;
    config.image_config.image_size = 64;
    config.image_config.patch_size = 8;
    config.image_config.vocab_size = 512;
    config.text_config.vocab_size = words.len() as i64;
    config.text_config.max_position_embeddings = 77;
    Ok(Parts { config, image: ImageProcessorConfig::for_size(64, 8), text: TextProcessor::from_words(&words)? })
}
