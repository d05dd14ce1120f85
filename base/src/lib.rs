//! What every crate stands on: files that are read and written with care, digests of their
//! contents, and talk.
//!
//! No torch, and nothing of FLAVA.

mod digest_index;
mod error;
mod guard;
mod read;
mod sealed;
mod talk;
mod walk;
mod write;

pub use digest_index::{DigestIndex, Stamp, cache_folder, file_digest};
pub use error::{Error, Result};
pub use guard::guarded;
pub use read::{
    MAX_SETTINGS, impostor, is_there, json_of, open, read, read_json, read_text, text_of,
};
pub use sealed::{read_sealed, seal};
pub use talk::{escaped, print, say};
pub use walk::{IMAGE_ENDINGS, hidden, is_image, path_text, walk};
pub use write::{write_atomic, write_with};

/// Bytes as lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The rank of an id under a seed and a purpose: the first 16 hexadecimal digits of the SHA-256 of
/// `"SEED PURPOSE ID"`.
///
/// Whatever is drawn of rows is those of the smallest ranks, so a draw depends on which rows there
/// are and not on their order, and anybody can repeat it.
pub fn id_rank(seed: u64, purpose: &str, id: &str) -> u64 {
    use sha2::{Digest, Sha256};
    let digest = Sha256::digest(format!("{seed} {purpose} {id}"));
    digest[..8]
        .iter()
        .fold(0, |rank, byte| (rank << 8) | u64::from(*byte))
}

/// [`id_rank`] said in words, for records.
pub const ID_RANK_RULE: &str = "smallest sha256(\"SEED PURPOSE ID\")";
