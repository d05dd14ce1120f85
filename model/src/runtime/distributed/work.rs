//! Collectives under way.
#![allow(unsafe_code, reason = "the shim takes c10d's works")]

use std::{any::Any, fmt, rc::Rc};

use tch::Tensor;

use super::{
    Peers, check,
    raw::{RawWork, flava_work_free, flava_work_wait},
};
use crate::Result;

/// A collective under way. What it reads and writes must not be touched before it was waited for.
#[derive(Debug)]
#[must_use = "a collective is done once it was waited for"]
pub struct Work {
    started: Option<Started>,
}

/// What the shim has begun.
pub(super) struct Started {
    pub(super) raw: *mut RawWork,
    /// Those who know why it fails.
    pub(super) peers: Peers,
    /// Where the collective writes, until the work is done.
    pub(super) into: Tensor,
    /// What it reads.
    pub(super) from: Tensor,
    /// Where the result goes, if that is elsewhere.
    pub(super) result: Option<Tensor>,
    /// Lives as long as its works.
    pub(super) group: Rc<dyn Any>,
}

impl fmt::Debug for Started {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "under way in {:?}: {:?}", self.group, self.from)
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // SAFETY: made by the shim, and nobody else's.
        unsafe { flava_work_free(self.raw) }
    }
}

impl Work {
    /// Of what was done at once.
    pub(super) fn done() -> Self {
        Self { started: None }
    }

    pub(super) fn started(started: Started) -> Self {
        Self {
            started: Some(started),
        }
    }

    /// Waits until it is done here.
    ///
    /// # Errors
    /// Which process failed, and of what.
    pub fn wait(self) -> Result<()> {
        let Some(started) = self.started else {
            return Ok(());
        };
        // SAFETY: the work is under way, and its tensors live.
        let waited = check(unsafe { flava_work_wait(started.raw) });
        waited.map_err(|error| started.peers.explained(error))?;
        if let Some(result) = &started.result {
            let _guard = tch::no_grad_guard();
            result.shallow_clone().f_copy_(&started.into)?;
        }
        Ok(())
    }
}
