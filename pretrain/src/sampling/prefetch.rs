//! Batches made ahead, in pieces that threads share.

use std::ops::Range;

use flava_model::runtime::{Loader, LoaderOptions};

use super::sampler::{Piece, SampledBatch};

/// Most rows that a thread makes at once. Threads share a batch: of large ones more than the next
/// would fill the memory.
const ROWS_OF_A_PIECE: usize = 32;

/// What this process's batches of some steps are made of, in their order. Threads make pieces of the batches
/// that come next: one of `largest` rows, the most that a batch has, is held beside the one that
/// was handed out.
pub(crate) fn prefetch<T: Send + 'static>(
    steps: Range<usize>,
    largest: usize,
    threads: usize,
    make: impl Fn(usize, Piece) -> SampledBatch<T> + Send + Sync + 'static,
) -> impl Iterator<Item = SampledBatch<T>> {
    let first = steps.start;
    let pieces = pieces_of_a_batch(largest, threads);
    let options = LoaderOptions {
        threads,
        prefetch: pieces,
    };
    let mut loader = Loader::new(steps.len() * pieces, options, move |position| {
        let piece = Piece {
            number: position % pieces,
            of: pieces,
        };
        make(first + position / pieces, piece)
    });
    steps.map(move |_| SampledBatch::join(loader.by_ref().take(pieces)))
}

/// In how many pieces batches of up to `largest` rows are made.
fn pieces_of_a_batch(largest: usize, threads: usize) -> usize {
    let for_memory = largest.div_ceil(ROWS_OF_A_PIECE);
    let for_threads = largest.min(2 * threads);
    for_memory.max(for_threads).max(1)
}
