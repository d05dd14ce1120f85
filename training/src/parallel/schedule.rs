//! What a step exchanges after its backward pass, and what blocks exchange that are lent their
//! weights: the same as the trace of a step, known from the sizes of parameters alone.

use flava_model::runtime::distributed::{Collective, Exchange};

use tch::Kind;

use super::{Sharding, units::units};

/// Bytes of a number.
const F32: usize = size_of::<f32>();

/// The exchanges of a training over so many processes.
#[derive(Debug)]
pub struct Schedule {
    /// After each backward pass, of the units that it reaches.
    pub update: Vec<Exchange>,
    /// For each coming of a block, forth or back; in the order of the parameters.
    pub blocks: Vec<BlockSize>,
}

/// A block that is lent its weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockSize {
    /// What the names of its parameters begin with.
    pub name: String,
    /// Bytes of its weights, with what fills up to equal parts.
    pub bytes: usize,
}

impl Schedule {
    /// Of parameters by name and size in numbers.
    pub fn new<'p>(
        parameters: impl Iterator<Item = (&'p str, usize)>,
        world: usize,
        sharding: Sharding,
    ) -> Self {
        let (mut sums, mut weights, mut blocks) = (Vec::new(), Vec::new(), Vec::new());
        for unit in units(parameters, world) {
            let bytes = unit.length * F32;
            let exchange = |collective| Exchange {
                collective,
                bytes,
                kind: Kind::Float,
            };
            match sharding {
                Sharding::None => sums.push(exchange(Collective::Sum)),
                Sharding::Full if unit.is_block => blocks.push(BlockSize {
                    name: unit.name,
                    bytes,
                }),
                Sharding::Optimiser | Sharding::Full => {
                    sums.push(exchange(Collective::ReduceScatter));
                    weights.push(exchange(Collective::AllGather));
                }
            }
        }
        sums.extend(weights);
        Self {
            update: sums,
            blocks,
        }
    }
}
