//! Work done ahead on threads, handed out in order, a bounded number of pieces at a time.

use std::{
    any::Any,
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
};

/// How a [`Loader`] runs.
#[derive(Clone, Copy, Debug)]
pub struct LoaderOptions {
    /// Worker threads; at least one is used.
    pub threads: usize,
    /// Pieces that may be finished or under way at once; at least one.
    pub prefetch: usize,
}

impl Default for LoaderOptions {
    /// All cores, and one piece more than there are cores.
    fn default() -> Self {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        Self {
            threads,
            prefetch: threads + 1,
        }
    }
}

type Outcome<T> = Result<T, Box<dyn Any + Send>>;

struct State<T> {
    next: usize,
    taken: usize,
    ready: BTreeMap<usize, Outcome<T>>,
    stopped: bool,
}

struct Shared<T> {
    state: Mutex<State<T>>,
    room: Condvar,
    filled: Condvar,
    count: usize,
    prefetch: usize,
}

/// An iterator over `make(0), make(1), .., make(count - 1)`, computed ahead.
///
/// A panic in `make` is raised where its piece would have come. Dropping the loader stops its
/// threads.
pub struct Loader<T: Send + 'static> {
    shared: Arc<Shared<T>>,
    workers: Vec<JoinHandle<()>>,
}

impl<T: Send + 'static> Loader<T> {
    /// Starts the threads.
    pub fn new(
        count: usize,
        options: LoaderOptions,
        make: impl Fn(usize) -> T + Send + Sync + 'static,
    ) -> Self {
        let state = State {
            next: 0,
            taken: 0,
            ready: BTreeMap::new(),
            stopped: false,
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            room: Condvar::new(),
            filled: Condvar::new(),
            count,
            prefetch: options.prefetch.max(1),
        });
        let make = Arc::new(make);
        let worker = |_| {
            let (shared, make) = (Arc::clone(&shared), Arc::clone(&make));
            thread::spawn(move || shared.work(&*make))
        };
        let workers = (0..options.threads.max(1).min(count)).map(worker).collect();
        Self { shared, workers }
    }
}

impl<T: Send> Shared<T> {
    fn work(&self, make: &(impl Fn(usize) -> T + ?Sized)) {
        while let Some(index) = self.claim() {
            let outcome = catch_unwind(AssertUnwindSafe(|| make(index)));
            self.lock().ready.insert(index, outcome);
            self.filled.notify_one();
        }
    }

    /// No thread panics with the lock.
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a signal while the state is as `waiting` says.
    fn wait<'a>(
        signal: &Condvar,
        state: MutexGuard<'a, State<T>>,
        waiting: impl FnMut(&mut State<T>) -> bool,
    ) -> MutexGuard<'a, State<T>> {
        let state = signal.wait_while(state, waiting);
        state.unwrap_or_else(PoisonError::into_inner)
    }

    fn claim(&self) -> Option<usize> {
        let full = |s: &mut State<T>| {
            !s.stopped && s.next < self.count && s.next >= s.taken + self.prefetch
        };
        let mut state = Self::wait(&self.room, self.lock(), full);
        if state.stopped || state.next >= self.count {
            return None;
        }
        state.next += 1;
        Some(state.next - 1)
    }
}

impl<T: Send + 'static> Iterator for Loader<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        let state = self.shared.lock();
        if state.taken >= self.shared.count {
            return None;
        }
        let wanted = state.taken;
        let absent = |s: &mut State<T>| !s.ready.contains_key(&wanted);
        let mut state = Shared::wait(&self.shared.filled, state, absent);
        let outcome = state.ready.remove(&wanted)?;
        state.taken += 1;
        drop(state);
        self.shared.room.notify_all();
        Some(outcome.unwrap_or_else(|panic| resume_unwind(panic)))
    }
}

impl<T: Send + 'static> Drop for Loader<T> {
    fn drop(&mut self) {
        self.shared.lock().stopped = true;
        self.shared.room.notify_all();
        for worker in self.workers.drain(..) {
            let _ended = worker.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        time::Duration,
    };

    use super::*;

    fn options(threads: usize, prefetch: usize) -> LoaderOptions {
        LoaderOptions { threads, prefetch }
    }

    #[test]
    fn the_order_is_kept_for_any_number_of_threads() {
        for threads in [1, 2, 7] {
            let loader = Loader::new(100, options(threads, 5), |i| {
                thread::sleep(Duration::from_micros((i * 37 % 11) as u64 * 50));
                i * i
            });
            assert_eq!(
                loader.collect::<Vec<_>>(),
                (0..100).map(|i| i * i).collect::<Vec<_>>()
            );
        }
    }

    #[test]
    fn no_more_is_made_than_asked_for() {
        let made = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&made);
        let mut loader = Loader::new(1000, options(4, 6), move |i| {
            counter.fetch_add(1, Ordering::SeqCst);
            i
        });
        for taken in 1..=20 {
            loader.next();
            thread::sleep(Duration::from_millis(2));
            assert!(made.load(Ordering::SeqCst) <= taken + 6);
        }
        drop(loader);
        assert!(made.load(Ordering::SeqCst) <= 26);
    }

    #[test]
    fn a_panic_comes_out_at_its_place() {
        let mut loader = Loader::new(
            3,
            options(2, 2),
            |i| if i == 1 { panic!("broken") } else { i },
        );
        assert_eq!(loader.next(), Some(0));
        assert!(catch_unwind(AssertUnwindSafe(|| loader.next())).is_err());
    }

    #[test]
    fn nothing_to_do_is_done_at_once() {
        assert_eq!(Loader::new(0, LoaderOptions::default(), |i| i).count(), 0);
    }
}
