//! Processes of a test, which are threads.

use std::thread;

use super::{Group, Peers, peers::meet};

/// Runs something in as many processes, which are threads here.
pub(super) fn together<T: Send>(world: usize, act: impl Fn(&Group) -> T + Sync) -> Vec<T> {
    let (_store, peers) = meet(world);
    thread::scope(|scope| {
        let act = &act;
        let start = |peers: Peers| {
            scope.spawn(move || {
                let made = act(&Group::meet(&peers).unwrap());
                peers.part().unwrap();
                made
            })
        };
        let threads: Vec<_> = peers.into_iter().map(start).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    })
}
