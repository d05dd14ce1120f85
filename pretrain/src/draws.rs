//! Batches of a corpus: which rows a step reads, what becomes of those that are broken, and how
//! batches are made ahead.

use std::{ops::Range, sync::Arc};

use flava_model::{
    processor::{Picture, decode},
    runtime::{Loader, LoaderOptions},
};
use flava_tasks::Dataset;
use flava_training::BrokenRows;

use crate::{
    Error, Result,
    order::{Order, Rank},
};

/// A picture with a shorter side shows nothing; it counts as broken.
const SHORTEST_SIDE: usize = 4;

/// A corpus that batches are drawn from.
pub struct Draws {
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
pub struct Drawn<T> {
    /// Ids of the rows that are whole.
    pub ids: Vec<String>,
    /// What was made of them.
    pub rows: Vec<T>,
    /// Rows that were left out.
    pub broken: BrokenRows,
}

/// A piece of a batch: its number and how many pieces the batch has.
pub(crate) type Piece = (usize, usize);

/// Most rows that a thread makes at once. Threads share a batch: of large ones more than the next
/// would fill the memory.
const ROWS_OF_A_PIECE: usize = 32;

impl Draws {
    /// The `nth` batch; `make` makes something of a row and a draw's number, or says why it is
    /// broken.
    pub fn batch<T>(
        &self,
        nth: u64,
        make: impl Fn(usize, u64) -> std::result::Result<T, String>,
    ) -> Result<Drawn<T>> {
        Drawn::join([self.piece(nth, (0, 1), make)])
    }

    /// A piece of the `nth` batch.
    pub(crate) fn piece<T>(
        &self,
        nth: u64,
        (piece, of): Piece,
        make: impl Fn(usize, u64) -> std::result::Result<T, String>,
    ) -> Drawn<T> {
        let size = self.batch_size;
        let places = piece * size / of..(piece + 1) * size / of;
        let mut drawn = Drawn {
            ids: Vec::with_capacity(places.len()),
            rows: Vec::with_capacity(places.len()),
            broken: BrokenRows::default(),
        };
        for place in places {
            let draw = self.rank.draw(nth * size as u64 + place as u64, size);
            let row = self.order.row(draw);
            match make(row, draw) {
                Ok(made) => {
                    drawn.ids.push(self.dataset.id(row));
                    drawn.rows.push(made);
                }
                Err(reason) => {
                    if drawn.broken.count == 0 {
                        drawn.broken.first_reason =
                            format!("{} of {}: {reason}", self.dataset.id(row), self.name);
                    }
                    drawn.broken.count += 1;
                }
            }
        }
        drawn
    }
}

impl<T> Drawn<T> {
    /// Pieces one after the other; an error where no row of them is whole.
    fn join(pieces: impl IntoIterator<Item = Self>) -> Result<Self> {
        let mut whole = Self {
            ids: Vec::new(),
            rows: Vec::new(),
            broken: BrokenRows::default(),
        };
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

/// What the batches of some steps are made of, in their order. Threads make pieces of the batches
/// that come next: one of `largest` rows, the most that a batch has, is held beside the one that
/// was handed out.
pub(crate) fn ahead<T: Send + 'static>(
    steps: Range<usize>,
    largest: usize,
    threads: usize,
    make: impl Fn(usize, Piece) -> Drawn<T> + Send + Sync + 'static,
) -> impl Iterator<Item = Result<Drawn<T>>> {
    let (first, pieces) = (
        steps.start,
        largest
            .div_ceil(ROWS_OF_A_PIECE)
            .max(largest.min(2 * threads))
            .max(1),
    );
    let options = LoaderOptions {
        threads,
        ahead: pieces,
    };
    let mut loader = Loader::new(steps.len() * pieces, options, move |place| {
        make(first + place / pieces, (place % pieces, pieces))
    });
    steps.map(move |_| Drawn::join(loader.by_ref().take(pieces)))
}

/// A row's picture, decoded, or why it is broken.
pub(crate) fn picture(bytes: Option<&[u8]>) -> std::result::Result<Picture, String> {
    let picture = decode(bytes.ok_or("has no picture")?).map_err(|e| e.to_string())?;
    if picture.width.min(picture.height) < SHORTEST_SIDE {
        return Err(format!(
            "is a picture of {}x{} pixels",
            picture.width, picture.height
        ));
    }
    Ok(picture)
}
