//! Which rows a training step reads: the corpus of each step, the order within a corpus, and
//! batches made ahead by threads.

mod mixture;
mod order;
mod prefetch;
mod sampler;

pub use mixture::Mixture;
pub use order::{Order, Rank};
pub(crate) use prefetch::prefetch;
pub use sampler::{CorpusSampler, SampledBatch};
pub(crate) use sampler::{Piece, image};
