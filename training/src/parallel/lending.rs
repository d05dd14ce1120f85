//! From weights that each process has whole to blocks that are lent theirs, and back where they are
//! saved.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

use flava_model::layers::WeightLender;

use super::{
    Parallel,
    blocks::{Block, Blocks, Lent},
};
use crate::Result;

impl Parallel {
    /// From now on each process has a part of the weights of every block; who lends them.
    ///
    /// # Errors
    /// If memory is short.
    pub(crate) fn lend_blocks(&mut self) -> Result<Rc<dyn WeightLender>> {
        let _guard = tch::no_grad_guard();
        let mut blocks = BTreeMap::new();
        for unit in self.units().iter().filter(|unit| unit.is_block) {
            let shard = self.shard(unit);
            let own = self.part_of(unit, &|number| self.own(number))?;
            for slot in &unit.slots {
                let Some(slice) = slot.within(&shard) else {
                    continue;
                };
                let (start, size) = (slice.of_part as i64, slice.of_parameter.len() as i64);
                if let Some(mut slice) = self.own(slot.parameter) {
                    slice.f_set_data(&own.f_narrow(0, start, size)?)?;
                }
            }
            let lent = unit.slots.iter().map(|slot| {
                let tensor = self.parameters[slot.parameter].1.shallow_clone();
                Lent {
                    size: tensor.size(),
                    tensor,
                    slot: slot.clone(),
                }
            });
            let block = Block {
                parameters: lent.collect(),
                own,
                whole: RefCell::default(),
                gradient: RefCell::default(),
            };
            block.hold(None)?;
            blocks.insert(unit.name.clone(), block);
        }
        let group = self.group.clone();
        let blocks = Rc::new(Blocks::new(group, blocks));
        self.blocks = Some(Rc::clone(&blocks));
        Ok(blocks)
    }

    /// Does something with the weights of all blocks in process 0, as they are saved.
    pub(crate) fn with_whole_blocks<T, E: From<crate::Error>>(
        &self,
        act: impl FnOnce() -> std::result::Result<T, E>,
    ) -> std::result::Result<T, E> {
        self.bring_blocks().map_err(E::from)?;
        let made = act();
        self.release_blocks().map_err(E::from)?;
        made
    }

    fn bring_blocks(&self) -> Result<()> {
        let _guard = tch::no_grad_guard();
        Ok(self.blocks.as_ref().map_or(Ok(()), |it| it.bring())?)
    }

    fn release_blocks(&self) -> Result<()> {
        let mut blocks = self.blocks.iter().flat_map(|blocks| blocks.blocks.values());
        Ok(blocks.try_for_each(|block| block.hold(None))?)
    }
}
