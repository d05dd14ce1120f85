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
/// What is told of blocks that are there.
const MADE: &str = "made";

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

    /// Tells the other processes that blocks of this one are there, or why they never will be.
    pub(super) fn tell_of(&self, pass: &Pass, blocks: &[usize], made: &Result<()>) -> Result<()> {
        let Some(peers) = self.peers else {
            return Ok(());
        };
        let reason = match made {
            Ok(()) => MADE.to_owned(),
            Err(Error::Interrupted) => return Ok(()), // what this process has is taken over
            Err(error) => error.to_string(),
        };
        for block in blocks {
            peers.tell(&self.piece(pass, *block), &reason)?;
        }
        Ok(())
    }

    /// Reads what others have made by now; the blocks that are to be made here after all, because
    /// who had them is dead, or what was made is gone.
    pub(super) fn look_for(
        &self,
        pass: &Pass,
        stored: &mut Stored,
        bar: &TaskProgress,
    ) -> Result<Vec<usize>> {
        check_interrupted()?;
        let Some(peers) = self.peers else {
            return Ok(Vec::new());
        };
        let mut taken = Vec::new();
        let looked_for = std::mem::take(&mut stored.elsewhere);
        let before = looked_for.len();
        for block in looked_for {
            let piece = self.piece(pass, block);
            let told = peers.told(&piece)?; // before the block is looked for: it is written first
            if self.read_block(pass, block, stored) {
                bar.spare(pass.batches_of(&[block]).map(Vec::len).sum());
                continue;
            }
            match told {
                Some(reason) if reason != MADE => return Err(Error::Elsewhere(reason)),
                Some(_) => taken.push(block),
                None if peers.claim(&piece)? => taken.push(block),
                None => stored.elsewhere.push(block),
            }
        }
        if stored.elsewhere.len() == before {
            peers.pause();
        }
        Ok(taken)
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
