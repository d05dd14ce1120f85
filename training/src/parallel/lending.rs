//! From weights that each process has whole to blocks that are lent theirs.

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use super::{
    Parallel, Reduction,
    blocks::{Block, Blocks, FlatParameter},
};
use crate::Result;

impl Parallel {
    /// From now on each process has a part of the weights of every block; who lends them.
    ///
    /// # Errors
    /// If memory is short.
    pub(crate) fn lend_blocks(&mut self, reduction: Reduction) -> Result<Rc<Blocks>> {
        let _guard = tch::no_grad_guard();
        let mut blocks: BTreeMap<String, Block> = BTreeMap::new();
        let mut names = BTreeSet::new();
        for unit in self.units().iter().filter(|unit| unit.is_block) {
            let shard = self.shard(unit);
            let own = self.part_of(unit, &|number| self.own(number))?;
            for slot in &unit.slots {
                names.insert(self.parameters[slot.parameter].0.clone());
                let Some(slice) = slot.within(&shard) else {
                    continue;
                };
                let (start, size) = (slice.of_part as i64, slice.of_parameter.len() as i64);
                if let Some(mut slice) = self.own(slot.parameter) {
                    slice.f_set_data(&own.f_narrow(0, start, size)?)?;
                }
            }
            let flat = FlatParameter::new(unit, &self.parameters, own)?;
            let block = blocks.entry(unit.name.clone()).or_default();
            block.flats.push(flat);
        }
        let blocks = Rc::new(Blocks::new(self.group.clone(), reduction, blocks, names));
        self.blocks = Some(Rc::clone(&blocks));
        Ok(blocks)
    }
}
