//! Indexes of archives, kept in the user's cache folder so that opening a large set again takes no
//! time.
//!
//! A cache that cannot be read or written is as good as none: nothing here is an error. A digest
//! stands behind what is stored, so that damage is seen, and said.

use std::{
    fs,
    path::{Path, PathBuf},
};

use flava_base::{cache_folder, hex, read_sealed, seal, write_atomic};
use serde::{Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};

/// What is stored, and the version of its form.
const FORM: &str = "index of shards, version 4";

fn file(of: &Path, what: &str) -> Option<PathBuf> {
    let path = of.canonicalize().ok()?;
    let digest = Sha256::new()
        .chain_update(what)
        .chain_update([0])
        .chain_update(path.as_os_str().as_encoded_bytes())
        .finalize();
    Some(cache_folder()?.join("indexes").join(hex(&digest[..16])))
}

/// What was stored for the folder `of`, read as `what`.
pub(super) fn load<T: DeserializeOwned>(of: &Path, what: &str) -> Option<T> {
    read_sealed(FORM, &file(of, what)?)
}

/// Stores something for the folder `of`, read as `what`.
pub(super) fn store<T: Serialize>(of: &Path, what: &str, value: &T) {
    if let Some((file, bytes)) = file(of, what).zip(seal(FORM, value)) {
        let _kept = fs::create_dir_all(file.parent().unwrap_or(&file)).is_ok()
            && write_atomic(&file, &bytes).is_ok();
    }
}
