//! Batches of a corpus: which rows a step reads, and what becomes of those that are broken.

use std::{ops::Range, sync::Arc};

use flava_model::processor::{DecodedImage, decode};
use flava_tasks::Dataset;
use flava_training::{BatchRows, BrokenRows};

use super::order::{Order, Rank};

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
    /// Which rows of a batch are this process's.
    pub rank: Rank,
    /// Rows of a batch, in all processes together.
    pub batch_size: usize,
}

/// What became of a batch's draws.
#[derive(Debug)]
pub struct SampledBatch<T> {
    /// Which rows they are.
    pub own: BatchRows,
    /// What was made of those that are whole.
    pub rows: Vec<T>,
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

    /// Its places among those of a batch.
    fn of(self, places: Range<usize>) -> Range<usize> {
        let (Self { number, of }, start, size) = (self, places.start, places.len());
        start + number * size / of..start + (number + 1) * size / of
    }
}

impl CorpusSampler {
    /// This process's rows of the `nth` batch; `make` makes something of a row and a draw's number, or says why it is
    /// broken.
    pub fn batch<T>(
        &self,
        nth: u64,
        make: impl Fn(usize, u64) -> std::result::Result<T, String>,
    ) -> SampledBatch<T> {
        self.piece(nth, Piece::WHOLE, make)
    }

    /// Most rows of a batch that are this process's.
    pub(crate) fn own_size(&self) -> usize {
        self.rank.places(self.batch_size).len()
    }

    /// A piece of the `nth` batch.
    pub(crate) fn piece<T>(
        &self,
        nth: u64,
        piece: Piece,
        make: impl Fn(usize, u64) -> std::result::Result<T, String>,
    ) -> SampledBatch<T> {
        let places = piece.of(self.rank.places(self.batch_size));
        let mut sampled = SampledBatch::with_capacity(places.len());
        for place in places {
            let sample = nth * self.batch_size as u64 + place as u64;
            let row = self.order.row(sample);
            let id = || self.dataset.id(row);
            match make(row, sample) {
                Ok(made) => sampled.add(id(), place, made),
                Err(reason) => sampled.leave_out(|| format!("{} of {}: {reason}", id(), self.name)),
            }
        }
        sampled
    }
}

impl<T> SampledBatch<T> {
    fn with_capacity(rows: usize) -> Self {
        Self {
            own: BatchRows {
                ids: Vec::with_capacity(rows),
                places: Vec::with_capacity(rows),
                broken: BrokenRows::default(),
            },
            rows: Vec::with_capacity(rows),
        }
    }

    fn add(&mut self, id: String, place: usize, row: T) {
        self.own.ids.push(id);
        self.own.places.push(place);
        self.rows.push(row);
    }

    /// Counts a broken row; the reason of the first is kept.
    fn leave_out(&mut self, reason: impl FnOnce() -> String) {
        let broken = &mut self.own.broken;
        if broken.count == 0 {
            broken.first_reason = reason();
        }
        broken.count += 1;
    }

    /// Pieces one after the other.
    pub(super) fn join(pieces: impl IntoIterator<Item = Self>) -> Self {
        let mut whole = Self::with_capacity(0);
        for mut piece in pieces {
            whole.rows.append(&mut piece.rows);
            let (into, from) = (&mut whole.own, &mut piece.own);
            into.ids.append(&mut from.ids);
            into.places.append(&mut from.places);
            if into.broken.count == 0 {
                into.broken.first_reason = std::mem::take(&mut from.broken.first_reason);
            }
            into.broken.count += from.broken.count;
        }
        whole
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
