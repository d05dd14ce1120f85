//! Checkpoints in and out: safetensors (one file or shards), `PyTorch` zip files read without
//! running pickle, and a Hugging Face directory as output.

mod file;
mod names;
mod pickle;
mod report;
mod safetensors;
mod shards;
mod write;

pub(crate) use file::WEIGHTS;
pub use file::{Checkpoint, CheckpointTensor, each_tensor, load_exactly, read_tensors};

pub use names::canonical_names;
pub use report::LoadReport;
pub use shards::{index_shards, shard_name};
pub use write::{Architecture, write_directory, write_tensors};
