//! What all processes of a training must decide alike, in one place a step: whoever decided it
//! alone would leave the others waiting. One process decides for itself, at no cost.
//!
//! With several, a batch that one of them could not make and a lack of memory are to be told here
//! too.

use std::time::{Duration, Instant};

/// Time after which what was done is saved, whatever the schedule says.
const SAVE_EVERY: Duration = Duration::from_mins(10);

/// What is decided before a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StepHeader {
    /// Ctrl-C was pressed.
    pub(crate) interrupted: bool,
    /// The last state is so old that another is due.
    pub(crate) save: bool,
}

/// Where processes agree.
#[derive(Debug)]
pub(crate) struct Coordinator {
    saved: Instant,
}

impl Coordinator {
    /// Of a training in one process.
    pub(crate) fn alone() -> Self {
        Self {
            saved: Instant::now(),
        }
    }

    /// What all processes act on: any interruption, the first one's clock.
    pub(crate) fn before_step(&self) -> StepHeader {
        StepHeader {
            interrupted: flava_base::interrupted(),
            save: self.saved.elapsed() > SAVE_EVERY,
        }
    }

    /// A state was saved.
    pub(crate) fn note_saved(&mut self) {
        self.saved = Instant::now();
    }
}
