//! What a pickle says of a tensor, held against the storage that it names.

use std::{ops::Range, sync::Arc};

use memmap2::Mmap;
use tch::Kind;

use crate::checkpoint::file::CheckpointTensor;

/// A reason against a file.
pub(super) type Outcome<T> = std::result::Result<T, String>;

/// A tensor as its pickle describes it.
#[derive(Clone, Debug)]
pub(super) struct View {
    pub(super) key: String,
    pub(super) kind: Kind,
    pub(super) elements: i64,
    pub(super) offset: i64,
    pub(super) size: Vec<i64>,
    pub(super) stride: Vec<i64>,
}

impl View {
    pub(super) fn open(
        &self,
        map: &Arc<Mmap>,
        storage: &dyn Fn(&str) -> Option<Range<usize>>,
    ) -> Outcome<CheckpointTensor> {
        let range =
            storage(&self.key).ok_or_else(|| format!("its storage {} is missing", self.key))?;
        let element = self.kind.elt_size_in_bytes();
        let held = (range.len() / element) as i64;
        if held < self.elements {
            let (key, elements) = (&self.key, self.elements);
            return Err(format!(
                "its storage {key} has {held} of {elements} elements"
            ));
        }
        let reach = self.reach().filter(|&reach| reach <= held);
        let reach = reach.ok_or_else(|| self.past_storage())?;
        let start = range.start + self.offset as usize * element;
        // Only what the view reaches: a large storage may be shared by many views.
        let range = start..range.start + reach.max(self.offset) as usize * element;
        Ok(CheckpointTensor {
            map: Arc::clone(map),
            kind: self.kind,
            size: self.size.clone(),
            stride: self.stride.clone(),
            range,
        })
    }

    fn past_storage(&self) -> String {
        format!(
            "shape {:?}, strides {:?}, offset {} reach past its storage",
            self.size, self.stride, self.offset
        )
    }

    /// One past the last element of the storage that the view touches; None for what no tensor has.
    fn reach(&self) -> Option<i64> {
        let mut numbers = self.size.iter().chain(&self.stride);
        if self.size.len() != self.stride.len() || self.offset < 0 || numbers.any(|&n| n < 0) {
            return None;
        }
        let dimensions = || self.size.iter().zip(&self.stride);
        // A zero stride would let a small file ask for any amount of memory.
        let expanded = dimensions().any(|(&size, &stride)| size > 1 && stride == 0);
        let mut sizes = self.size.iter();
        let count = sizes.try_fold(1i64, |n, &size| n.checked_mul(size))?;
        if count == 0 {
            return (self.offset <= self.elements).then_some(self.offset);
        }
        if expanded || count > self.elements {
            return None;
        }
        let steps = dimensions().try_fold(0i64, |n, (&size, &stride)| {
            n.checked_add((size - 1).checked_mul(stride)?)
        })?;
        self.offset.checked_add(steps)?.checked_add(1)
    }
}
