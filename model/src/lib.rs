//! FLAVA (arXiv 2112.04482) from files to hidden states: configuration, checkpoints, preprocessing,
//! the three encoders and the image codebook, and the runtime under them.
#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "a test may panic"))]

pub mod checkpoint;
pub mod codebook;
pub mod config;
mod error;
mod flava;
pub mod flops;
pub mod hub;
mod image_encoder;
pub mod layers;
mod multimodal_encoder;
mod pretrained;
pub mod processor;
pub mod runtime;
mod text_encoder;

pub use codebook::ImageCodebook;
pub use config::FlavaConfig;
pub use error::{Error, Result};
pub use flava::Flava;
pub use image_encoder::{ImageEncoder, ImageInputs, resize_positions};
pub use layers::{AttentionKind, EncoderOutput, Rows};
pub use multimodal_encoder::MultimodalEncoder;
pub use pretrained::{Description, LoadOptions, Pretrained, wanted_files};
pub use text_encoder::{TextEncoder, TextInputs};
