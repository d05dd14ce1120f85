//! What of a training each process has only a part of, where nobody said so: as little as fits.

use flava_model::runtime::{device_memory, distributed::Group};
use tch::Device;

use super::{Reduction, Sharding, units::is_of_block};
use crate::{ParameterSet, Result};

/// Share of a process's memory that may be weights, gradients and moments: the rest is for
/// activations.
const SHARE: f64 = 0.5;
/// Bytes of a weight, as many as of its gradient and of each of its two moments.
const F32: f64 = 4.0;

/// Numbers of parameters that are trained.
#[derive(Clone, Copy, Debug)]
struct Numbers {
    all: f64,
    of_blocks: f64,
}

impl Numbers {
    fn of(sets: &[ParameterSet]) -> Self {
        let (mut all, mut of_blocks) = (0.0, 0.0);
        for parameter in sets.iter().flat_map(|set| &set.parameters) {
            let numbers = parameter.tensor.numel() as f64;
            all += numbers;
            if is_of_block(&parameter.name) {
                of_blocks += numbers;
            }
        }
        Self { all, of_blocks }
    }

    /// Bytes of weights, gradients and moments in one of so many processes.
    fn bytes(self, sharding: Sharding, world: f64) -> f64 {
        let Self { all, of_blocks } = self;
        let rest = all - of_blocks;
        // Gradients of what is not lent are whole until they are summed.
        let numbers = match sharding {
            Sharding::None => 4.0 * all,
            Sharding::Optimiser => 2.0 * all + 3.0 * all / world,
            Sharding::Full(_) => 2.0 * (rest + of_blocks / world) + 3.0 * all / world,
        };
        F32 * numbers
    }

    /// The first way whose state fits into bytes; where none does, the last.
    fn fitting(self, ways: &[Sharding], world: f64, bytes: f64) -> Sharding {
        let fits = |way: &&Sharding| self.bytes(**way, world) <= bytes;
        let last = ways.last().copied().unwrap_or_default();
        ways.iter().find(fits).copied().unwrap_or(last)
    }
}

/// The sharding that is asked for; where none is, that for some parameters on a device, and what is to
/// be said of it, the same in all processes. On CPUs, over Gloo, parts cost more than they save, so that none are made where they
/// need not be; on GPUs the optimiser's always are.
pub(crate) fn fitting(
    asked: Option<Sharding>,
    group: &Group,
    device: Device,
    sets: &[ParameterSet],
    takes_lender: bool,
) -> Result<(Sharding, Option<String>)> {
    if !group.has_others() {
        return Ok((asked.unwrap_or_default(), None));
    }
    let beside = if device.is_cuda() {
        1
    } else {
        group.peers().place().local_world
    };
    let own = device_memory(device).map_or(f64::INFINITY, |bytes| bytes / beside as f64);
    let all = group.exchange(&[own])?; // also where others may have been asked for something else
    if let Some(asked) = asked {
        return Ok((asked, None));
    }
    let least = all.iter().map(|own| own[0]).fold(f64::INFINITY, f64::min);
    let mut ways = vec![
        Sharding::None,
        Sharding::Optimiser,
        Sharding::Full(Reduction::Pass),
    ];
    ways.retain(|way| match way {
        Sharding::None => !device.is_cuda(),
        Sharding::Optimiser => true,
        Sharding::Full(_) => takes_lender,
    });
    let (numbers, world) = (Numbers::of(sets), group.world() as f64);
    let chosen = numbers.fitting(&ways, world, SHARE * least);
    let gigabytes = |bytes: f64| format!("{:.1}", bytes / 1e9);
    let said = format!(
        "--shard {}: weights, gradients and moments take {} GB of a process's {}",
        chosen.name(),
        gigabytes(numbers.bytes(chosen, world)),
        if least.is_finite() {
            gigabytes(least)
        } else {
            "memory, which is not known".to_owned()
        }
    );
    Ok((chosen, Some(said)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_little_is_in_parts_as_fits() {
        let numbers = Numbers {
            all: 1e9,
            of_blocks: 0.9e9,
        };
        let full = Sharding::Full(Reduction::Pass);
        let ways = [Sharding::None, Sharding::Optimiser, full];
        let fitting =
            |ways: &[Sharding], gigabytes: f64| numbers.fitting(ways, 8.0, gigabytes * 1e9);
        assert_eq!(fitting(&ways, 16.0), Sharding::None);
        assert_eq!(fitting(&ways, 15.9), Sharding::Optimiser);
        assert_eq!(fitting(&ways, 9.5), Sharding::Optimiser);
        assert_eq!(fitting(&ways, 9.4), full);
        assert_eq!(fitting(&ways, 1.0), full);
        assert_eq!(fitting(&ways[..2], 1.0), Sharding::Optimiser);
        assert_eq!(fitting(&ways[1..], 100.0), Sharding::Optimiser);
    }
}
