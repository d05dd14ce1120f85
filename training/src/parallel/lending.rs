//! From weights that each process has whole to blocks that are lent theirs.

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use tch::{Kind, Tensor};

use super::{
    Parallel, Reduction,
    blocks::{Blocks, FlatParameter},
};
use crate::Result;

impl Parallel {
    /// From now on each process has a part of the weights of every block; who lends them.
    ///
    /// # Errors
    /// If memory is short.
    pub(crate) fn lend_blocks(&mut self, reduction: Reduction) -> Result<Rc<Blocks>> {
        let _guard = tch::no_grad_guard();
        let (mut blocks, mut names) = (BTreeMap::new(), BTreeSet::new());
        for unit in self.units().iter().filter(|unit| unit.is_block) {
            let shard = self.shard(unit);
            let device = self.parameters[unit.slots[0].parameter].1.device();
            let own = Tensor::f_empty([shard.len() as i64], (Kind::Float, device))?;
            self.fill_part(&own, unit, &|number| self.own(number))?;
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
            let block = FlatParameter::new(unit, &self.parameters, own)?;
            blocks.insert(unit.name.clone(), block);
        }
        let blocks = Rc::new(Blocks::new(self.group.clone(), reduction, blocks, names));
        self.blocks = Some(Rc::clone(&blocks));
        Ok(blocks)
    }
}
