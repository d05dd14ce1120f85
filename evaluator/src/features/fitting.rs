//! Rows through a model, fewer at once from where the device's memory was too small.

use std::{cell::Cell, ops::Range};

use flava_model::runtime::Progress;
use flava_training::LearnerError;

use crate::{Result, args::BatchSize};

/// How many rows go through a model at once, as far as was found.
#[derive(Debug)]
pub(crate) struct Fitting {
    rows: Cell<usize>,
    /// Whether nobody said how many.
    is_free: bool,
}

impl Fitting {
    /// So many to begin with, and no fewer where it was said how many.
    pub(crate) fn new(rows: usize, asked: BatchSize) -> Self {
        Self {
            rows: Cell::new(rows),
            is_free: asked.is_auto(),
        }
    }

    /// As many as are given.
    pub(crate) fn all(asked: BatchSize) -> Self {
        Self::new(usize::MAX, asked)
    }

    /// So many at once.
    pub(crate) fn rows(&self) -> usize {
        self.rows.get()
    }

    /// What `act` makes of `count` rows, of as many at once as fit, in order.
    pub(crate) fn each<T>(
        &self,
        count: usize,
        progress: &Progress,
        mut act: impl FnMut(Range<usize>) -> Result<T>,
    ) -> Result<Vec<T>> {
        let mut made = Vec::new();
        let mut start = 0;
        while start < count {
            let rows = self.rows.get().min(count - start);
            match act(start..start + rows) {
                Ok(part) => {
                    made.push(part);
                    start += rows;
                }
                Err(error) if self.is_free && rows > 1 && error.is_out_of_memory() => {
                    self.rows.set(rows / 2);
                    progress.say(&format!(
                        "{rows} rows do not fit into the device's memory: going on with {}",
                        rows / 2
                    ));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(made)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;

    /// Rows as they are given, of which no more than `room` fit.
    fn taken(fitting: &Fitting, count: usize, room: usize) -> Result<Vec<Vec<usize>>> {
        fitting.each(count, &Progress::new(1, "tasks", true), |rows| {
            if rows.len() > room {
                let short = flava_model::Error::OutOfMemory("CUDA out of memory".into());
                return Err(Error::Model(short));
            }
            Ok(rows.collect())
        })
    }

    #[test]
    fn where_memory_is_short_fewer_rows_go_at_once_and_stay_in_order() {
        let fitting = Fitting::all(BatchSize::Auto);
        assert_eq!(taken(&fitting, 5, 9).unwrap(), [[0, 1, 2, 3, 4]]);
        let parts = taken(&fitting, 11, 3).unwrap();
        assert_eq!(parts.concat(), (0..11).collect::<Vec<_>>());
        assert_eq!((parts.len(), fitting.rows()), (6, 2));
        // From then on no more, and one that does not fit is an error.
        assert_eq!(taken(&fitting, 4, 9).unwrap(), [[0, 1], [2, 3]]);
        assert!(taken(&fitting, 4, 0).unwrap_err().is_out_of_memory());
        assert!(taken(&fitting, 0, 0).unwrap().is_empty());
    }

    #[test]
    fn a_number_that_was_asked_for_is_not_lowered() {
        let fitting = Fitting::new(4, BatchSize::Rows(4));
        assert!(taken(&fitting, 8, 3).unwrap_err().is_out_of_memory());
        assert_eq!(fitting.rows(), 4);
    }
}
