//! What all files of a tokenizer share.

/// Largest file.
pub(super) const MAX_BYTES: u64 = 64 << 20;

/// A reason against a file.
pub(super) type Outcome<T> = std::result::Result<T, String>;
