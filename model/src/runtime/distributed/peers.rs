//! Processes that share work out without computing together: each takes the next piece that nobody
//! has, and what a dead one had is taken over.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use flava_base::interrupted;

use super::{KeyValueStore, Place};
use crate::{Error, Result};

/// Time-out of what is asked of the store, and of its beginning to be there.
const ANSWER: Duration = Duration::from_mins(5);
/// How often a process says that it lives.
const BEAT: Duration = Duration::from_millis(500);
/// After so long without a word it counts as dead.
const SILENCE: Duration = Duration::from_secs(20);
/// How often is looked for what another does.
const LOOK: Duration = Duration::from_millis(100);

/// This process among those of its run.
#[derive(Debug)]
pub struct Peers {
    place: Place,
    meeting: Option<Meeting>,
}

#[derive(Debug)]
struct Meeting {
    store: KeyValueStore,
    /// The last beat of each process that was looked at, and since when it is the last.
    beats: Mutex<HashMap<usize, (i64, Instant)>>,
    _heart: Heart,
}

/// The thread that says that this process lives.
#[derive(Debug)]
struct Heart {
    stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Peers {
    /// A process alone: it has every piece of work.
    pub fn alone() -> Self {
        Self {
            place: Place::alone(),
            meeting: None,
        }
    }

    /// Meets the others where the launcher said.
    ///
    /// # Errors
    /// If nobody is there.
    pub fn meet(place: Place) -> Result<Self> {
        let Some(meeting) = &place.meeting else {
            return Ok(Self {
                place,
                meeting: None,
            });
        };
        let serves = !meeting.launcher_serves && place.rank == 0;
        let connect = |serves: bool| {
            let store = KeyValueStore::open(&meeting.host, meeting.port, serves, ANSWER);
            let store = store.map_err(|e| {
                let (host, port) = (&meeting.host, meeting.port);
                Error::Process(format!("no store of the run at {host}:{port}: {e}"))
            });
            store?.below(&meeting.prefix)
        };
        let met = Meeting {
            store: connect(serves)?,
            beats: Mutex::default(),
            _heart: Heart::start(connect(false)?, place.rank),
        };
        Ok(Self {
            meeting: Some(met),
            place,
        })
    }

    /// Which process this is.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Whether this process speaks for all: it alone writes what there is one of.
    pub fn leads(&self) -> bool {
        self.place.rank == 0
    }

    /// Whether there are others.
    pub fn has_others(&self) -> bool {
        self.meeting.is_some()
    }

    /// Whether a piece of work is this process's. Each is one process's, until that one dies: then
    /// it is the first's that asks again.
    ///
    /// # Errors
    /// If the store is gone.
    pub fn claim(&self, piece: &str) -> Result<bool> {
        let Some(met) = &self.meeting else {
            return Ok(true);
        };
        let mut turn = format!("turn/{piece}");
        let me = self.place.rank.to_string();
        loop {
            let holder = met.store.set_once(&turn, me.as_bytes())?;
            let holder = String::from_utf8_lossy(&holder);
            let none = |_| Error::Process(format!("{turn} is {holder:?}'s"));
            let holder: usize = holder.parse().map_err(none)?;
            if holder == self.place.rank {
                return Ok(true);
            }
            if !met.is_dead(holder)? {
                return Ok(false);
            }
            turn = format!("{turn}/after {holder}");
        }
    }

    /// Does what every process has to do, one before the others: what it fetches is there for them.
    ///
    /// # Errors
    /// If the store is gone.
    pub fn first<T>(&self, piece: &str, act: impl FnOnce() -> T) -> Result<T> {
        if !self.has_others() {
            return Ok(act());
        }
        while !self.claim(piece)? {
            if self.told(piece)?.is_some() || interrupted() {
                return Ok(act()); // what was interrupted ends there
            }
            self.pause();
        }
        let made = act();
        self.tell(piece, "done")?;
        Ok(made)
    }

    /// Tells the others something of a piece of work.
    ///
    /// # Errors
    /// If the store is gone.
    pub fn tell(&self, piece: &str, text: &str) -> Result<()> {
        let Some(met) = &self.meeting else {
            return Ok(());
        };
        met.store.set(&format!("told/{piece}"), text.as_bytes())
    }

    /// What was told of a piece of work, if anything.
    ///
    /// # Errors
    /// If the store is gone.
    pub fn told(&self, piece: &str) -> Result<Option<String>> {
        let Some(met) = &self.meeting else {
            return Ok(None);
        };
        let key = format!("told/{piece}");
        if !met.store.has(&key)? {
            return Ok(None);
        }
        let bytes = met.store.get(&key)?;
        Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// A pause before looking again what the others did.
    pub fn pause(&self) {
        thread::sleep(LOOK);
    }

    /// Takes leave: process 0 waits for the others first, since it may serve their store.
    ///
    /// # Errors
    /// If the store is gone.
    pub fn part(self) -> Result<()> {
        let Some(met) = &self.meeting else {
            return Ok(());
        };
        let rank = self.place.rank;
        met.store.set(&format!("parted/{rank}"), b"")?;
        if rank != 0 {
            return Ok(());
        }
        for other in 1..self.place.world {
            while !met.store.has(&format!("parted/{other}"))? && !met.is_dead(other)? {
                self.pause();
            }
        }
        Ok(())
    }
}

impl Meeting {
    /// Whether a process ended, or was silent for too long.
    fn is_dead(&self, rank: usize) -> Result<bool> {
        if self.store.has(&dead(rank))? {
            return Ok(true);
        }
        let beat = self.store.add(&beats(rank), 0)?;
        let mut known = self.beats.lock().unwrap_or_else(PoisonError::into_inner);
        let last = known.entry(rank).or_insert((beat, Instant::now()));
        if last.0 != beat {
            *last = (beat, Instant::now());
        }
        Ok(last.1.elapsed() > SILENCE)
    }
}

/// Key under which the launcher says that a process ended without being done.
pub(super) fn dead(rank: usize) -> String {
    format!("dead/{rank}")
}

fn beats(rank: usize) -> String {
    format!("beats/{rank}")
}

impl Heart {
    fn start(store: KeyValueStore, rank: usize) -> Self {
        let stopped = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&stopped);
        let thread = thread::spawn(move || {
            while !asked.load(Ordering::Relaxed) && store.add(&beats(rank), 1).is_ok() {
                thread::sleep(BEAT);
            }
        });
        Self {
            stopped,
            thread: Some(thread),
        }
    }
}

impl Drop for Heart {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ended = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::runtime::distributed::MeetingPoint;

    /// A launcher's store, and as many processes, which are threads here.
    fn meet(world: usize) -> (KeyValueStore, Vec<Peers>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let store = KeyValueStore::serve(listener, ANSWER).unwrap();
        let meeting = MeetingPoint {
            host: "127.0.0.1".into(),
            port,
            launcher_serves: true,
            prefix: "test/".into(),
        };
        let peers = (0..world).map(|rank| {
            Peers::meet(Place {
                rank,
                world,
                local_rank: rank,
                local_world: world,
                meeting: Some(meeting.clone()),
            })
            .unwrap()
        });
        (store.below("test/").unwrap(), peers.collect())
    }

    #[test]
    fn every_piece_is_one_process_s() {
        let (_store, peers) = meet(3);
        let claimed = |peers: &Peers| -> Vec<usize> {
            let mine = |piece: &usize| peers.claim(&format!("piece {piece}")).unwrap();
            (0..60).filter(mine).collect()
        };
        let mut all: Vec<usize> = thread::scope(|scope| {
            let threads: Vec<_> = peers.iter().map(|p| scope.spawn(|| claimed(p))).collect();
            let joined = threads
                .into_iter()
                .flat_map(|thread| thread.join().unwrap());
            joined.collect()
        });
        all.sort_unstable();
        assert_eq!(all, (0..60).collect::<Vec<_>>());
        for peers in &peers {
            let mine = claimed(peers);
            assert_eq!(mine, claimed(peers), "what is claimed stays so");
        }
        thread::scope(|scope| {
            for peers in peers {
                scope.spawn(move || peers.part().unwrap());
            }
        });
    }

    #[test]
    fn what_a_dead_process_had_is_taken_over_once() {
        let (store, peers) = meet(3);
        assert!(peers[1].claim("a").unwrap());
        assert!(!peers[0].claim("a").unwrap() && !peers[2].claim("a").unwrap());
        store.set(&dead(1), b"").unwrap();
        let took = [0, 2].map(|rank| peers[rank].claim("a").unwrap());
        assert_eq!(took, [true, false]);
        store.set(&dead(0), b"").unwrap();
        assert!(peers[2].claim("a").unwrap());
        peers[2].tell("a", "done").unwrap();
        assert_eq!(peers[0].told("a").unwrap().as_deref(), Some("done"));
        assert_eq!(peers[0].told("b").unwrap(), None);
    }

    #[test]
    fn a_process_alone_has_everything() {
        let alone = Peers::alone();
        assert!(alone.leads() && !alone.has_others() && alone.claim("a").unwrap());
        assert_eq!(alone.told("a").unwrap(), None);
        alone.part().unwrap();
    }
}
