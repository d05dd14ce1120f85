//! What a step exchanges after its backward pass, and what blocks exchange that are lent their
//! weights: the same as the trace of a step, known from the sizes of parameters alone.

use flava_model::runtime::distributed::{Collective, Exchange};

use tch::Kind;

use super::{Sharding, units::units};

/// The exchanges of a training over so many processes.
#[derive(Debug)]
pub struct Schedule {
    /// After each backward pass, of the units that it reaches.
    pub update: Vec<Exchange>,
    /// Of blocks that are lent their weights, in the order of the parameters.
    pub blocks: Vec<BlockExchanges>,
}

/// What is exchanged for a block that is lent its weights.
#[derive(Debug)]
pub struct BlockExchanges {
    /// What the names of its parameters begin with.
    pub name: String,
    /// Whenever it computes, forth or back.
    pub weights: Exchange,
    /// For each sum of its gradients.
    pub gradients: Exchange,
}

impl Schedule {
    /// Of parameters by name and size, that products read in a kind of number.
    pub fn new<'p>(
        parameters: impl Iterator<Item = (&'p str, &'p [i64])>,
        world: usize,
        sharding: Sharding,
        products: Kind,
    ) -> Self {
        let (mut sums, mut weights, mut blocks) = (Vec::new(), Vec::new(), Vec::new());
        for unit in units(parameters, world, sharding.gathers_in(products)) {
            let exchange = |collective, kind: Kind| Exchange {
                collective,
                bytes: unit.length * kind.elt_size_in_bytes(),
                kind,
            };
            let gradients = exchange(Collective::ReduceScatter, Kind::Float);
            match sharding {
                Sharding::None => sums.push(exchange(Collective::Sum, Kind::Float)),
                Sharding::Full(_) if unit.is_block => blocks.push(BlockExchanges {
                    name: unit.name.clone(),
                    weights: exchange(Collective::AllGather, unit.kind),
                    gradients,
                }),
                Sharding::Optimiser | Sharding::Full(_) => {
                    sums.push(gradients);
                    weights.push(exchange(Collective::AllGather, Kind::Float));
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
