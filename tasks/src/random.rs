//! Random numbers that depend on a purpose alone, never on order or threads.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};

/// The generator for one purpose: the same for the same text everywhere.
pub(crate) fn stream(purpose: &str) -> ChaCha8Rng {
    ChaCha8Rng::from_seed(Sha256::digest(purpose).into())
}
