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
        self.check_widths()?;
        positive("projection_dim", self.projection_dim)?;
        self.check_ranges()?;
        let ignored = self.ce_ignore_index;
        ensure(ignored < 0, || {
            format!("ce_ignore_index is {ignored}: that is a word's id")
        })?;
        self.check_image()?;
        self.check_codebook()?;
        self.check_text()?;
        self.check_products()
    }

    /// All encoders and the matching head are of one width.
    fn check_widths(&self) -> Result<()> {
        let image = self.image_config.hidden_size;
        let multimodal = self.multimodal_config.hidden_size;
        for (name, size) in [
            ("text_config.hidden_size", self.text_config.hidden_size),
            ("multimodal_config.hidden_size", multimodal),
        ] {
            same("image_config.hidden_size", image, name, size)?;
        }
        same(
            "hidden_size",
            self.hidden_size,
            "multimodal_config.hidden_size",
            multimodal,
        )
    }

    fn check_ranges(&self) -> Result<()> {
        for (part, range) in [
            ("", self.initializer_range),
            ("image_config.", self.image_config.initializer_range),
            ("text_config.", self.text_config.initializer_range),
            (
                "multimodal_config.",
                self.multimodal_config.initializer_range,
            ),
        ] {
            ensure((0.0..=1.0).contains(&range), || {
                format!("{part}initializer_range is {range}")
            })?;
        }
        Ok(())
    }

    /// No size is refused alone that some model might have; together they must not ask for more
    /// than a machine could hold.
    fn check_products(&self) -> Result<()> {
        let image = &self.image_config;
        let side = image.image_size / image.patch_size;
        let patches = product(&[side, side]);
        ensure(patches <= MAX_PATCHES, || {
            format!(
                "image_config: {patches} patches of an image of {}",
                image.image_size
            )
        })?;
        let blocks = [
            image.block(),
            self.text_config.block(),
            self.multimodal_config.block(),
        ];
        let parameters = blocks
            .iter()
            .map(block_parameters)
            .chain(self.tables(patches))
            .fold(0i128, i128::saturating_add);
        ensure(parameters <= MAX_PARAMETERS, || {
            format!("its sizes ask for {parameters} parameters")
        })
    }

    /// Parameters outside the blocks.
    fn tables(&self, patches: i128) -> [i128; 9] {
        let Self {
            image_config: image,
            text_config: text,
            image_codebook_config: codebook,
            ..
        } = self;
        let patch = [image.num_channels, image.patch_size, image.patch_size];
        let groups = [codebook.num_groups, codebook.num_blocks_per_group];
        let (size, wide) = (image.hidden_size, codebook.hidden_size);
        [
            patches.saturating_mul(i128::from(size)),
            product(&patch).saturating_mul(i128::from(size)),
            product(&[text.vocab_size, text.hidden_size]),
            product(&[text.max_position_embeddings, text.hidden_size]),
            product(&[text.type_vocab_size, text.hidden_size]),
            product(&[2, self.projection_dim, self.hidden_size]),
            product(&[2, image.vocab_size, size]),
            product(&[groups[0], groups[1], 64, wide, 64, wide]),
            product(&[8, wide, codebook.vocab_size]),
        ]
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
        Ok(())
    }

    fn check_codebook(&self) -> Result<()> {
        let codebook = &self.image_codebook_config;
        for (name, size) in [
            ("hidden_size", codebook.hidden_size),
            ("input_channels", codebook.input_channels),
        ] {
            positive(&format!("image_codebook_config.{name}"), size)?;
        }
        let (groups, blocks) = (codebook.num_groups, codebook.num_blocks_per_group);
        let few = 1..=64;
        ensure(few.contains(&blocks) && few.contains(&groups), || {
            format!("image_codebook_config has {groups} groups of {blocks} blocks")
        })?;
        if !self.init_codebook {
            return Ok(());
        }
        same(
            "image_config.vocab_size",
            self.image_config.vocab_size,
            "image_codebook_config.vocab_size",
            codebook.vocab_size,
        )
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
        let longest = text.max_position_embeddings;
        ensure((4..=1 << 24).contains(&longest), || {
            format!("text_config.max_position_embeddings is {longest}")
        })?;
        let words = 0..text.vocab_size;
        let fits = text.pad_token_id.is_none_or(|id| words.contains(&id));
        ensure(fits, || {
            format!(
                "text_config.pad_token_id {:?} is outside vocab_size {}",
                text.pad_token_id, text.vocab_size
            )
        })
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

/// Parameters of all blocks of an encoder.
fn block_parameters(block: &BlockConfig) -> i128 {
    let (size, wide) = (block.hidden_size, block.intermediate_size);
    let one = product(&[4, size, size]) + product(&[2, size, wide]);
    one.saturating_mul(i128::from(block.num_hidden_layers))
}

fn check_block(part: &str, block: BlockConfig) -> Result<()> {
    let (size, heads) = (block.hidden_size, block.num_attention_heads);
    for (name, size) in [
        ("hidden_size", size),
        ("num_attention_heads", heads),
        ("intermediate_size", block.intermediate_size),
    ] {
        positive(&format!("{part}.{name}"), size)?;
    }
    let (eps, layers) = (block.layer_norm_eps, block.num_hidden_layers);
    ensure((0.0..1.0).contains(&eps), || {
        format!("{part}.layer_norm_eps is {eps}")
    })?;
    ensure((1..=1024).contains(&layers), || {
        format!("{part}.num_hidden_layers is {layers}")
    })?;
    ensure(size % heads == 0, || {
        format!("{part}.hidden_size {size} does not divide by num_attention_heads {heads}")
    })?;
    let attention = block.attention_probs_dropout_prob;
    for (name, p) in [
        ("hidden_dropout_prob", block.hidden_dropout_prob),
        ("attention_probs_dropout_prob", attention),
    ] {
        ensure((0.0..1.0).contains(&p), || format!("{part}.{name} is {p}"))?;
    }
    Ok(())
}
