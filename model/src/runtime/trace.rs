//! Intermediate states by the name of the module that made them, for parity tests and for looking
//! inside.
//!
//! Nothing is kept unless [`record`] runs on this thread.

use std::cell::RefCell;

use tch::Tensor;

thread_local! {
    static SEEN: RefCell<Option<Vec<(String, Tensor)>>> = const { RefCell::new(None) };
}

/// A place in a model whose output can be recorded, named like its parameters.
#[derive(Debug, Clone)]
pub struct TracePoint(String);

impl TracePoint {
    /// The site of the module whose parameters lie under `name`.
    pub fn new(name: String) -> Self {
        Self(name)
    }

    /// Keeps `output` if a recording runs.
    pub fn record(&self, output: &Tensor) {
        SEEN.with_borrow_mut(|seen| {
            if let Some(seen) = seen {
                seen.push((self.0.clone(), output.detach()));
            }
        });
    }

    /// Keeps `output` under this site's name and `suffix` if a recording runs.
    pub fn see_part(&self, suffix: &str, output: &Tensor) {
        if is_recording() {
            Self(format!("{}.{suffix}", self.0)).record(output);
        }
    }
}

/// Whether a recording runs on this thread; fused paths, which skip some sites, are then left out.
pub fn is_recording() -> bool {
    SEEN.with_borrow(Option::is_some)
}

/// Runs `f` and returns, with its result, what every site put out, in order.
pub fn record<T>(f: impl FnOnce() -> T) -> (T, Vec<(String, Tensor)>) {
    SEEN.set(Some(Vec::new()));
    let result = f();
    (result, SEEN.take().unwrap_or_default())
}
