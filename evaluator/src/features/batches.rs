//! Rows in batches: texts of like length together, images as they come.

use std::ops::Range;

use flava_model::processor::Encoding;
use tch::{Device, Tensor};

use crate::Result;

/// Tokens of one batch of texts, of which short ones go in larger batches: what fits the caches of
/// a CPU, and what keeps a GPU from waiting for its kernels to be launched.
fn batch_tokens(device: Device) -> usize {
    if device.is_cuda() { 32_768 } else { 4096 }
}

/// Rows, and where they are cut into batches.
pub(crate) struct RowBatches {
    /// The rows, in the order in which they go.
    order: Vec<usize>,
    /// Positions in that order.
    pub(crate) positions: Vec<Range<usize>>,
}

impl RowBatches {
    /// Texts, shortest first, so that little is padded, in batches of a bounded number of tokens.
    pub(crate) fn by_length(encodings: &[Encoding], device: Device) -> Self {
        let mut order: Vec<usize> = (0..encodings.len()).collect();
        order.sort_by_key(|&text| encodings[text].input_ids.len());
        let ordered: Vec<&Encoding> = order.iter().map(|&text| &encodings[text]).collect();
        Self {
            positions: by_tokens(&ordered, batch_tokens(device)),
            order,
        }
    }

    /// Rows as they stand, so many at once.
    pub(crate) fn in_order(rows: usize, size: usize) -> Self {
        Self {
            order: (0..rows).collect(),
            positions: cut(0..rows, size).collect(),
        }
    }

    /// The rows of a batch.
    pub(crate) fn rows(&self, positions: Range<usize>) -> &[usize] {
        &self.order[positions]
    }

    /// The rows of each batch.
    pub(super) fn batches(&self) -> impl Iterator<Item = &[usize]> {
        self.positions
            .iter()
            .map(|positions| self.rows(positions.clone()))
    }

    /// Values that stand in the order of the batches, in that of the rows.
    pub(crate) fn in_row_order(&self, values: &Tensor) -> Result<Tensor> {
        let mut positions = vec![0i64; self.order.len()];
        for (position, &row) in self.order.iter().enumerate() {
            positions[row] = position as i64;
        }
        Ok(values.f_index_select(0, &Tensor::f_from_slice(&positions)?)?)
    }
}

/// Pieces of so many; the last may be smaller.
pub(super) fn cut(whole: Range<usize>, size: usize) -> impl Iterator<Item = Range<usize>> {
    let end = whole.end;
    whole
        .step_by(size)
        .map(move |start| start..(start + size).min(end))
}

/// Batches of texts that stand shortest first, of so many tokens at most, or of one text.
fn by_tokens(ordered: &[&Encoding], most: usize) -> Vec<Range<usize>> {
    let mut batches = Vec::new();
    let mut start = 0;
    while start < ordered.len() {
        let fits = |end: &usize| {
            *end == start + 1 || (end - start) * ordered[end - 1].input_ids.len() <= most
        };
        let ends = (start + 1..=ordered.len()).take_while(fits);
        let end = ends.last().unwrap_or(start + 1);
        batches.push(start..end);
        start = end;
    }
    batches
}
