//! What processes exchange tensors over: Gloo, and NCCL between GPUs.
#![allow(unsafe_code, reason = "the shim makes c10d's objects")]

use std::{env, ffi::CString, net::UdpSocket, time::Duration};

use super::{
    MeetingPoint, Peers, check,
    place::COLLECTIVES,
    raw::{RawGroup, flava_group_gloo, flava_group_nccl},
};
use crate::{Error, Result};

/// How long a process waits for the others in a collective, unless `FLAVA_TIMEOUT` says otherwise.
const COLLECTIVE: Duration = Duration::from_mins(10);

/// This process as the shim is told of it.
struct Member {
    rank: i32,
    world: i32,
    /// Milliseconds.
    timeout: i64,
}

impl Peers {
    fn member(&self) -> Result<Member> {
        Ok(Member {
            rank: self.place().rank as i32,
            world: self.place().world as i32,
            timeout: timeout()?.as_millis() as i64,
        })
    }

    /// The group of all processes over Gloo; none of a process alone.
    pub(super) fn open_group(&self) -> Result<Option<*mut RawGroup>> {
        let (Some(store), Some(point)) = (self.store(), &self.place().meeting) else {
            return Ok(None);
        };
        let interface = env::var("GLOO_SOCKET_IFNAME");
        let interface = interface.ok().filter(|name| !name.is_empty());
        let address = match &interface {
            Some(name) => name.clone(),
            None => own_address(point)?,
        };
        let none = |_| Error::Process(format!("{address:?} is no address"));
        let name = CString::new(address.as_str()).map_err(none)?;
        let mut raw = std::ptr::null_mut();
        let Member {
            rank,
            world,
            timeout,
        } = self.member()?;
        // SAFETY: the store is open; the shim stores a new group and returns 0, or neither.
        let code = unsafe {
            let is_interface = interface.is_some().into();
            let (store, name) = (store.raw(), name.as_ptr());
            flava_group_gloo(
                store,
                rank,
                world,
                timeout,
                name,
                is_interface,
                &raw mut raw,
            )
        };
        check(code).map_err(|error| {
            Error::Process(format!(
                "process {rank} cannot meet the others from {address}: {error}\nhint: GLOO_SOCKET_IFNAME \
                 names the network interface to meet over"
            ))
        })?;
        Ok(Some(raw))
    }

    /// The group of all processes over NCCL, this one with a GPU; none of a process alone.
    pub(super) fn open_nccl(&self, gpu: usize) -> Result<Option<*mut RawGroup>> {
        let Some(store) = self.store() else {
            return Ok(None);
        };
        let mut raw = std::ptr::null_mut();
        let Member {
            rank,
            world,
            timeout,
        } = self.member()?;
        // SAFETY: the store is open; the shim stores a new group and returns 0, or neither.
        let code = unsafe {
            flava_group_nccl(store.raw(), rank, world, timeout, gpu as i32, &raw mut raw)
        };
        check(code).map_err(|error| {
            Error::Process(format!(
                "process {rank} cannot meet the others over NCCL with GPU {gpu}: {error}\nhint: without \
                 {COLLECTIVES}=nccl they talk over Gloo"
            ))
        })?;
        Ok(Some(raw))
    }
}

/// Whether tensors of GPUs are to go over NCCL.
pub(super) fn uses_nccl() -> Result<bool> {
    match env::var(COLLECTIVES).as_deref() {
        Ok("nccl") => Ok(true),
        Ok("gloo" | "") | Err(_) => Ok(false),
        Ok(other) => Err(Error::Process(format!(
            "{COLLECTIVES} is {other:?}, and neither gloo nor nccl"
        ))),
    }
}

/// This machine's address on the way to the store: its name may stand for another network.
fn own_address(point: &MeetingPoint) -> Result<String> {
    let address = UdpSocket::bind("0.0.0.0:0").and_then(|socket| {
        socket.connect((point.host.as_str(), point.port))?; // nothing is sent
        socket.local_addr()
    });
    let none = |e| Error::Process(format!("no way to {}: {e}", point.host));
    Ok(address.map_err(none)?.ip().to_string())
}

/// How long a process waits for the others in a collective.
fn timeout() -> Result<Duration> {
    let Ok(text) = env::var("FLAVA_TIMEOUT") else {
        return Ok(COLLECTIVE);
    };
    let seconds = text.parse().ok().filter(|seconds| *seconds > 0);
    let none = || {
        Error::Process(format!(
            "FLAVA_TIMEOUT is {text:?}, and no number of seconds"
        ))
    };
    Ok(Duration::from_secs(seconds.ok_or_else(none)?))
}
