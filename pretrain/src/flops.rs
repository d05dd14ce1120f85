//! Floating-point operations of a training step, counted from the sizes: products only, the
//! backward pass at twice the forward one.

use flava_model::{FlavaConfig, config::BlockConfig};

use crate::{joint::reads_masked_pairs, recipe::RowKind};

/// Of a stack of blocks over `rows` sequences of `seq` tokens, forward; after its attention the
/// last block computes `finished` tokens of each only.
fn blocks(config: &BlockConfig, rows: f64, seq: f64, finished: f64) -> f64 {
    let (size, wide) = (config.hidden_size as f64, config.intermediate_size as f64);
    let (attention, rest) = (
        2.0 * 3.0 * size * size + 4.0 * seq * size,
        2.0 * (size * size + 2.0 * size * wide),
    );
    let layers = config.num_hidden_layers as f64;
    rows * (layers * seq * attention + ((layers - 1.0) * seq + finished) * rest)
}

/// Of the image encoder over pictures with `patches` patches, forward, embeddings included;
/// `finished` as for [`blocks`].
pub fn image(config: &FlavaConfig, rows: f64, patches: f64, finished: f64) -> f64 {
    let image = &config.image_config;
    let patch = 2.0 * (image.patch_size.pow(2) * image.num_channels * image.hidden_size) as f64;
    blocks(&image.block(), rows, patches + 1.0, finished) + rows * patches * patch
}

/// Of a training step of a batch: `rows` rows, the longest text of `tokens` tokens.
pub fn batch(config: &FlavaConfig, kind: RowKind, (rows, tokens): (usize, usize)) -> f64 {
    let (rows, tokens, size) = (rows as f64, tokens as f64, config.hidden_size as f64);
    let patches = config.image_config.grid().pow(2) as f64;
    let (hidden_patches, hidden_words) = (0.38 * patches, 0.15 * tokens);
    let pictures = |finished| image(config, rows, patches, finished);
    let texts = |finished| blocks(&config.text_config.block(), rows, tokens, finished);
    let head = |labelled: f64, words: i64| rows * labelled * 2.0 * size * (size + words as f64);
    let (mim, mlm) = (
        head(hidden_patches, config.image_config.vocab_size),
        head(hidden_words, config.text_config.vocab_size),
    );
    let forward = match kind {
        RowKind::Images => pictures(hidden_patches) + mim,
        RowKind::Texts => texts(hidden_words) + mlm,
        RowKind::Pairs => {
            let masked = reads_masked_pairs(config);
            let unmasked = config.global_contrastive_weight > 0.0;
            let mut forward = 0.0;
            if masked {
                let seq = 2.0 + patches + tokens;
                forward += pictures(patches + 1.0)
                    + texts(tokens)
                    + rows * (seq - 1.0) * 2.0 * size * size;
                forward += blocks(
                    &config.multimodal_config.block(),
                    rows,
                    seq,
                    1.0 + hidden_patches + hidden_words,
                );
                forward += if config.mmm_image_weight > 0.0 {
                    mim
                } else {
                    0.0
                } + if config.mmm_text_weight > 0.0 {
                    mlm
                } else {
                    0.0
                };
            }
            if unmasked {
                forward += pictures(1.0) + texts(1.0) + 4.0 * rows * rows * size;
            }
            forward
        }
    };
    3.0 * forward
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The paper's image encoder: some 35 GFLOP for a picture, forward.
    #[test]
    fn the_base_image_encoder_takes_35_gflop() {
        let flops = image(&FlavaConfig::default(), 1.0, 196.0, 197.0) / 1e9;
        assert!((34.0..36.0).contains(&flops), "{flops}");
    }
}
