//! What all processes of a training must decide alike, in one place a step: whoever decided it
//! alone would leave the others waiting. One process decides for itself, at no cost.

use std::time::{Duration, Instant};

use flava_model::runtime::distributed::Group;

use crate::{BatchRows, Error, LearnerError, Result, WholeBatch};

/// Time after which what was done is saved, whatever the schedule says.
const SAVE_EVERY: Duration = Duration::from_mins(10);

/// What is decided before a step.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct StepHeader {
    /// A process was told to stop.
    pub(crate) interrupted: bool,
    /// The last state is so old that another is due.
    pub(crate) save: bool,
    pub(crate) batch: WholeBatch,
}

/// Where processes agree.
#[derive(Debug)]
pub(crate) struct Coordinator {
    group: Group,
    saved: Instant,
}

impl Coordinator {
    pub(crate) fn new(group: &Group) -> Self {
        Self {
            group: group.clone(),
            saved: Instant::now(),
        }
    }

    /// What all processes act on.
    pub(crate) fn before_step(&self, rows: &BatchRows, counts: &[f64]) -> Result<StepHeader> {
        let is_old = self.saved.elapsed() > SAVE_EVERY;
        before_step(&self.group, rows, counts, is_old)
    }

    /// Does in process 0 what there is to be done once, while the others wait: not in a collective,
    /// whose time-out what takes long would reach.
    pub(crate) fn lead<E: From<Error>>(
        &self,
        name: &str,
        act: impl FnOnce() -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let peers = self.group.peers();
        peers
            .led(&self.group.piece(name), act)
            .unwrap_or_else(|error| Err(Error::from(error).into()))
    }

    /// Lines that all processes tell process 0 of a piece of work that each has done its part of: not
    /// in a collective either.
    pub(crate) fn reported(&self, name: &str, own: &[String]) -> Result<Vec<String>> {
        let peers = self.group.peers();
        Ok(peers.reported(&self.group.piece(name), own)?)
    }

    /// A score as process 0 has it.
    pub(crate) fn of_leader(&self, score: Option<f64>) -> Result<Option<f64>> {
        let score = score.unwrap_or(f64::NAN);
        let score = self.group.exchange(&[score])?[0][0];
        Ok(Some(score).filter(|score| !score.is_nan()))
    }

    /// A state was saved.
    pub(crate) fn note_saved(&mut self) {
        self.saved = Instant::now();
    }
}

/// What all processes act on: any interruption, the first one's clock, the sums of their rows and
/// counts.
pub(crate) fn before_step(
    group: &Group,
    rows: &BatchRows,
    counts: &[f64],
    is_old: bool,
) -> Result<StepHeader> {
    const OWN: usize = 4;
    let interrupted = f64::from(flava_base::interrupted());
    let (whole, broken) = (rows.ids.len() as f64, rows.broken.count as f64);
    let mut own = vec![interrupted, f64::from(is_old), whole, broken];
    own.extend(counts);
    let all = group.exchange(&own)?;
    let sum = |place: usize| all.iter().map(|numbers| numbers[place]).sum::<f64>();
    Ok(StepHeader {
        interrupted: sum(0) > 0.0,
        save: all[0][1] > 0.0,
        batch: WholeBatch {
            rows: all.iter().map(|numbers| numbers[2] as usize).collect(),
            broken: sum(3) as usize,
            counts: (OWN..own.len()).map(sum).collect(),
        },
    })
}

/// What was computed in this process, where it was in all of them: memory that is short in one of
/// them is short in all. Other errors end them all.
pub(crate) fn agreed<T, E: LearnerError>(
    group: &Group,
    result: std::result::Result<T, E>,
) -> std::result::Result<T, E> {
    let short = match &result {
        Err(error) if !error.is_out_of_memory() => return result,
        Err(_) => 1.0,
        Ok(_) => 0.0,
    };
    if !group.has_others() {
        return result;
    }
    let in_all = group.sums(&[short]).map_err(Error::from)?;
    match result {
        Ok(_) if in_all[0] > 0.0 => Err(Error::MemoryElsewhere.into()),
        other => other,
    }
}
