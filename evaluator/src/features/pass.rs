//! One pass over rows or texts: what of it is stored is read, the rest is made and stored.

use std::{collections::VecDeque, ops::Range};

use flava_model::runtime::TaskProgress;
use flava_tasks::{Feature, Tower};
use tch::{Device, Kind, Tensor};

use super::{
    Extractor, check_finite, numerics,
    store::{About, FeatureShard, SHARD, Shards},
};
use crate::{Result, check_interrupted};

/// What a pass is over, and how it is cut.
pub(super) struct Pass<'a> {
    /// What is read of each row; all of one encoder.
    pub(super) wanted: &'a [Feature],
    /// Digest of the contents of the rows or texts.
    pub(super) data: &'a str,
    pub(super) name: &'a str,
    pub(super) rows: usize,
    pub(super) preparation: String,
    /// Shards that are made together: what is in one batch does not depend on what is stored.
    pub(super) shards_of_block: usize,
    /// Positions of the rows of each batch, of each block.
    pub(super) blocks: Vec<Vec<Vec<usize>>>,
    /// What a row is called.
    pub(super) id: &'a dyn Fn(usize) -> String,
}

impl Pass<'_> {
    fn shards(&self) -> usize {
        self.rows.div_ceil(SHARD)
    }

    fn unread(&self) -> Vec<Option<FeatureShard>> {
        (0..self.shards()).map(|_| None).collect()
    }

    /// The shards of a block.
    pub(super) fn shards_of(&self, block: usize) -> Range<usize> {
        let start = block * self.shards_of_block;
        start..(start + self.shards_of_block).min(self.shards())
    }

    /// Blocks of which a shard is not whole.
    fn lacking(&self, whole: &[bool]) -> Vec<usize> {
        let is_lacking = |block: &usize| !self.shards_of(*block).all(|shard| whole[shard]);
        (0..self.blocks.len()).filter(is_lacking).collect()
    }

    /// The batches of some blocks.
    pub(super) fn batches_of(&self, blocks: &[usize]) -> impl Iterator<Item = &Vec<usize>> {
        blocks.iter().flat_map(|&block| &self.blocks[block])
    }
}

/// What of a pass is there.
pub(super) struct Stored {
    /// The shards of each wanted feature; none without a store.
    pub(super) shards: Vec<Shards>,
    /// The numbers of each shard, of each wanted feature; where there is a store, of the first
    /// alone.
    pub(super) numbers: Vec<Vec<Option<FeatureShard>>>,
    /// Blocks that are to be made.
    pub(super) missing: VecDeque<usize>,
    /// Blocks that other processes of the run make.
    pub(super) elsewhere: Vec<usize>,
}

/// Features of one batch.
pub(super) struct Made {
    /// Positions of the rows that gave any.
    pub(super) positions: Vec<usize>,
    /// Of each wanted feature \[places, width\], on the model's device; empty where no row gave any.
    pub(super) values: Vec<Tensor>,
}

/// Features of the batches of one block.
#[derive(Default)]
struct Block {
    positions: Vec<usize>,
    parts: Vec<Vec<Tensor>>,
}

impl Block {
    fn add(&mut self, made: Made) {
        if !made.values.is_empty() {
            self.parts.push(made.values);
        }
        self.positions.extend(made.positions);
    }
}

impl Extractor<'_> {
    /// What of a pass is stored; what is damaged there is said, and made again.
    pub(super) fn stored(&self, pass: &Pass) -> Stored {
        let shards = self.shards(pass);
        let all = pass.wanted.len();
        let kept = if shards.is_empty() { all } else { 1 };
        let mut numbers: Vec<Vec<Option<FeatureShard>>> = Vec::new();
        numbers.resize_with(kept, || pass.unread());
        let mut whole = vec![!shards.is_empty(); pass.shards()];
        for (feature, shards) in shards.iter().enumerate() {
            shards.stamp();
            for (shard, is_whole) in whole.iter_mut().enumerate() {
                let found = self.read(shards, shard);
                *is_whole &= found.is_some();
                if let Some(numbers) = numbers.get_mut(feature) {
                    numbers[shard] = found;
                }
            }
        }
        Stored {
            shards,
            numbers,
            missing: pass.lacking(&whole).into(),
            elsewhere: Vec::new(),
        }
    }

    /// The shards of each wanted feature; none without a store.
    fn shards(&self, pass: &Pass) -> Vec<Shards> {
        let Some(store) = &self.store else {
            return Vec::new();
        };
        let shards = |feature: &Feature| store.shards(&self.about(pass, *feature));
        pass.wanted.iter().map(shards).collect()
    }

    /// What decides the numbers of a feature.
    pub(super) fn about(&self, pass: &Pass, feature: Feature) -> About {
        let options = self.model.options;
        let device = if options.device.is_cuda() {
            "cuda"
        } else {
            "cpu"
        };
        let stored = if self.settings.store_f16 {
            "f16"
        } else {
            "f32"
        };
        let precision = options.precision.name();
        About {
            weights: self.model.identity(),
            feature: feature.name(),
            preparation: pass.preparation.clone(),
            precision: format!("{precision} on {device}{}", numerics()),
            data: pass.data.to_owned(),
            name: pass.name.to_owned(),
            rows: pass.rows,
            stored: stored.to_owned(),
        }
    }

    pub(super) fn read(&self, shards: &Shards, shard: usize) -> Option<FeatureShard> {
        shards.read(shard).unwrap_or_else(|reason| {
            let again = "its rows are computed again";
            self.progress
                .say(&format!("feature store: {reason}: {again}"));
            None
        })
    }

    /// Makes the blocks that are not in the store, `start` giving what makes the batches of some of
    /// them, and gives the features of all rows in their order; where there is a store, the first
    /// feature's alone. Other processes of the run make some of the blocks; who only helps
    /// (`wants_all` is false) does not wait for them, and gets nothing.
    pub(super) fn run<S: FnMut(&[usize]) -> Result<Made>>(
        &self,
        pass: &Pass,
        wants_all: bool,
        start: impl Fn(&[usize]) -> S,
    ) -> Result<Vec<FeatureShard>> {
        let _guard = tch::no_grad_guard();
        let mut stored = self.stored(pass);
        let kind = rows_kind(pass.wanted[0].tower);
        let bar = self.progress.task(pass.name, &kind, pass.rows);
        let to_make = pass.batches_of(stored.missing.make_contiguous());
        bar.spare(pass.rows - to_make.map(Vec::len).sum::<usize>());
        loop {
            let mut taken = self.take(pass, &mut stored)?;
            if taken.is_empty() && !wants_all {
                return Ok(Vec::new());
            }
            if taken.is_empty() && stored.elsewhere.is_empty() {
                return stored.numbers.into_iter().map(whole).collect();
            }
            if taken.is_empty() {
                taken = self.look_for(pass, &mut stored, &bar)?;
            }
            let made = self.make(pass, &taken, &mut stored, start(&taken), &bar);
            self.tell_of(pass, &taken, &made)?;
            made?;
        }
    }

    /// Runs blocks through `step`.
    fn make(
        &self,
        pass: &Pass,
        blocks: &[usize],
        stored: &mut Stored,
        mut step: impl FnMut(&[usize]) -> Result<Made>,
        bar: &TaskProgress,
    ) -> Result<()> {
        for &block in blocks {
            let mut made = Block::default();
            // A GPU computes a batch while the next is put together: numbers are read one later.
            let mut computing: Option<Made> = None;
            for batch in &pass.blocks[block] {
                check_interrupted()?;
                if let Some(before) = computing.replace(step(batch)?) {
                    made.add(self.checked(pass, before)?);
                }
                bar.did(batch.len());
            }
            if let Some(last) = computing {
                made.add(self.checked(pass, last)?);
            }
            self.put(pass.shards_of(block), &made, stored)?;
        }
        Ok(())
    }

    /// What a step gave, as the store will have it.
    fn checked(&self, pass: &Pass, made: Made) -> Result<Made> {
        let on_host = |values: Tensor| Ok(values.f_to_device(Device::Cpu)?);
        let values: Result<Vec<Tensor>> = made.values.into_iter().map(on_host).collect();
        let values = self.rounded(values?)?;
        for (values, feature) in values.iter().zip(pass.wanted) {
            check_finite(values, &made.positions, pass.id, *feature)?;
        }
        Ok(Made { values, ..made })
    }

    fn rounded(&self, values: Vec<Tensor>) -> Result<Vec<Tensor>> {
        let half = |values: Tensor| Ok(values.f_to_kind(Kind::Half)?.f_to_kind(Kind::Float)?);
        if self.settings.store_f16 {
            values.into_iter().map(half).collect()
        } else {
            Ok(values)
        }
    }

    /// Divides what a block gave into its shards, and keeps them.
    fn put(&self, shards: Range<usize>, made: &Block, stored: &mut Stored) -> Result<()> {
        for (feature, values) in joined(&made.parts)?.into_iter().enumerate() {
            for (shard, piece) in divided(&made.positions, &values, shards.clone())? {
                if let Some(shards) = stored.shards.get(feature) {
                    self.keep(shards, shard, &piece)?;
                }
                if let Some(numbers) = stored.numbers.get_mut(feature) {
                    numbers[shard] = Some(piece);
                }
            }
        }
        Ok(())
    }

    /// Stores a shard; a store that cannot be written to is done without, unless other processes
    /// read what this one writes.
    fn keep(&self, shards: &Shards, shard: usize, piece: &FeatureShard) -> Result<()> {
        if self.unwritable.get() {
            return Ok(());
        }
        let written = shards.write(shard, piece);
        if self.peers.is_some() {
            return written;
        }
        if let Err(error) = written {
            self.unwritable.set(true);
            self.progress
                .say(&format!("note: features are not stored: {error}"));
        }
        Ok(())
    }
}

/// What encoding a row is called among kinds of work.
pub(crate) fn rows_kind(tower: Tower) -> String {
    format!("{}: rows", tower.name())
}

/// Features by the positions of their rows, cut into shards, in the order of the positions.
fn divided(
    positions: &[usize],
    values: &Tensor,
    shards: Range<usize>,
) -> Result<Vec<(usize, FeatureShard)>> {
    let mut order: Vec<usize> = (0..positions.len()).collect();
    order.sort_by_key(|&row| positions[row]);
    let mut pieces = Vec::with_capacity(shards.len());
    for shard in shards {
        let is_of = |row: &usize| positions[*row] / SHARD == shard;
        let rows: Vec<usize> = order.iter().copied().filter(is_of).collect();
        let index: Vec<i64> = rows.iter().map(|&row| row as i64).collect();
        let piece = FeatureShard {
            values: values.f_index_select(0, &Tensor::f_from_slice(&index)?)?,
            positions: rows.into_iter().map(|row| positions[row]).collect(),
        };
        pieces.push((shard, piece));
    }
    Ok(pieces)
}

/// Shards, one below the other; those of which every row is broken have none.
fn whole(shards: Vec<Option<FeatureShard>>) -> Result<FeatureShard> {
    let (mut positions, mut parts) = (Vec::new(), Vec::new());
    for shard in shards.into_iter().flatten() {
        if !shard.positions.is_empty() {
            positions.extend(shard.positions);
            parts.push(shard.values);
        }
    }
    let values = if parts.is_empty() {
        Tensor::new()
    } else {
        Tensor::f_cat(&parts, 0)?
    };
    Ok(FeatureShard { positions, values })
}

/// Each feature of all batches, one below the other.
pub(super) fn joined(batches: &[Vec<Tensor>]) -> Result<Vec<Tensor>> {
    let join = |feature: usize| {
        let parts: Vec<&Tensor> = batches.iter().map(|batch| &batch[feature]).collect();
        Ok(Tensor::f_cat(&parts, 0)?)
    };
    (0..batches.first().map_or(0, Vec::len)).map(join).collect()
}
