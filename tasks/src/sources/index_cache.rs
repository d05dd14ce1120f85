//! Indexes of archives, kept in the user's cache folder so that opening a large set again takes no time.
//!
//! A cache that cannot be read or written is as good as none: nothing here is an error.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use serde::{Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};

/// Raised when what is stored changes its form.
const VERSION: u32 = 3;

/// `$FLAVA_CACHE`, or `flava` in the user's cache folder; None where there is neither.
pub fn cache_folder() -> Option<PathBuf> {
    let variable = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let user = || Some(variable("XDG_CACHE_HOME").or_else(|| Some(variable("HOME")?.join(".cache")))?.join("flava"));
    variable("FLAVA_CACHE").or_else(user)
}

fn file(of: &Path) -> Option<PathBuf> {
    let digest = Sha256::digest(of.canonicalize().ok()?.as_os_str().as_encoded_bytes());
    let name: String = digest[..16].iter().map(|b| format!("{b:02x}")).collect();
    Some(cache_folder()?.join("indexes").join(format!("{name}.v{VERSION}")))
}

/// What was stored for the folder `of`.
pub(super) fn load<T: DeserializeOwned>(of: &Path) -> Option<T> {
    postcard::from_bytes(&fs::read(file(of)?).ok()?).ok()
}

/// Stores something for the folder `of`.
pub(super) fn store<T: Serialize>(of: &Path, value: &T) {
    let write = || -> Option<()> {
        let (file, bytes) = (file(of)?, postcard::to_allocvec(value).ok()?);
        fs::create_dir_all(file.parent()?).ok()?;
        let part = file.with_extension(format!("{}.part", std::process::id()));
        fs::write(&part, bytes).and_then(|()| fs::rename(&part, &file)).inspect_err(|_| drop(fs::remove_file(&part))).ok()
    };
    write();
}
