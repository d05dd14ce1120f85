//! A pass that several processes of a run share: each makes the blocks that it takes first, and
//! reads those of the others from the store.

use flava_model::runtime::TaskProgress;

use super::{
    Extractor,
    pass::{Pass, Stored},
};
use crate::{Error, Result, check_interrupted};

/// Blocks that a process takes at once.
const TAKEN: usize = 4;

impl Extractor<'_> {
    /// The next blocks to make: all of them, or a few that no other process has.
    pub(super) fn take(&self, pass: &Pass, stored: &mut Stored) -> Result<Vec<usize>> {
        let Some(peers) = self.peers else {
            return Ok(stored.missing.drain(..).collect());
        };
        let mut taken = Vec::new();
        while taken.len() < TAKEN {
            let Some(block) = stored.missing.pop_front() else {
                break;
            };
            if peers.claim(&self.piece(pass, block))? {
                taken.push(block);
            } else {
                stored.elsewhere.push(block);
            }
        }
        Ok(taken)
    }

    /// What a block is called among the processes of a run.
    fn piece(&self, pass: &Pass, block: usize) -> String {
        let keys = pass.wanted.iter().map(|f| self.about(pass, *f).key());
        let keys: Vec<String> = keys.collect();
        format!("features/{}/{block}", keys.join("+"))
    }

    /// Tells the other processes that blocks of this one will never be there, and why.
    pub(super) fn tell_of(&self, pass: &Pass, blocks: &[usize], made: &Result<()>) -> Result<()> {
        let (Some(peers), Err(error)) = (self.peers, made) else {
            return Ok(());
        };
        if matches!(error, Error::Interrupted) {
            return Ok(()); // this process ends, and what it has is taken over
        }
        for block in blocks {
            peers.tell(&self.piece(pass, *block), &error.to_string())?;
        }
        Ok(())
    }

    /// Reads what others have made by now; what a dead one had is to be made here.
    pub(super) fn look_for(
        &self,
        pass: &Pass,
        stored: &mut Stored,
        bar: &TaskProgress,
    ) -> Result<()> {
        check_interrupted()?;
        let Some(peers) = self.peers else {
            return Ok(());
        };
        let looked_for = std::mem::take(&mut stored.elsewhere);
        let before = looked_for.len();
        for block in looked_for {
            let piece = self.piece(pass, block);
            if self.read_block(pass, block, stored) {
                let rows = pass.batches_of(&[block]).map(Vec::len).sum();
                bar.add_to_run(rows);
            } else if let Some(reason) = peers.told(&piece)? {
                return Err(Error::Elsewhere(reason));
            } else if peers.claim(&piece)? {
                stored.missing.push_back(block);
            } else {
                stored.elsewhere.push(block);
            }
        }
        if stored.elsewhere.len() == before {
            peers.pause();
        }
        Ok(())
    }

    /// Whether all shards of a block are there, of each wanted feature; they are kept.
    fn read_block(&self, pass: &Pass, block: usize, stored: &mut Stored) -> bool {
        for (feature, shards) in stored.shards.iter().enumerate() {
            for shard in pass.shards_of(block) {
                let Some(found) = self.read(shards, shard) else {
                    return false;
                };
                if let Some(numbers) = stored.numbers.get_mut(feature) {
                    numbers[shard] = Some(found);
                }
            }
        }
        true
    }
}
