//! Random numbers that depend on a seed and a purpose, never on order or threads.

use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use sha2::{Digest, Sha256};

/// The generator for one purpose, such as "masks, epoch 3, example 17": the same for the same seed
/// and purpose everywhere.
pub fn stream(seed: u64, purpose: &str) -> ChaCha8Rng {
    let digest = Sha256::new()
        .chain_update(seed.to_le_bytes())
        .chain_update(purpose)
        .finalize();
    ChaCha8Rng::from_seed(digest.into())
}

#[cfg(test)]
mod tests {
    use rand_chacha::rand_core::RngCore;

    use super::stream;

    #[test]
    fn streams_repeat_and_differ() {
        let first = |seed, purpose| stream(seed, purpose).next_u64();
        assert_eq!(first(1, "masks"), first(1, "masks"));
        assert_ne!(first(1, "masks"), first(2, "masks"));
        assert_ne!(first(1, "masks"), first(1, "noise"));
    }
}
