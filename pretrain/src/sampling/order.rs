//! In which order the rows of a corpus are read: whole shards in random order, and within a buffer
//! rows in random order. The row of a draw depends on the seed and the draw's number alone, so a
//! position in a corpus is that number.

use std::{
    ops::Range,
    sync::{Arc, Mutex},
};

use flava_base::stream;
use flava_model::runtime::distributed::share;
use rand::seq::SliceRandom;

/// Rows that are read one after the other from where they lie; a shard of files that know none.
const SHARD: usize = 1024;

/// Which rows of each batch this process reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rank {
    /// This process, counted from 0.
    pub rank: usize,
    /// All of them.
    pub world: usize,
}

impl Default for Rank {
    fn default() -> Self {
        Self { rank: 0, world: 1 }
    }
}

impl Rank {
    /// The places of a batch of so many rows that are this process's.
    pub fn places(self, batch_size: usize) -> Range<usize> {
        share(self.rank, self.world, batch_size)
    }
}

/// A permutation that was made, and for what.
#[derive(Debug)]
struct Permutation {
    pass: u64,
    block: usize,
    order: Arc<Vec<u32>>,
}

/// The last few permutations: threads ask for neighbouring draws.
#[derive(Debug, Default)]
struct Permutations(Mutex<Vec<Permutation>>);

impl Permutations {
    /// How many are kept.
    const MOST: usize = 4;

    /// That of a block in a pass.
    fn of(&self, pass: u64, block: usize, make: impl FnOnce() -> Vec<u32>) -> Arc<Vec<u32>> {
        let mut all = self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut known = all.iter();
        if let Some(known) = known.find(|known| known.pass == pass && known.block == block) {
            return Arc::clone(&known.order);
        }
        let order = Arc::new(make());
        if all.len() == Self::MOST {
            all.remove(0);
        }
        all.push(Permutation {
            pass,
            block,
            order: Arc::clone(&order),
        });
        order
    }
}

/// The order of a corpus.
#[derive(Debug)]
pub struct Order {
    rows: usize,
    shard: usize,
    buffer: usize,
    seed: u64,
    name: String,
    shards: Permutations,
    buffers: Permutations,
}

impl Order {
    /// Of `rows` rows; `buffer` is how many are mixed with each other.
    pub fn new(name: &str, rows: usize, buffer: usize, seed: u64) -> Self {
        let buffer = buffer.clamp(1, rows.max(1));
        // A corpus that fits the buffer is one shard: the order is then that of a shuffled deck.
        let shard = if buffer >= rows {
            rows.max(1)
        } else {
            SHARD.min(rows)
        };
        Self {
            rows,
            shard,
            buffer,
            seed,
            name: name.to_owned(),
            shards: Permutations::default(),
            buffers: Permutations::default(),
        }
    }

    /// The row of a draw; every row comes once in each pass.
    pub fn row(&self, sample: u64) -> usize {
        let (pass, position) = (
            sample / self.rows as u64,
            (sample % self.rows as u64) as usize,
        );
        let (block, within) = (position / self.buffer, position % self.buffer);
        let length = self.buffer.min(self.rows - block * self.buffer);
        let mixed = self.buffers.of(pass, block, || {
            self.shuffled(&format!("buffer {pass} {block}"), length)
        });
        self.unmixed(pass, block * self.buffer + mixed[within] as usize)
    }

    /// The row at a place where only shards are shuffled.
    fn unmixed(&self, pass: u64, position: usize) -> usize {
        let count = self.rows.div_ceil(self.shard);
        if count == 1 {
            return position;
        }
        let shards = self
            .shards
            .of(pass, 0, || self.shuffled(&format!("shards {pass}"), count));
        // All shards are of one length but the last, whose place in this pass is known.
        let short = shards
            .iter()
            .position(|&shard| shard as usize == count - 1)
            .unwrap_or(0);
        let missing = count * self.shard - self.rows;
        let end_of_short = (short + 1) * self.shard - missing;
        let padded = if position < end_of_short {
            position
        } else {
            position + missing
        };
        shards[padded / self.shard] as usize * self.shard + padded % self.shard
    }

    fn shuffled(&self, purpose: &str, count: usize) -> Vec<u32> {
        let mut order: Vec<u32> = (0..count as u32).collect();
        order.shuffle(&mut stream(
            self.seed,
            &format!("order of {}, {purpose}", self.name),
        ));
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_comes_once_in_each_pass() {
        for (rows, buffer) in [
            (1, 1),
            (7, 100),
            (5000, 300),
            (5000, 5000),
            (2048, 64),
            (1025, 10),
        ] {
            let order = Order::new("x", rows, buffer, 3);
            for pass in 0..2 {
                let mut seen: Vec<usize> = (0..rows)
                    .map(|position| order.row((pass * rows + position) as u64))
                    .collect();
                assert!(rows < 10 || !seen.is_sorted());
                seen.sort_unstable();
                assert!(seen.into_iter().eq(0..rows), "{rows} rows, buffer {buffer}");
            }
        }
    }

    #[test]
    fn passes_and_seeds_differ_and_draws_repeat() {
        let rows = |seed, pass: u64| {
            let order = Order::new("x", 3000, 500, seed);
            (0..3000)
                .map(|position| order.row(pass * 3000 + position))
                .collect::<Vec<_>>()
        };
        assert_eq!(rows(1, 0), rows(1, 0));
        assert_ne!(rows(1, 0), rows(1, 1));
        assert_ne!(rows(1, 0), rows(2, 0));
        let order = Order::new("x", 3000, 500, 1);
        assert_eq!(
            order.row(2999),
            *rows(1, 0).last().unwrap(),
            "whatever was drawn before"
        );
    }

    /// Reads stay near each other: a buffer's rows come from few shards.
    #[test]
    fn a_buffer_reads_from_few_shards() {
        let order = Order::new("x", 100 * SHARD, 4 * SHARD, 0);
        let shards: std::collections::HashSet<usize> = (0..4 * SHARD as u64)
            .map(|sample| order.row(sample) / SHARD)
            .collect();
        assert!(shards.len() <= 5, "{}", shards.len());
    }

    #[test]
    fn processes_share_a_batch_without_overlap() {
        for (world, batch) in [(3, 24), (3, 10), (4, 3), (1, 7)] {
            let all = (0..world).flat_map(|rank| Rank { rank, world }.places(batch));
            assert!(all.eq(0..batch), "{batch} rows for {world}");
        }
    }
}
