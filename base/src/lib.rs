//! What every crate stands on: files and folders that are read and written with care, digests of
//! their contents, random streams, settings over settings, and talk.
//!
//! No torch, and nothing of FLAVA.

mod digest_index;
mod error;
mod event_file;
mod folder;
mod guard;
mod interrupt;
mod lock;
mod lr_decay;
mod nearest;
mod npy;
pub mod overrides;
pub mod pickle;
mod random;
mod read;
mod sealed;
mod start;
mod talk;
mod walk;
mod write;

pub use digest_index::{DigestIndex, Stamp, cache_folder, file_digest};
pub use error::{Error, Result};
pub use event_file::{ProtoMessage, first_event, scalar_event, value_event};
pub use folder::{
    MANIFEST, begin_folder, finish_folder, part_of_folder, replace_file, replace_folder,
    restore_folder, verify_folder,
};
pub use guard::guarded;
pub use interrupt::{interrupted, listen};
pub use lock::lock_folder;
pub use lr_decay::LrDecay;
pub use nearest::did_you_mean;
pub use npy::{NPY_HEAD, npy_start};
pub use random::{ID_RANK_RULE, id_rank, stream};
pub use read::{
    MAX_SETTINGS, impostor, is_there, json_of, open, read, read_json, read_text, text_of,
};
pub use sealed::{read_sealed, seal};
pub use start::{Start, Strings};
pub use talk::{ALSO, HINT, error_lines, escaped, human_duration, print, say, say_error};
pub use walk::{IMAGE_ENDINGS, hidden, is_image, path_text, walk};
pub use write::{remove_parts, write_atomic, write_with};

/// Bytes as lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
