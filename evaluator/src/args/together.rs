//! How processes train together, the same for fine-tuning and pretraining.

use crate::{Error, Result};
use clap::{Args, ValueEnum};
use flava_training::{Reduction, Sharding};

/// What of a training each process has only a part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ShardArg {
    /// As little as fits.
    Auto,
    /// Nothing.
    None,
    /// The optimiser's moments and gradients.
    Optimiser,
    /// Besides, the weights of blocks.
    Full,
}

/// When gradients are summed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ReduceArg {
    /// After each backward pass.
    Pass,
    /// Once a step.
    Step,
}

/// How several processes train one model.
#[derive(Debug, Args)]
pub struct TogetherArgs {
    /// What each of several processes has only a part of: `none`, the `optimiser`'s moments and
    /// gradients, or `full`, the weights of blocks too [default: what fits into half of a process's
    /// memory; on GPUs the optimiser's at least].
    ///
    /// With `full` a block's weights are gathered before it computes, forth and back, in the
    /// precision that products have; all but joint pretraining keep their weights whole, and say so.
    #[arg(
        long,
        value_name = "WHAT",
        default_value = "auto",
        hide_default_value = true,
        hide_possible_values = true,
        help_heading = "Processes"
    )]
    pub shard: ShardArg,
    /// With --shard full: sum the gradients of blocks after each backward `pass`, or once a `step`:
    /// less is sent, and each process keeps all of its own until then [default: pass].
    #[arg(
        long,
        value_name = "WHEN",
        hide_possible_values = true,
        help_heading = "Processes"
    )]
    pub reduce: Option<ReduceArg>,
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
    /// What was asked for, if anything was.
    ///
    /// # Errors
    /// If gradients are asked to be summed in a way that there is no choice of.
    pub fn sharding(&self) -> Result<Option<Sharding>> {
        if self.reduce.is_some() && self.shard != ShardArg::Full {
            let reason = "--reduce is for --shard full: all other gradients are summed once a step";
            return Err(Error::Usage {
                argument: "--reduce",
                reason: reason.into(),
            });
        }
        Ok(match self.shard {
            ShardArg::Auto => None,
            ShardArg::None => Some(Sharding::None),
            ShardArg::Optimiser => Some(Sharding::Optimiser),
            ShardArg::Full => Some(Sharding::Full(match self.reduce {
                None | Some(ReduceArg::Pass) => Reduction::Pass,
                Some(ReduceArg::Step) => Reduction::Step,
            })),
        })
    }
}
