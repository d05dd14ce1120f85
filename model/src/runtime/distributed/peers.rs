//! Processes that share work out without computing together: each takes the next piece that nobody
//! has, and what a dead one had is taken over.

use std::{sync::Arc, thread, time::Duration};

use flava_base::interrupted;

use super::{
    KeyValueStore, MeetingPoint, Place,
    life::{Life, parted},
};
use crate::{Error, Result};

/// Time-out of what is asked of the store, and of its beginning to be there.
const ANSWER: Duration = Duration::from_mins(5);
/// How often is looked for what another does.
const LOOK: Duration = Duration::from_millis(100);

/// This process among those of its run.
#[derive(Clone, Debug)]
pub struct Peers {
    place: Place,
    meeting: Option<Arc<Meeting>>,
}

#[derive(Debug)]
struct Meeting {
    /// Of all that this run's processes tell each other.
    store: KeyValueStore,
    life: Arc<Life>,
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
        let met = Meeting {
            store: connect(meeting, serves)?,
            life: Arc::new(Life::begin(&place, || connect(meeting, false))?),
        };
        Ok(Self {
            meeting: Some(Arc::new(met)),
            place,
        })
    }

    /// The same processes at a piece of work whose pieces have names of their own.
    ///
    /// # Errors
    /// If the name holds a zero byte.
    pub fn within(&self, work: &str) -> Result<Self> {
        let Some(met) = &self.meeting else {
            return Ok(self.clone());
        };
        let meeting = Meeting {
            store: met.store.below(&format!("{work}/"))?,
            life: Arc::clone(&met.life),
        };
        Ok(Self {
            place: self.place.clone(),
            meeting: Some(Arc::new(meeting)),
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

    /// The name of this process's log in the folder of the run.
    pub fn log_name(&self) -> String {
        match self.place.rank {
            0 => "run.log".into(),
            rank => format!("run.rank-{rank}.log"),
        }
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
            if !met.life.is_dead(holder)? {
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

    /// What is told of a piece of work, once it is: what ends the process that will ends this one.
    /// Looks soon at first, then as often as anybody does.
    fn waited_for(&self, piece: &str) -> Result<String> {
        let mut pause = Duration::from_millis(1);
        loop {
            if let Some(told) = self.told(piece)? {
                return Ok(told);
            }
            thread::sleep(pause);
            pause = LOOK.min(2 * pause);
        }
    }

    /// Lines that each process tells process 0 once it has done its part of a piece of work, for which
    /// process 0 waits; all of them there, none elsewhere.
    ///
    /// # Errors
    /// If the store is gone.
    pub fn reported(&self, piece: &str, own: &[String]) -> Result<Vec<String>> {
        if self.meeting.is_none() {
            return Ok(own.to_vec());
        }
        let of = |rank: usize| format!("{piece}/{rank}");
        let text: String = own.iter().map(|line| format!("{line}\n")).collect();
        self.tell(&of(self.place().rank), &format!("{text}\n"))?;
        let mut all = Vec::new();
        for rank in (0..self.place().world).filter(|_| self.leads()) {
            let told = self.waited_for(&of(rank))?;
            all.extend(
                told.lines()
                    .filter(|line| !line.is_empty())
                    .map(str::to_owned),
            );
        }
        Ok(all)
    }

    /// Does in process 0 what there is to be done once, while the others wait until it is; what came
    /// of it there.
    ///
    /// # Errors
    /// If the store is gone.
    pub fn led<E>(
        &self,
        piece: &str,
        act: impl FnOnce() -> std::result::Result<(), E>,
    ) -> Result<std::result::Result<(), E>> {
        if self.leads() {
            let done = act();
            if done.is_ok() {
                self.tell(piece, "done")?;
            }
            return Ok(done);
        }
        self.waited_for(piece)?;
        Ok(Ok(()))
    }

    /// From now on the failure of one process ends all.
    ///
    /// # Errors
    /// If the store is gone.
    pub(super) fn stand_together(&self) {
        if let Some(met) = &self.meeting {
            met.life.stand_together();
        }
    }

    /// Tells all why this process ends, with which exit code, where they compute together.
    pub fn fail(&self, code: u8, message: &str) {
        if let Some(met) = &self.meeting {
            met.life.fail(code, message);
        }
    }

    /// What is behind the failure of a collective.
    pub(super) fn explained(&self, error: Error) -> Error {
        match &self.meeting {
            Some(met) => met.life.explained(error),
            None => error,
        }
    }

    /// The store of the run; none of a process alone.
    pub(super) fn store(&self) -> Option<&KeyValueStore> {
        self.meeting.as_ref().map(|met| &met.store)
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
        if rank != 0 {
            met.life.leave(); // from here on the store may go
            return met.store.set(&parted(rank), b"");
        }
        met.store.set(&parted(rank), b"")?;
        for other in 1..self.place.world {
            while !met.store.has(&parted(other))? && !met.life.is_dead(other)? {
                self.pause();
            }
        }
        Ok(())
    }
}

/// A connection to the store of the run.
fn connect(point: &MeetingPoint, serves: bool) -> Result<KeyValueStore> {
    let store = KeyValueStore::open(&point.host, point.port, serves, ANSWER);
    let store = store.map_err(|e| {
        let (host, port) = (&point.host, point.port);
        let hint = if serves {
            "\nhint: MASTER_PORT names another port, for all processes"
        } else {
            ""
        };
        Error::Process(format!("no store of the run at {host}:{port}: {e}{hint}"))
    });
    store?.named(&point.store_name()).below(&point.prefix)
}

/// A launcher's store, and as many processes, which are threads here.
#[cfg(test)]
pub(super) fn meet(world: usize) -> (KeyValueStore, Vec<Peers>) {
    use std::net::TcpListener;

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
            meeting: (world > 1).then(|| meeting.clone()),
        })
        .unwrap()
    });
    (store.below("test/").unwrap(), peers.collect())
}

#[cfg(test)]
mod tests {
    use super::{super::life::dead, *};

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
