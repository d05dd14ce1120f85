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

/// The rank of an id under a seed and a purpose: the first 16 hexadecimal digits of the SHA-256 of
/// `"SEED PURPOSE ID"`.
///
/// Whatever is drawn of rows is those of the smallest ranks, so a draw depends on which rows there
/// are and not on their order, and anybody can repeat it.
pub fn id_rank(seed: u64, purpose: &str, id: &str) -> u64 {
    let digest = Sha256::digest(format!("{seed} {purpose} {id}"));
    digest[..8]
        .iter()
        .fold(0, |rank, byte| (rank << 8) | u64::from(*byte))
}

/// [`id_rank`] said in words, for records.
pub const ID_RANK_RULE: &str = "smallest sha256(\"SEED PURPOSE ID\")";

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
