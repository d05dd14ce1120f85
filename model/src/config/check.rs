//! What the parts of a configuration assume of each other; transformers leaves it implicit.

use super::{BlockConfig, FlavaConfig};
use crate::{Error, Result};

/// Most patches of an image: a side of 4,096 patches is beyond any attention.
const MAX_PATCHES: i128 = 1 << 24;
/// Most parameters that are allocated: sixty times the largest vision transformers'.
const MAX_PARAMETERS: i128 = 1 << 36;

impl FlavaConfig {
    /// Checks what the parts assume of each other.
    pub fn check(&self) -> Result<()> {
        let Self {
            image_config: image,
            text_config: text,
            multimodal_config: multimodal,
            ..
        } = self;
        ensure(self.model_type == "flava", || {
            format!("model_type is {:?}; expected \"flava\"", self.model_type)
        })?;
        check_block("image_config", image.block())?;
        check_block("text_config", text.block())?;
        check_block("multimodal_config", multimodal.block())?;
        for (part, size) in [
            ("text_config", text.hidden_size),
            ("multimodal_config", multimodal.hidden_size),
        ] {
            same(
                "image_config.hidden_size",
                image.hidden_size,
                &format!("{part}.hidden_size"),
                size,
            )?;
        }
        same(
            "hidden_size",
            self.hidden_size,
            "multimodal_config.hidden_size",
            multimodal.hidden_size,
        )?;
        positive("projection_dim", self.projection_dim)?;
        for (name, range) in [
            ("initializer_range", self.initializer_range),
            ("image_config.initializer_range", image.initializer_range),
            ("text_config.initializer_range", text.initializer_range),
            (
                "multimodal_config.initializer_range",
                multimodal.initializer_range,
            ),
        ] {
            ensure((0.0..=1.0).contains(&range), || {
                format!("{name} is {range}")
            })?;
        }
        ensure(self.ce_ignore_index < 0, || {
            format!(
                "ce_ignore_index is {}: that is a word's id",
                self.ce_ignore_index
            )
        })?;
        self.check_image()?;
        self.check_text()?;
        self.check_products()
    }

    /// No size is refused alone that some model might have; together they must not ask for more
    /// than a machine could hold.
    fn check_products(&self) -> Result<()> {
        let Self {
            image_config: image,
            text_config: text,
            multimodal_config: multimodal,
            image_codebook_config: codebook,
            ..
        } = self;
        let block = |b: BlockConfig| {
            product(&[4, b.hidden_size, b.hidden_size])
                + product(&[2, b.hidden_size, b.intermediate_size])
        };
        let blocks = [image.block(), text.block(), multimodal.block()]
            .map(|b| block(b).saturating_mul(i128::from(b.num_hidden_layers)));
        let patches = product(&[
            image.image_size / image.patch_size,
            image.image_size / image.patch_size,
        ]);
        ensure(patches <= MAX_PATCHES, || {
            format!(
                "image_config: {patches} patches of an image of {}",
                image.image_size
            )
        })?;
        let tables = [
            patches.saturating_mul(i128::from(image.hidden_size)),
            product(&[
                image.num_channels,
                image.patch_size,
                image.patch_size,
                image.hidden_size,
            ]),
            product(&[text.vocab_size, text.hidden_size]),
            product(&[text.max_position_embeddings, text.hidden_size]),
            product(&[text.type_vocab_size, text.hidden_size]),
            product(&[2, self.projection_dim, self.hidden_size]),
            product(&[2, image.vocab_size, image.hidden_size]),
            product(&[
                codebook.num_groups,
                codebook.num_blocks_per_group,
                64,
                codebook.hidden_size,
                64,
                codebook.hidden_size,
            ]),
            product(&[8, codebook.hidden_size, codebook.vocab_size]),
        ];
        let parameters = blocks
            .iter()
            .chain(&tables)
            .fold(0i128, |sum, part| sum.saturating_add(*part));
        ensure(parameters <= MAX_PARAMETERS, || {
            format!("its sizes ask for {parameters} parameters")
        })
    }

    fn check_image(&self) -> Result<()> {
        let image = &self.image_config;
        let sizes = [
            ("image_size", image.image_size),
            ("patch_size", image.patch_size),
            ("num_channels", image.num_channels),
        ];
        for (name, size) in sizes {
            positive(&format!("image_config.{name}"), size)?;
        }
        positive("image_config.vocab_size", image.vocab_size)?;
        ensure(image.image_size % image.patch_size == 0, || {
            format!(
                "image_config.image_size {} is no multiple of patch_size {}",
                image.image_size, image.patch_size
            )
        })?;
        let codebook = &self.image_codebook_config;
        for (name, size) in [
            ("hidden_size", codebook.hidden_size),
            ("input_channels", codebook.input_channels),
        ] {
            positive(&format!("image_codebook_config.{name}"), size)?;
        }
        ensure(
            (1..=64).contains(&codebook.num_blocks_per_group)
                && (1..=64).contains(&codebook.num_groups),
            || {
                format!(
                    "image_codebook_config has {} groups of {} blocks",
                    codebook.num_groups, codebook.num_blocks_per_group
                )
            },
        )?;
        if self.init_codebook {
            same(
                "image_config.vocab_size",
                image.vocab_size,
                "image_codebook_config.vocab_size",
                codebook.vocab_size,
            )?;
        }
        Ok(())
    }

    fn check_text(&self) -> Result<()> {
        let text = &self.text_config;
        ensure(text.position_embedding_type == "absolute", || {
            format!(
                "text_config.position_embedding_type {:?} is not implemented, only \"absolute\"",
                text.position_embedding_type
            )
        })?;
        positive("text_config.vocab_size", text.vocab_size)?;
        positive("text_config.type_vocab_size", text.type_vocab_size)?;
        // [CLS] and [SEP] around a pair, and one word.
        ensure(
            (4..=1 << 24).contains(&text.max_position_embeddings),
            || {
                format!(
                    "text_config.max_position_embeddings is {}",
                    text.max_position_embeddings
                )
            },
        )?;
        ensure(
            text.pad_token_id
                .is_none_or(|id| (0..text.vocab_size).contains(&id)),
            || {
                format!(
                    "text_config.pad_token_id {:?} is outside vocab_size {}",
                    text.pad_token_id, text.vocab_size
                )
            },
        )
    }
}

fn ensure(holds: bool, message: impl FnOnce() -> String) -> Result<()> {
    if holds {
        Ok(())
    } else {
        Err(Error::Config(message()))
    }
}

fn positive(name: &str, size: i64) -> Result<()> {
    // The bound keeps a hostile file from asking for more memory than any machine has.
    ensure((1..=1 << 24).contains(&size), || {
        format!("{name} is {size}")
    })
}

fn product(sizes: &[i64]) -> i128 {
    sizes.iter().fold(1i128, |product, size| {
        product.saturating_mul(i128::from(*size))
    })
}

fn same(name: &str, a: i64, other: &str, b: i64) -> Result<()> {
    ensure(a == b, || format!("{name} is {a} but {other} is {b}"))
}

fn check_block(part: &str, block: BlockConfig) -> Result<()> {
    positive(&format!("{part}.hidden_size"), block.hidden_size)?;
    positive(
        &format!("{part}.num_attention_heads"),
        block.num_attention_heads,
    )?;
    positive(
        &format!("{part}.intermediate_size"),
        block.intermediate_size,
    )?;
    ensure(
        block.layer_norm_eps >= 0.0 && block.layer_norm_eps < 1.0,
        || format!("{part}.layer_norm_eps is {}", block.layer_norm_eps),
    )?;
    ensure((1..=1024).contains(&block.num_hidden_layers), || {
        format!("{part}.num_hidden_layers is {}", block.num_hidden_layers)
    })?;
    ensure(block.hidden_size % block.num_attention_heads == 0, || {
        format!(
            "{part}.hidden_size {} does not divide by num_attention_heads {}",
            block.hidden_size, block.num_attention_heads
        )
    })?;
    for (name, p) in [
        ("hidden_dropout_prob", block.hidden_dropout_prob),
        (
            "attention_probs_dropout_prob",
            block.attention_probs_dropout_prob,
        ),
    ] {
        ensure((0.0..1.0).contains(&p), || format!("{part}.{name} is {p}"))?;
    }
    Ok(())
}
