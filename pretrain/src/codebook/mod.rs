//! Training of the image codebook: the encoder of a discrete VAE whose words are relaxed by the
//! Gumbel softmax (DALL-E, section 2.1 and appendix A).

mod decoder;
mod files;
mod losses;
mod networks;
mod reconstruction;
mod training;

pub(crate) use files::{CODEBOOK, read_codebook, write_codebook};
pub(crate) use networks::{PATCH, flops_of_patch, networks};
pub use training::{CodebookSetup, CodebookTraining};
