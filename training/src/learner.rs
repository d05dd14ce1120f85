//! What a trainer trains.

use std::{ops::Range, path::Path, rc::Rc};

use flava_base::stream;
use flava_model::{layers::WeightLender, runtime::distributed::Group};
use rand::RngCore;

use crate::{
    BatchRows, LearnerError, ParameterSet, StepMetrics, TrainingState, Update, WholeBatch,
    coordination::{agreed, before_step},
    parallel::{Blocks, Sums},
};

/// Rows of a batch that go through the model at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Counted from 0 over the parts of all processes: whatever is drawn for a part depends on it.
    pub number: usize,
    /// Among this process's rows; empty where all of them are broken, or others have one more.
    pub rows: Range<usize>,
    /// Whether it is the last of this process that has a backward pass.
    pub is_last: bool,
}

/// Sums of gradients that begin before the backward pass has ended; none in a process alone.
#[derive(Clone, Debug, Default)]
pub struct EarlySums {
    pub(crate) sums: Option<Rc<Sums>>,
    /// Of blocks that are lent their weights.
    pub(crate) of_blocks: Option<Rc<Blocks>>,
}

/// What a step may know of itself.
#[derive(Clone, Debug)]
pub struct Step {
    /// Counted from 0.
    pub number: usize,
    /// Of whatever it draws.
    pub seed: i64,
    /// What losses are multiplied by before the backward pass.
    pub loss_scale: f64,
    /// Rows that go through the model at once in each process; 0 for all.
    pub micro_batch: usize,
    /// The batch of all processes.
    pub whole: WholeBatch,
    /// All processes.
    pub group: Group,
    /// Whether every process has to come to every block, forth and back, also with a part that is
    /// empty or has no loss: the blocks' weights are gathered from all.
    pub lockstep: bool,
    /// The sums of gradients that begin before the backward pass has ended.
    pub early_sums: EarlySums,
}

impl Step {
    /// The first step of some processes, of a batch of a learner's, over all rows at once.
    ///
    /// # Errors
    /// Which process failed, and of what.
    pub fn first<L: Learner>(group: &Group, learner: &L, batch: &L::Batch) -> crate::Result<Self> {
        let header = before_step(group, learner.rows(batch), &learner.counts(batch), false)?;
        Ok(Self {
            number: 0,
            seed: 0,
            loss_scale: 1.0,
            micro_batch: 0,
            whole: header.batch,
            group: group.clone(),
            lockstep: false,
            early_sums: EarlySums::default(),
        })
    }

    /// The parts of this process's rows, as many in every process, one after the other.
    pub fn parts(&self, rows: &BatchRows) -> Vec<Part> {
        let drawn = self.whole.drawn();
        let (own, most) = (self.group.share(drawn), self.group.largest_share(drawn));
        let size = match self.micro_batch {
            0 => most.max(1),
            size => size,
        };
        let count = most.div_ceil(size);
        let before = |place: usize| rows.places.partition_point(|row| *row < place);
        let part = |number: usize| {
            let start = own.start + number * size;
            let end = if number + 1 == count {
                own.end
            } else {
                start + size
            };
            Part {
                number: self.group.rank() * count + number,
                rows: before(start)..before(end.min(own.end)),
                is_last: false,
            }
        };
        let mut parts: Vec<Part> = (0..count).map(part).collect();
        let has_pass = |part: &&mut Part| self.lockstep || !part.rows.is_empty();
        if let Some(last) = parts.iter_mut().rfind(has_pass) {
            last.is_last = true;
        }
        parts
    }

    /// Before a part's last backward pass. If it is this process's last in the step, gradients go
    /// out to be summed as soon as they are complete; without this, at the end.
    pub fn begin_backward(&self, part: &Part) {
        if !part.is_last {
            return;
        }
        let EarlySums { sums, of_blocks } = &self.early_sums;
        if let Some(sums) = sums {
            sums.begin_last();
        }
        if let Some(blocks) = of_blocks {
            blocks.begin_last();
        }
    }

    /// Backward passes of a batch of a kind, whose gradients may go out early. Where memory is
    /// short, what the others wait for goes out too.
    pub(crate) fn summed_early<T, E: LearnerError>(
        &self,
        kind: &'static str,
        backward: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        if let Some(blocks) = &self.early_sums.of_blocks {
            blocks.begin();
        }
        let Some(sums) = &self.early_sums.sums else {
            return backward();
        };
        sums.begin(kind)?;
        let measured = backward();
        if measured.as_ref().err().is_none_or(E::is_out_of_memory) {
            sums.end()?;
        }
        measured
    }

    /// Begins a part: whatever it draws depends on its number alone.
    pub fn begin(&self, part: &Part) {
        tch::manual_seed(self.seed.wrapping_add(part.number as i64));
    }

    /// A part's share of the whole batch's rows.
    pub fn share(&self, part: &Part) -> f64 {
        part.rows.len() as f64 / self.whole.len() as f64
    }

    /// What was computed, where it was in every process. To be called by all of them before they
    /// exchange what was computed.
    ///
    /// # Errors
    /// Its own, or that memory is short in another process.
    pub fn agreed<T, E: LearnerError>(&self, result: Result<T, E>) -> Result<T, E> {
        if self.lockstep && result.is_err() {
            return result; // the others are not where they could agree
        }
        agreed(&self.group, result)
    }
}

/// Batches one after the other, made ahead: of each this process's rows.
pub type Batches<B, E> = Box<dyn Iterator<Item = Result<B, E>>>;

/// A model, its data and its losses.
pub trait Learner {
    /// A step's data.
    type Batch: Send + 'static;
    /// What can go wrong in it.
    type Error: LearnerError;

    /// The batches of some steps.
    fn batches(&self, steps: Range<usize>) -> Batches<Self::Batch, Self::Error>;
    /// Its rows.
    fn rows<'b>(&self, batch: &'b Self::Batch) -> &'b BatchRows;
    /// What of its rows is counted over all processes: losses are sums over rows, divided by such
    /// numbers of the whole batch.
    fn counts(&self, _batch: &Self::Batch) -> Vec<f64> {
        Vec::new()
    }
    /// What kind of batch it is: those of one kind reach the same parameters, but for broken rows.
    fn kind(&self, _batch: &Self::Batch) -> &'static str {
        ""
    }
    /// Floating-point operations of a batch's step in this process; 0 where they are not counted.
    fn flops(&self, batch: &Self::Batch) -> f64;
    /// What is trained.
    fn parameters(&self) -> Vec<ParameterSet>;
    /// Adds the gradients of this process's rows, times the loss scale, to the parameters': all
    /// processes' together are the gradients of the whole batch.
    fn backward(&mut self, batch: &Self::Batch, step: &Step) -> Result<StepMetrics, Self::Error>;
    /// Changes gradients or settings before the update, beyond the clipping that all have.
    fn before_update(&mut self, _update: &mut Update, _step: &Step) -> Result<(), Self::Error> {
        Ok(())
    }
    /// What follows an update.
    fn after_update(&mut self, _step: &Step) -> Result<(), Self::Error> {
        Ok(())
    }
    /// More numbers for the log.
    fn extra_metrics(&self) -> Vec<(&'static str, f64)> {
        Vec::new()
    }
    /// Whether blocks can be lent their weights.
    fn takes_lender(&self) -> bool {
        false
    }
    /// Lets blocks be lent their weights from now on; what is lent is not the learner's to save, but
    /// it saves the rest by the parameters' names, in `model.safetensors`.
    fn set_lender(&mut self, _lender: &Rc<dyn WeightLender>) {}
    /// Whether a batch can go through the model in parts, with the gradients of the whole.
    fn takes_parts(&self) -> bool {
        true
    }
    /// The seed of whatever a step draws, by the number of the step.
    fn step_seed(&self, seed: u64, name: &str, number: usize) -> i64 {
        stream(seed, &format!("{name}, step {number}")).next_u64() as i64
    }
    /// Writes the model, and whatever else training goes on from but the optimiser's state.
    fn save(&self, folder: &Path, state: &TrainingState) -> Result<(), Self::Error>;
    /// Takes it up again.
    fn load(&mut self, folder: &Path) -> Result<(), Self::Error>;
}
