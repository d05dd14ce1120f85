//! What a step of pairs would take in many processes, computed from the same units, blocks and
//! exchanges that a training has.

use flava_model::{
    AttentionKind, FlavaConfig,
    runtime::{
        Fill,
        distributed::{Collective, Exchange},
    },
};
use flava_training::{BlockExchanges, Reduction, Schedule, Sharding};
use tch::{Device, Kind, nn::VarStore};

use crate::{
    FlavaForPreTraining, OnEmpty,
    flops::{HiddenShares, PairFlops},
    machines::{Gpu, NetworkSpeed, OF_A_MACHINE},
    recipe::{ImageMasks, RowKind, TrainStage},
};

/// Share of a GPU's speed that a step of many rows is taken to reach.
const SHARE_OF_PEAK: f64 = 0.4;
/// Rows at once below which it reaches less.
const MANY_ROWS: f64 = 64.0;
/// Seconds that a collective takes whatever it moves, within a machine and between machines.
const LATENCY: [f64; 2] = [20e-6, 60e-6];
/// Bytes of a block's activations for each token and number of its size (bf16, fused attention).
const KEPT: f64 = 34.0;
/// Bytes of its input alone.
const INPUT: f64 = 2.0;
/// Bytes of a number.
const F32: f64 = 4.0;
/// What products are of, at the speed of GPUs that is reckoned with.
const PRODUCTS: Kind = Kind::BFloat16;
/// Numbers of processes that are looked at, up to the one that was asked for.
const SIZES: [usize; 5] = [1, 8, 64, 256, 1024];

/// A training of pairs on machines that are not here.
pub(super) struct Scale<'a> {
    pub(super) config: &'a FlavaConfig,
    pub(super) stage: &'a TrainStage,
    pub(super) masks: ImageMasks,
    pub(super) gpu: Gpu,
    pub(super) network: NetworkSpeed,
    pub(super) micro_batch: usize,
    /// Whether activations are computed again.
    pub(super) recompute: bool,
    /// When gradients are summed with [`Sharding::Full`].
    pub(super) reduction: Reduction,
}

/// What a step takes.
struct Estimate {
    rows: usize,
    /// Bytes of weights, gradients, moments and activations of a GPU.
    memory: [f64; 4],
    /// Bytes that a GPU sends.
    sent: f64,
    computing: f64,
    exchanging: f64,
}

impl Scale<'_> {
    /// A table over numbers of processes and what each has of the training.
    pub(super) fn table(&self, processes: usize) -> Vec<String> {
        let sizes = self.parameters();
        let mut lines = vec![
            format!(
                "on {} (computed; {:.0} % of its speed from {MANY_ROWS} rows at once on, less below; \
                 exchanges over NCCL, one after the other, nothing overlapped):",
                self.gpu.name(),
                SHARE_OF_PEAK * 100.0
            ),
            "| GPUs | --shard | rows a GPU | GB a GPU: weights, gradients, moments, activations | GB sent | computing | exchanging | efficiency |".to_owned(),
            "|---|---|---|---|---|---|---|---|".to_owned(),
        ];
        let asked = SIZES.into_iter().filter(|size| *size < processes);
        let full = Sharding::Full(self.reduction);
        for world in asked.chain([processes]) {
            for sharding in [Sharding::None, Sharding::Optimiser, full] {
                if world > 1 || sharding == Sharding::None {
                    lines.push(self.line(&self.estimate(&sizes, world, sharding), world, sharding));
                }
            }
        }
        lines
    }

    /// Names and sizes of what is trained.
    fn parameters(&self) -> Vec<(String, Vec<i64>)> {
        let store = VarStore::new(Device::Cpu);
        let mut config = self.config.clone();
        config.init_codebook = false;
        let fused = AttentionKind::Fused;
        // Memory that nobody writes to is none.
        let _model = FlavaForPreTraining::new(&store, Fill::Unset, config, fused, OnEmpty::Skip);
        let variables = store.variables().into_iter();
        let mut all: Vec<(String, Vec<i64>)> = variables
            .filter(|(_, variable)| variable.requires_grad())
            .map(|(name, variable)| (name, variable.size()))
            .collect();
        all.sort();
        all
    }

    fn batch_size(&self) -> usize {
        let pairs = self.stage.mixture.iter();
        let pairs = pairs.filter(|share| share.rows == RowKind::Pairs);
        let sizes = pairs.filter_map(|share| share.batch_size);
        sizes.max().unwrap_or(self.stage.schedule.batch_size)
    }

    fn estimate(&self, sizes: &[(String, Vec<i64>)], world: usize, sharding: Sharding) -> Estimate {
        let named = sizes.iter().map(|(name, size)| (name.as_str(), &size[..]));
        let schedule = Schedule::new(named, world, sharding, PRODUCTS);
        let rows = self.batch_size().div_ceil(world);
        let at_once = match self.micro_batch {
            0 => rows.min(MANY_ROWS as usize),
            size => rows.min(size),
        };
        let parts = rows.div_ceil(at_once);
        let mut exchanges = Exchanges::new(self.network.bus(&self.gpu, world), world);
        for exchange in &schedule.update {
            exchanges.add(exchange.collective, exchange.bytes as f64, 1);
        }
        for block in &schedule.blocks {
            // Embeddings, then these again and the masked rows, forth and back; the multimodal
            // encoder reads masked rows alone.
            let (gathers, sums) = if block.name.contains("multimodal") {
                (2, 1)
            } else {
                (5, 2)
            };
            let sums = match self.reduction {
                Reduction::Pass => sums * parts,
                Reduction::Step => 1,
            };
            for (one, times) in [(block.weights, gathers * parts), (block.gradients, sums)] {
                exchanges.add(one.collective, one.bytes as f64, times);
            }
        }
        let embeddings = (rows * world) as f64 * self.config.projection_dim as f64 * F32;
        exchanges.add(Collective::AllGather, embeddings, 2);
        exchanges.add(Collective::ReduceScatter, embeddings, 2);
        let share = SHARE_OF_PEAK * (at_once as f64 / MANY_ROWS).min(1.0).powf(0.25);
        Estimate {
            rows,
            memory: self.memory(sizes, &schedule, world, sharding, at_once),
            sent: exchanges.bytes,
            computing: rows as f64 * self.flops() / (self.gpu.flops * share),
            exchanging: exchanges.seconds,
        }
    }

    /// Operations of a pair: forth and back, embeddings once more, and all activations once more
    /// where they are not kept.
    fn flops(&self) -> f64 {
        let hidden =
            HiddenShares::new(self.config, self.masks.total, self.stage.caption_masks.rate);
        let pair = PairFlops::new(self.config, self.stage.caption_length as f64, &hidden);
        let forward = pair.masked + pair.unmasked;
        let again = if self.recompute { forward } else { 0.0 };
        3.0 * forward + pair.unmasked + again
    }

    fn memory(
        &self,
        sizes: &[(String, Vec<i64>)],
        schedule: &Schedule,
        world: usize,
        sharding: Sharding,
        at_once: usize,
    ) -> [f64; 4] {
        let numbers = |(_, size): &(String, Vec<i64>)| size.iter().product::<i64>() as f64;
        let all = sizes.iter().map(numbers).sum::<f64>() * F32;
        let blocks = schedule.blocks.iter();
        let of_blocks = blocks
            .map(|block| block.gradients.bytes as f64)
            .sum::<f64>();
        let largest = |of: fn(&BlockExchanges) -> Exchange| {
            let sizes = schedule.blocks.iter().map(|block| of(block).bytes as f64);
            sizes.fold(0.0, f64::max)
        };
        let (rest, parts) = (all - of_blocks, world as f64);
        // A block's, and those of the one that comes next.
        let lent = 2.0 * largest(|block| block.weights);
        let weights = rest + of_blocks / parts + lent;
        // Gradients are whole until they are summed: of the rest all, of blocks those of one and of
        // one whose sum is under way.
        let unsummed = match sharding {
            Sharding::Full(Reduction::Step) => of_blocks,
            _ => 2.0 * largest(|block| block.gradients),
        };
        let [gradients, moments] = match sharding {
            Sharding::None => [all, 2.0 * all],
            Sharding::Optimiser | Sharding::Full(_) => [
                rest + unsummed + (of_blocks + rest) / parts,
                2.0 * all / parts,
            ],
        };
        let kept = self.activations() * at_once as f64;
        [weights, gradients, moments, kept]
    }

    /// Bytes of the activations of a pair.
    fn activations(&self) -> f64 {
        let config = self.config;
        let image = (config.image_config.grid().pow(2) + 1) as f64;
        let text = self.stage.caption_length as f64;
        let encoders = [
            (config.image_config.block(), image),
            (config.text_config.block(), text),
            (config.multimodal_config.block(), image + text + 1.0),
        ];
        let of_a_block = encoders
            .iter()
            .map(|(block, seq)| block.hidden_size as f64 * seq);
        if self.recompute {
            let inputs = encoders.iter().zip(of_a_block.clone());
            let inputs = inputs.map(|((block, _), one)| block.num_hidden_layers as f64 * one);
            return INPUT * inputs.sum::<f64>() + KEPT * of_a_block.fold(0.0, f64::max);
        }
        let all = encoders.iter().zip(of_a_block);
        KEPT * all
            .map(|((block, _), one)| block.num_hidden_layers as f64 * one)
            .sum::<f64>()
    }

    fn line(&self, estimate: &Estimate, world: usize, sharding: Sharding) -> String {
        let shard = sharding.name();
        let gigabytes = estimate.memory.map(|bytes| format!("{:.1}", bytes / 1e9));
        let used: f64 = estimate.memory.iter().sum();
        let fits = if used > self.gpu.memory {
            " (too much)"
        } else {
            ""
        };
        let Estimate {
            rows,
            computing,
            exchanging,
            ..
        } = *estimate;
        format!(
            "| {world} | {shard} | {rows} | {}{fits} | {:.2} | {:.0} ms | {:.1} ms | {:.2} |",
            gigabytes.join(", "),
            estimate.sent / 1e9,
            computing * 1e3,
            exchanging * 1e3,
            computing / (computing + exchanging)
        )
    }
}

/// Exchanges one after the other.
struct Exchanges {
    bus: f64,
    world: usize,
    bytes: f64,
    seconds: f64,
}

impl Exchanges {
    fn new(bus: f64, world: usize) -> Self {
        Self {
            bus,
            world,
            bytes: 0.0,
            seconds: 0.0,
        }
    }

    /// So many collectives over so many bytes each.
    fn add(&mut self, collective: Collective, bytes: f64, times: usize) {
        if self.world == 1 {
            return;
        }
        let passes = match collective {
            Collective::Sum => 2.0, // a reduce-scatter and a gathering
            Collective::AllGather | Collective::ReduceScatter | Collective::Broadcast => 1.0,
        };
        let share = (self.world - 1) as f64 / self.world as f64;
        let moved = passes * share * bytes * times as f64;
        let latency = LATENCY[usize::from(self.world > OF_A_MACHINE)];
        self.bytes += moved;
        self.seconds += moved / self.bus + latency * times as f64;
    }
}
