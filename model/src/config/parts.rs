//! The four parts of a configuration: the three encoders and the codebook.

use serde::{Deserialize, Serialize};

use crate::layers::Activation;

/// The image encoder, a Vision Transformer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ImageConfig {
    pub(super) model_type: String,
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
    /// Number of visual tokens; the codebook's.
    pub vocab_size: i64,
}

/// The text encoder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TextConfig {
    pub(super) model_type: String,
    /// Number of tokens.
    pub vocab_size: i64,
    /// Number of segments that a pair of texts can have.
    pub type_vocab_size: i64,
    /// Longest input, in tokens.
    pub max_position_embeddings: i64,
    pub(super) position_embedding_type: String,
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
    pub(super) model_type: String,
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
    pub(super) model_type: String,
    /// Enters the gain of the residual paths only: four groups are always built.
    pub num_groups: i64,
    /// Channels of the input.
    pub input_channels: i64,
    /// Residual blocks of a group.
    pub num_blocks_per_group: i64,
    /// Width of the first group; each later one doubles it.
    pub hidden_size: i64,
    /// Number of visual tokens.
    pub vocab_size: i64,
    /// Whether the codebook is left out of training (early files say null).
    pub freeze: Option<bool>,
    /// Standard deviation of new weights.
    pub initializer_range: f64,
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
