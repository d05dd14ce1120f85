//! Processes of one run: those below a launcher, and threads that stand for some.

use std::{
    fs,
    net::TcpListener,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use flava_model::runtime::distributed::{Group, KeyValueStore, MeetingPoint, Peers, Place};

/// What each of so many processes makes that compute together.
pub fn together<T: Send>(world: usize, act: impl Fn(&Group) -> T + Sync) -> Vec<T> {
    if world == 1 {
        return vec![act(&Group::alone())];
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let _store = KeyValueStore::serve(listener, Duration::from_mins(1)).unwrap();
    let meeting = MeetingPoint {
        host: "127.0.0.1".into(),
        port,
        launcher_serves: true,
        prefix: "test/".into(),
    };
    let process = |rank: usize| {
        let peers = Peers::meet(Place {
            rank,
            world,
            local_rank: rank,
            local_world: world,
            meeting: Some(meeting.clone()),
        });
        let peers = peers.unwrap();
        let made = act(&Group::meet(&peers).unwrap());
        peers.part().unwrap();
        made
    };
    thread::scope(|scope| {
        let process = &process;
        let threads: Vec<_> = (0..world)
            .map(|rank| scope.spawn(move || process(rank)))
            .collect();
        let joined = threads.into_iter().map(|thread| thread.join().unwrap());
        joined.collect()
    })
}

/// The process of a number below a launcher, once it is there.
pub fn child_of(parent: u32, rank: usize) -> u32 {
    let since = Instant::now();
    while since.elapsed() < Duration::from_mins(1) {
        let children = format!("/proc/{parent}/task/{parent}/children");
        let children = fs::read_to_string(children).unwrap_or_default();
        for child in children.split_whitespace() {
            let variables = fs::read(format!("/proc/{child}/environ")).unwrap_or_default();
            let wanted = format!("RANK={rank}");
            if variables.split(|b| *b == 0).any(|v| v == wanted.as_bytes()) {
                return child.parse().unwrap();
            }
        }
        thread::sleep(Duration::from_millis(20));
    }
    panic!("process {rank} never began");
}

pub fn signal(process: u32, name: &str) {
    let line = format!("kill -{name} {process}");
    let sent = Command::new("/bin/sh").arg("-c").arg(line).status();
    assert!(sent.unwrap().success());
}
