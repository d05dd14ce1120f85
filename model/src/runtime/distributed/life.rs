//! Who of the processes lives: a word from each every half second, and, where they compute
//! together, the end of all where one fails.
#![allow(unsafe_code, reason = "a thread ends the process while others compute")]

use std::{
    collections::HashMap,
    io::Write,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use flava_base::say_error;

use super::{KeyValueStore, MeetingPoint, Place};
use crate::{Error, Result};

/// How often a process says that it lives.
const BEAT: Duration = Duration::from_millis(500);
/// After so long without a word it counts as dead.
const SILENCE: Duration = Duration::from_secs(20);
/// How long a process whose collective failed waits for the one that failed to say why.
const REASON: Duration = Duration::from_millis(1500);
/// How long one that failed and keeps the store waits for the others to hear it.
const HEARING: Duration = Duration::from_secs(1);
/// Key under which the first to fail says why.
const FAILED: &str = "failed";
/// Exit code of what was interrupted.
const INTERRUPTED: &str = "130";
/// Exit code of a process that ends because another failed.
const NOTHING: u8 = 2;

/// What is known of each process's life.
#[derive(Debug)]
pub(super) struct Life {
    store: KeyValueStore,
    place: Place,
    last: LastWords,
    /// Whether the failure of one ends all.
    together: Arc<AtomicBool>,
    heart: Heart,
}

/// The last beat of each process that was looked at, and since when it is the last.
#[derive(Debug, Default)]
struct LastWords(Mutex<HashMap<usize, (i64, Instant)>>);

impl LastWords {
    /// Whether a process ended, or was silent for too long.
    fn is_dead(&self, store: &KeyValueStore, rank: usize) -> Result<bool> {
        if store.has(&dead(rank))? {
            return Ok(true);
        }
        let beat = store.add(&beats(rank), 0)?;
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
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

/// Key under which a process says that it is done.
pub(super) fn parted(rank: usize) -> String {
    format!("parted/{rank}")
}

fn stuck(rank: usize) -> String {
    format!("stuck/{rank}")
}

/// Key under which a process says that it knows who failed.
fn heard(rank: usize) -> String {
    format!("heard/{rank}")
}

/// Says for all that a process failed, unless another said so before; `code` is what they end with.
pub(super) fn note_failure(store: &KeyValueStore, code: u8, message: &str) -> Result<()> {
    let text = format!("{code}\n{message}");
    store.set_once(FAILED, text.as_bytes()).map(drop)
}

/// The name of this machine.
pub(super) fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname");
    let name = name.map(|name| name.trim().to_owned());
    name.unwrap_or_else(|_| "this machine".into())
}

impl Life {
    /// Begins to say that this process lives; `connect` opens a connection of its own.
    pub(super) fn begin(
        place: &Place,
        connect: impl Fn() -> Result<KeyValueStore>,
    ) -> Result<Self> {
        let store = connect()?;
        store.set(&host_of(place.rank), host_name().as_bytes())?;
        let together = Arc::new(AtomicBool::new(false));
        let heart = Heart::start(connect()?, place.clone(), Arc::clone(&together));
        Ok(Self {
            store,
            place: place.clone(),
            last: LastWords::default(),
            together,
            heart,
        })
    }

    pub(super) fn is_dead(&self, rank: usize) -> Result<bool> {
        self.last.is_dead(&self.store, rank)
    }

    /// From now on the failure of one process ends all.
    pub(super) fn stand_together(&self) {
        self.together.store(true, Ordering::Relaxed);
    }

    /// Tells all why this process ends, where that ends all.
    pub(super) fn fail(&self, code: u8, message: &str) {
        if self.together.load(Ordering::Relaxed) {
            let text = format!("{}: {message}", named(self.place.rank, &host_name()));
            let _gone = note_failure(&self.store, code, &text);
            let keeps_the_store = self.place.rank == 0 && !self.place.launcher_serves();
            if keeps_the_store && code.to_string() != INTERRUPTED {
                self.wait_until_heard();
            }
        }
    }

    /// Keeps the store for the others to read why it goes.
    fn wait_until_heard(&self) {
        let since = Instant::now();
        let knows = |rank: usize| self.store.has(&heard(rank)).unwrap_or(true);
        while since.elapsed() < HEARING && !(1..self.place.world).all(knows) {
            thread::sleep(BEAT / 5);
        }
    }

    /// Says no more that this process lives: it is done.
    pub(super) fn leave(&self) {
        self.heart.stopped.store(true, Ordering::Relaxed);
    }

    /// What is behind the failure of a collective: the process that failed says so, and then this
    /// one is ended; else those that did not come are named.
    pub(super) fn explained(&self, error: Error) -> Error {
        let wait = |until: Instant| {
            while Instant::now() < until {
                thread::sleep(BEAT / 5); // the heart ends this process where there is a reason
            }
        };
        if !self.together.load(Ordering::Relaxed) {
            return error;
        }
        wait(Instant::now() + REASON);
        if let Err(gone) = self.store.set(&stuck(self.place.rank), b"") {
            return gone;
        }
        wait(Instant::now() + REASON);
        let missing = |rank: &usize| !self.store.has(&stuck(*rank)).unwrap_or(true);
        let missing: Vec<String> = (0..self.place.world)
            .filter(missing)
            .map(|rank| named(rank, &self.host(rank)))
            .collect();
        if missing.is_empty() {
            return error;
        }
        Error::Process(format!(
            "{} ended or hangs, and training cannot go on without ({error})",
            missing.join(", ")
        ))
    }

    fn host(&self, rank: usize) -> String {
        let bytes = self.store.get(&host_of(rank)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

fn host_of(rank: usize) -> String {
    format!("host/{rank}")
}

fn named(rank: usize, host: &str) -> String {
    format!("process {rank} on {host}")
}

/// The thread that says that this process lives, and looks after the others; and one that looks
/// whether the store still answers it.
#[derive(Debug)]
struct Heart {
    stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// What the heart's threads share.
struct Pulse {
    place: Place,
    together: Arc<AtomicBool>,
    stopped: Arc<AtomicBool>,
    /// Beats that the store has answered.
    answered: AtomicU64,
}

impl Heart {
    fn start(store: KeyValueStore, place: Place, together: Arc<AtomicBool>) -> Self {
        let stopped = Arc::new(AtomicBool::new(false));
        let pulse = Arc::new(Pulse {
            place,
            together,
            stopped: Arc::clone(&stopped),
            answered: AtomicU64::new(0),
        });
        let is_kept_by_another = pulse.place.rank > 0 && !pulse.place.launcher_serves();
        if is_kept_by_another {
            let pulse = Arc::clone(&pulse);
            thread::spawn(move || pulse.watch());
        }
        let thread = thread::spawn(move || pulse.beat(&store));
        Self {
            stopped,
            thread: Some(thread),
        }
    }
}

impl Pulse {
    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// Says that this process lives, until it is done or the store is gone.
    fn beat(&self, store: &KeyValueStore) {
        let last = LastWords::default();
        while !self.is_stopped() {
            let mut answer = store.add(&beats(self.place.rank), 1).map(drop);
            let is_together = self.together.load(Ordering::Relaxed);
            if is_together && answer.is_ok() {
                answer = look_after(store, &self.place, &last, &self.stopped);
            }
            match answer {
                Ok(()) => self.answered.fetch_add(1, Ordering::Relaxed),
                Err(_) if self.is_stopped() => return,
                Err(gone) if is_together => end(NOTHING, &gone.to_string()),
                Err(_) => return, // whoever asks it next hears of it
            };
            thread::sleep(BEAT);
        }
    }

    /// Ends this process once the store was silent for too long: an exchange with it has no end
    /// where whoever keeps it was stopped. What counts is this thread's own time, since this process
    /// may have been stopped too.
    fn watch(&self) {
        let (mut answered, mut silent) = (0, Duration::ZERO);
        while !self.is_stopped() {
            thread::sleep(BEAT);
            silent += BEAT;
            let now = self.answered.load(Ordering::Relaxed);
            if now != answered {
                (answered, silent) = (now, Duration::ZERO);
            }
            if silent > SILENCE && !self.is_stopped() {
                let meeting = self.place.meeting.as_ref();
                let keeper = meeting.map(MeetingPoint::store_name).unwrap_or_default();
                end(NOTHING, &format!("{keeper}: no word from it"));
            }
        }
    }
}

/// Ends this process for another's failure.
fn end(code: u8, message: &str) -> ! {
    say_error(message);
    let _flushed = std::io::stderr().flush();
    // SAFETY: ends the process; the others' state is theirs, and files are whole or not there.
    unsafe { libc::_exit(code.into()) }
}

/// Ends this process if another failed. Each looks whether the next one lives, and tells all.
fn look_after(
    store: &KeyValueStore,
    place: &Place,
    last: &LastWords,
    stopped: &AtomicBool,
) -> Result<()> {
    let next = (place.rank + 1) % place.world;
    if !store.has(&parted(next))? && last.is_dead(store, next)? {
        let host = store.get(&host_of(next)).unwrap_or_default();
        let host = String::from_utf8_lossy(&host).into_owned();
        let silent = format!("{}: no word from it", named(next, &host));
        note_failure(store, NOTHING, &silent)?;
    }
    if !store.has(FAILED)? || stopped.load(Ordering::Relaxed) {
        return Ok(());
    }
    let failure = store.get(FAILED)?;
    store.set(&heard(place.rank), b"")?;
    let failure = String::from_utf8_lossy(&failure).into_owned();
    let (code, message) = failure.split_once('\n').unwrap_or_default();
    if code == INTERRUPTED {
        thread::sleep(REASON); // all were interrupted, and end by themselves if they can
        if stopped.load(Ordering::Relaxed) {
            return Ok(());
        }
    }
    if !message.starts_with(&format!("process {} ", place.rank)) {
        // The one that failed says so itself.
        end(code.parse().unwrap_or(NOTHING), message);
    }
    Ok(())
}

impl Drop for Heart {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ended = thread.join();
        }
    }
}
