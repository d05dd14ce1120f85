//! How processes train together, the same for fine-tuning and pretraining.

use clap::{Args, ValueEnum};
use flava_training::Sharding;
use tch::Device;

/// What of a training each process has only a part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ShardArg {
    /// What suits the device.
    Auto,
    /// Nothing.
    None,
    /// The optimiser's moments and gradients.
    Optimiser,
    /// Besides, the weights of blocks.
    Full,
}

/// How several processes train one model.
#[derive(Debug, Args)]
pub struct TogetherArgs {
    /// What each of several processes has only a part of: `none`, the `optimiser`'s moments and
    /// gradients, or `full`, the weights of blocks too [default: optimiser on GPUs, none on CPUs].
    ///
    /// With `full` the activations of blocks are computed again in the backward pass; all but joint
    /// pretraining keep their weights whole, and say so.
    #[arg(
        long,
        value_name = "WHAT",
        default_value = "auto",
        hide_default_value = true,
        hide_possible_values = true,
        help_heading = "Processes"
    )]
    pub shard: ShardArg,
    /// Start all processes again, so often at most, where one failed.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 0,
        hide_default_value = true,
        help_heading = "Processes"
    )]
    pub max_restarts: u16,
}

impl TogetherArgs {
    /// On a device: over Gloo, which CPUs talk by, sharding costs more than it saves.
    pub fn sharding(&self, device: Device) -> Sharding {
        match self.shard {
            ShardArg::Auto if device.is_cuda() => Sharding::Optimiser,
            ShardArg::Auto | ShardArg::None => Sharding::None,
            ShardArg::Optimiser => Sharding::Optimiser,
            ShardArg::Full => Sharding::Full,
        }
    }
}
