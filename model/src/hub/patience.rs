//! Trying again: how often, and after which pause.

use std::{
    thread,
    time::{Duration, Instant},
};

use rand::Rng;

/// Tries without any progress before a request or a file is given up.
pub(super) const TRIES: u32 = 5;
/// First pause between tries; it doubles.
const PAUSE: Duration = Duration::from_millis(500);
/// Longest pause, also where the Hub asks for a longer one.
const LONGEST_PAUSE: Duration = Duration::from_mins(2);
/// Time without progress after which a request that failed for want of an answer is not tried
/// again.
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(45);

/// What is asked of an error before its request is tried again.
pub(super) trait Passing {
    /// Whether trying again may help.
    fn passes(&self) -> bool;
    /// Whether no answer came at all.
    fn is_silence(&self) -> bool;
    /// How long the Hub asks to wait.
    fn wait(&self) -> Option<Duration>;
}

/// Calls `f` until it gives something else than an error that passes.
pub(super) fn with_patience<T, E: Passing>(mut f: impl FnMut() -> Result<T, E>) -> Result<T, E> {
    let began = Instant::now();
    let mut attempt = 1;
    loop {
        match f() {
            Err(error) if error.is_silence() && began.elapsed() > LONGEST_WAIT => {
                return Err(error);
            }
            Err(error) if error.passes() && attempt < TRIES => {
                thread::sleep(pause(&error, attempt));
            }
            other => return other,
        }
        attempt += 1;
    }
}

/// How long to wait after the nth try.
pub(super) fn pause(error: &impl Passing, attempt: u32) -> Duration {
    // Many clients that were refused together should not come back together.
    let jitter = rand::rng().random_range(0.75..1.25);
    let own = PAUSE * 2u32.pow(attempt - 1);
    error
        .wait()
        .map_or_else(
            || own.mul_f64(jitter),
            |asked| asked + PAUSE.mul_f64(jitter - 0.75),
        )
        .min(LONGEST_PAUSE)
}
