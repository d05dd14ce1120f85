//! Several processes of one run, on libtorch's own c10d: who is who ([`Place`]), what they share
//! ([`KeyValueStore`]), how they share work out ([`Peers`]) or compute together ([`Group`]), and who
//! starts them ([`launch()`]).

mod backends;
mod group;
mod launch;
mod life;
mod messages;
mod peers;
mod place;
mod raw;
mod store;
#[cfg(test)]
mod together;
mod work;

pub use group::{Collective, Exchange, Group, share};
pub use launch::{Company, is_launched, launch};
pub use peers::Peers;
pub use place::{MeetingPoint, Place};
pub use store::KeyValueStore;
pub use work::Work;

use tch::TchError;

use super::onednn;
use crate::{Error, Result};

/// An error of the processes' store where the shim says so.
fn check(code: std::ffi::c_int) -> Result<()> {
    onednn::check(code).map_err(|error| match error {
        Error::Torch(TchError::Torch(text)) => Error::Process(text),
        other => other,
    })
}
