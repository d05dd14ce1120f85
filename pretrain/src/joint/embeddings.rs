//! Embeddings of pairs, and those of all processes.

use std::ops::Range;

use flava_training::Step;
use tch::Tensor;

use crate::Result;

/// Something for each image and text, \[rows, projection\] each: embeddings, or gradients by
/// them.
pub(super) struct Embeddings {
    pub(super) image: Tensor,
    pub(super) text: Tensor,
}

impl Embeddings {
    /// Something made of both.
    fn map(&self, act: impl Fn(&Tensor) -> Result<Tensor>) -> Result<Self> {
        Ok(Self {
            image: act(&self.image)?,
            text: act(&self.text)?,
        })
    }

    /// Those of some rows.
    pub(super) fn rows(&self, rows: &Range<usize>) -> Result<Self> {
        let (start, count) = (rows.start as i64, rows.len() as i64);
        self.map(|tensor| Ok(tensor.f_narrow(0, start, count)?))
    }
}

/// The embeddings of all processes.
pub(super) struct Gathered {
    /// Those of one process after the other, each filled up to the most that one has; they take
    /// gradients.
    leaves: Embeddings,
    /// The rows of those that are none's filling.
    pub(super) all: Embeddings,
    /// Whether the images and texts of all rows belong together; where none do, all do.
    pub(super) matches: Vec<bool>,
    /// This process's rows among all.
    pub(super) own: Range<usize>,
}

impl Gathered {
    /// Of the embeddings of each process's rows, whose texts belong to their images or not.
    pub(super) fn of(own: &Embeddings, matches: &[bool], step: &Step) -> Result<Self> {
        let (rows, group) = (&step.whole.rows, &step.group);
        let most = rows.iter().copied().max().unwrap_or(0);
        let flags: Vec<u8> = matches.iter().map(|matches| u8::from(*matches)).collect();
        let flags = group.gather_bytes(&flags)?.concat();
        let any = flags.contains(&1);
        let places = rows.iter().enumerate();
        let places: Vec<i64> = places
            .flat_map(|(rank, rows)| (0..*rows).map(move |row| (rank * most + row) as i64))
            .collect();
        let leaves = own.map(|own| {
            let (missing, world) = (most as i64 - own.size()[0], group.world() as i64);
            let filled = own.f_constant_pad_nd([0, 0, 0, missing])?;
            let size = [world * most as i64, own.size()[1]];
            let all = Tensor::f_empty(size, (own.kind(), own.device()))?;
            group.all_gather(&all, &filled)?.wait()?;
            Ok(all.f_set_requires_grad(true)?)
        })?;
        let is_filled = places.len() < rows.len() * most;
        let places = Tensor::f_from_slice(&places)?.f_to_device(own.image.device())?;
        let all = leaves.map(|leaf| {
            Ok(if is_filled {
                leaf.f_index_select(0, &places)?
            } else {
                leaf.shallow_clone()
            })
        })?;
        let before: usize = rows[..group.rank()].iter().sum();
        Ok(Self {
            leaves,
            all,
            matches: flags.iter().map(|flag| *flag == 1 || !any).collect(),
            own: before..before + rows[group.rank()],
        })
    }

    /// The gradients by this process's embeddings, of the loss of all processes.
    pub(super) fn gradients(&self, step: &Step) -> Result<Embeddings> {
        let (group, rows) = (&step.group, self.own.len() as i64);
        self.leaves.map(|leaf| {
            let gradient = leaf.grad();
            let gradient = if gradient.defined() {
                gradient
            } else {
                leaf.f_zeros_like()? // none of these rows is a query
            };
            let (all, columns) = gradient.size2()?;
            let size = [all / group.world() as i64, columns];
            let own = Tensor::f_empty(size, (gradient.kind(), gradient.device()))?;
            group.reduce_scatter(&own, &gradient)?.wait()?;
            Ok(own.f_narrow(0, 0, rows)?)
        })
    }
}
