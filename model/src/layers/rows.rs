//! Which rows of a sequence of states are asked for.

use std::rc::Rc;

use tch::Tensor;

use crate::Result;

/// Which rows of an encoder's output are asked for.
///
/// The last block computes no others, which saves most of it.
#[derive(Clone, Debug, Default)]
pub enum Rows {
    /// The whole sequence.
    #[default]
    All,
    /// Row 0 alone.
    Cls,
    /// Those at these places of all sequences one after another, \[rows\] int64 below batch * seq;
    /// for training.
    At(Rc<Tensor>),
}

impl Rows {
    /// These rows of a sequence of states \[batch, seq, size\].
    pub fn of(&self, states: &Tensor) -> Result<Tensor> {
        let (_, _, size) = states.size3()?;
        Ok(match self {
            Self::All => states.shallow_clone(),
            Self::Cls => states.f_narrow(1, 0, 1)?,
            Self::At(positions) => states.f_reshape([-1, size])?.f_index_select(0, positions)?,
        })
    }
}
