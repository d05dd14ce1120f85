//! The pieces that FLAVA's three encoders share: one pre-norm transformer block and what it is made
//! of.

mod activation;
mod attention;
mod block;
mod embeddings;
mod encoder;
mod lender;
mod linear;
mod lora;
mod norm;
mod packing;
mod pooler;
mod rows;

pub use activation::Activation;
pub use attention::{AttentionKind, AttentionMask, SelfAttention};
pub use block::Block;
pub use embeddings::Embedding;
pub use encoder::{Encoder, EncoderOutput};
pub use lender::WeightLender;
pub use linear::Linear;
pub use lora::Lora;
pub use norm::LayerNorm;
pub use pooler::Pooler;
pub use rows::Rows;
