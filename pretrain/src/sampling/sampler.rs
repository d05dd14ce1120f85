//! Batches of a corpus: which rows a step reads, and what becomes of those that are broken.

use std::{ops::Range, sync::Arc};

use flava_model::processor::{DecodedImage, decode};
use flava_tasks::Dataset;
use flava_training::BrokenRows;

use super::order::{Order, Rank};
use crate::{Error, Result};

/// An image with a shorter side shows nothing; it counts as broken.
const SHORTEST_SIDE: usize = 4;

/// A corpus that batches are drawn from.
pub struct CorpusSampler {
    /// Its name in the recipe.
    pub name: String,
    /// Its rows.
    pub dataset: Arc<dyn Dataset>,
    /// Their order.
    pub order: Order,
    /// Which of the draws are this process's.
    pub rank: Rank,
    /// Rows of a batch.
    pub batch_size: usize,
}

/// What became of a batch's draws.
#[derive(Debug)]
pub struct SampledBatch<T> {
    /// Ids of the rows that are whole.
    pub ids: Vec<String>,
    /// What was made of them.
    pub rows: Vec<T>,
    /// Rows that were left out.
    pub broken: BrokenRows,
}

/// A piece of a batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Piece {
    /// Counted from 0.
    pub number: usize,
    /// How many the batch has.
    pub of: usize,
}

impl Piece {
    /// All of a batch.
    const WHOLE: Self = Self { number: 0, of: 1 };

    /// Its places in a batch of `size` rows.
    fn positions(self, size: usize) -> Range<usize> {
        let Self { number, of } = self;
        number * size / of..(number + 1) * size / of
    }
}

impl CorpusSampler {
    /// The `nth` batch; `make` makes something of a row and a draw's number, or says why it is
    /// broken.
    pub fn batch<T>(
        &self,
        nth: u64,
        make: impl Fn(usize, u64) -> std::result::Result<T, String>,
    ) -> Result<SampledBatch<T>> {
        SampledBatch::join([self.piece(nth, Piece::WHOLE, make)])
    }

    /// A piece of the `nth` batch.
    pub(crate) fn piece<T>(
        &self,
        nth: u64,
        piece: Piece,
        make: impl Fn(usize, u64) -> std::result::Result<T, String>,
    ) -> SampledBatch<T> {
        let size = self.batch_size;
        let positions = piece.positions(size);
        let mut sampled = SampledBatch::with_capacity(positions.len());
        for position in positions {
            let sample = self.rank.sample(nth * size as u64 + position as u64, size);
            let row = self.order.row(sample);
            let id = || self.dataset.id(row);
            match make(row, sample) {
                Ok(made) => sampled.add(id(), made),
                Err(reason) => sampled.leave_out(|| format!("{} of {}: {reason}", id(), self.name)),
            }
        }
        sampled
    }
}

impl<T> SampledBatch<T> {
    fn with_capacity(rows: usize) -> Self {
        Self {
            ids: Vec::with_capacity(rows),
            rows: Vec::with_capacity(rows),
            broken: BrokenRows::default(),
        }
    }

    fn add(&mut self, id: String, row: T) {
        self.ids.push(id);
        self.rows.push(row);
    }

    /// Counts a broken row; the reason of the first is kept.
    fn leave_out(&mut self, reason: impl FnOnce() -> String) {
        if self.broken.count == 0 {
            self.broken.first_reason = reason();
        }
        self.broken.count += 1;
    }

    /// Pieces one after the other; an error where no row of them is whole.
    pub(super) fn join(pieces: impl IntoIterator<Item = Self>) -> Result<Self> {
        let mut whole = Self::with_capacity(0);
        for mut piece in pieces {
            whole.ids.append(&mut piece.ids);
            whole.rows.append(&mut piece.rows);
            if whole.broken.count == 0 {
                whole.broken.first_reason = piece.broken.first_reason;
            }
            whole.broken.count += piece.broken.count;
        }
        if whole.rows.is_empty() {
            return Err(Error::Input(format!(
                "every row of a batch is broken; the first is {}",
                whole.broken.first_reason
            )));
        }
        Ok(whole)
    }
}

/// A row's image, decoded, or why it is broken.
pub(crate) fn image(bytes: Option<&[u8]>) -> std::result::Result<DecodedImage, String> {
    let image = decode(bytes.ok_or("has no image")?).map_err(|e| e.to_string())?;
    if image.width.min(image.height) < SHORTEST_SIDE {
        return Err(format!(
            "is an image of {}x{} pixels",
            image.width, image.height
        ));
    }
    Ok(image)
}
