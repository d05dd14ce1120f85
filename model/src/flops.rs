//! Floating-point operations of forward passes, counted from the sizes: products only.

use crate::{FlavaConfig, config::BlockConfig};

/// Of a stack of blocks over `rows` sequences of `seq` tokens; after its attention the last block
/// computes `finished` tokens of each only.
pub fn blocks(config: &BlockConfig, rows: f64, seq: f64, finished: f64) -> f64 {
    let (size, wide) = (config.hidden_size as f64, config.intermediate_size as f64);
    let (attention, rest) = (
        2.0 * 3.0 * size * size + 4.0 * seq * size,
        2.0 * (size * size + 2.0 * size * wide),
    );
    let layers = config.num_hidden_layers as f64;
    rows * (layers * seq * attention + ((layers - 1.0) * seq + finished) * rest)
}

/// Of the image encoder over images with `patches` patches, embeddings included; `finished` as for
/// [`blocks`].
pub fn image(config: &FlavaConfig, rows: f64, patches: f64, finished: f64) -> f64 {
    let image = &config.image_config;
    let patch = 2.0 * (image.patch_size.pow(2) * image.num_channels * image.hidden_size) as f64;
    blocks(&image.block(), rows, patches + 1.0, finished) + rows * patches * patch
}

/// Of one image through the image encoder, all of its states.
pub fn one_image(config: &FlavaConfig) -> f64 {
    let patches = config.image_config.grid().pow(2) as f64;
    image(config, 1.0, patches, patches + 1.0)
}

/// Of one text of so many tokens through the text encoder, all of its states.
pub fn one_text(config: &FlavaConfig, tokens: usize) -> f64 {
    let tokens = tokens as f64;
    blocks(&config.text_config.block(), 1.0, tokens, tokens)
}

/// Of one image and one text of so many tokens through all three encoders.
pub fn one_pair(config: &FlavaConfig, tokens: usize) -> f64 {
    let size = config.hidden_size as f64;
    let states = config.image_config.grid().pow(2) as f64 + 1.0 + tokens as f64;
    let seq = states + f64::from(u8::from(config.multimodal_config.use_cls_token));
    let projections = states * 2.0 * size * size;
    let multimodal = blocks(&config.multimodal_config.block(), 1.0, seq, seq);
    one_image(config) + one_text(config, tokens) + projections + multimodal
}

#[cfg(test)]
mod tests {
    use super::*;

    /// ViT-B/16 at 224 pixels is known to take 17.6 thousand million multiplications and additions
    /// each, and BERT-base 0.17 thousand million a token and matrix product.
    #[test]
    fn the_base_size_takes_what_is_known_of_it() {
        let config = FlavaConfig::default();
        let image = one_image(&config) / 2e9;
        assert!((image - 17.5).abs() < 0.2, "{image}");
        let text = one_text(&config, 77) / 2e9;
        assert!((text - 6.65).abs() < 0.1, "{text}");
        assert!(one_pair(&config, 77) / 2e9 > image + text + 10.0);
    }
}
