//! A folder that is replaced whole: whoever reads it finds the old contents or the new, also after
//! a crash. Its manifest has the digest of each file, so that damage is seen before anything goes
//! on from it.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{DigestIndex, Error, Result, hex, path_text, read_json, walk, write_atomic};

/// The file of the digests.
pub const MANIFEST: &str = "manifest.json";
/// Largest manifest.
const MAX_BYTES: u64 = 16 << 20;

/// What a folder holds.
#[derive(Serialize, Deserialize)]
struct Manifest {
    /// SHA-256 by path.
    files: BTreeMap<String, String>,
    /// Of the list itself.
    sha256: String,
}

impl Manifest {
    fn of(folder: &Path) -> Result<Self> {
        let names: Vec<PathBuf> = walk(folder)?
            .into_iter()
            .filter(|name| name.as_os_str() != MANIFEST)
            .collect();
        let paths: Vec<PathBuf> = names.iter().map(|name| folder.join(name)).collect();
        let digests = DigestIndex::none()
            .digests(&paths)
            .into_iter()
            .collect::<Result<Vec<_>>>()?;
        let files: BTreeMap<String, String> = names
            .iter()
            .map(|name| path_text(name))
            .zip(digests.iter().map(|d| hex(d)))
            .collect();
        let sha256 = Self::digest(&files);
        Ok(Self { files, sha256 })
    }

    fn digest(files: &BTreeMap<String, String>) -> String {
        hex(&Sha256::digest(format!("{files:?}")))
    }
}

/// Checks every file of a folder that [`replace_folder`] wrote.
///
/// # Errors
/// Naming the file that is missing or is not what was written; or where the folder has no manifest,
/// saying so.
pub fn verify_folder(folder: &Path) -> Result<()> {
    let path = folder.join(MANIFEST);
    let told: Manifest = read_json(&path, MAX_BYTES)?;
    if Manifest::digest(&told.files) != told.sha256 {
        return Err(Error::file(&path, "is damaged"));
    }
    let found = Manifest::of(folder)?;
    for (name, digest) in &told.files {
        match found.files.get(name) {
            Some(other) if other == digest => {}
            Some(_) => {
                return Err(Error::file(
                    folder.join(name),
                    format!("is damaged, or was changed: {MANIFEST} has another digest"),
                ));
            }
            None => {
                return Err(Error::file(
                    folder.join(name),
                    format!("is missing: {MANIFEST} names it"),
                ));
            }
        }
    }
    Ok(())
}

fn sibling(folder: &Path, ending: &str) -> PathBuf {
    PathBuf::from(format!("{}.{ending}", folder.display()))
}

/// Lets `write` fill a new folder beside `folder`, then puts it in its place. If anything fails on
/// the way, the old one stays.
pub fn replace_folder<E: From<Error>>(
    folder: &Path,
    write: impl FnOnce(&Path) -> std::result::Result<(), E>,
) -> std::result::Result<(), E> {
    begin_folder(folder)?;
    finish_folder(folder, write)
}

/// A new, empty folder beside `folder`, for several to fill before one of them finishes it.
pub fn begin_folder(folder: &Path) -> Result<PathBuf> {
    let part = part_of_folder(folder);
    let io = |e: std::io::Error| Error::io(folder, e);
    if part.exists() {
        fs::remove_dir_all(&part).map_err(io)?;
    }
    fs::create_dir_all(&part).map_err(io)?;
    Ok(part)
}

/// Where [`begin_folder`] makes it.
pub fn part_of_folder(folder: &Path) -> PathBuf {
    sibling(folder, "part")
}

/// Lets `write` fill what is missing in the folder that was begun, then puts it in the place of
/// `folder`. If anything fails on the way, the old one stays.
pub fn finish_folder<E: From<Error>>(
    folder: &Path,
    write: impl FnOnce(&Path) -> std::result::Result<(), E>,
) -> std::result::Result<(), E> {
    let (part, old) = (part_of_folder(folder), sibling(folder, "old"));
    let io = |e: std::io::Error| E::from(Error::io(folder, e));
    let manifest = || -> Result<()> {
        let text = serde_json::to_string_pretty(&Manifest::of(&part)?)
            .map_err(|e| Error::file(&part, e))?;
        write_atomic(&part.join(MANIFEST), text.as_bytes())
    };
    let written = write(&part).and_then(|()| manifest().map_err(E::from));
    written.inspect_err(|_| drop(fs::remove_dir_all(&part)))?;
    restore_folder(folder);
    if folder.exists() {
        fs::rename(folder, &old).map_err(io)?;
    }
    fs::rename(&part, folder).map_err(io)?;
    if old.exists() {
        fs::remove_dir_all(&old).map_err(io)?;
    }
    Ok(())
}

/// Changes one file of a folder; the others are taken over as they are. Whoever reads finds all as
/// before or all as after.
pub fn replace_file(folder: &Path, name: &str, contents: &[u8]) -> Result<()> {
    replace_folder(folder, |part| {
        for file in walk(folder)?
            .into_iter()
            .filter(|file| file.as_os_str() != name && file.as_os_str() != MANIFEST)
        {
            let (from, to) = (folder.join(&file), part.join(&file));
            let above = to.parent().unwrap_or(part);
            fs::create_dir_all(above).map_err(|e| Error::io(above, e))?;
            // Not every file system has links.
            fs::hard_link(&from, &to)
                .or_else(|_| fs::copy(&from, &to).map(drop))
                .map_err(|e| Error::io(&from, e))?;
        }
        write_atomic(&part.join(name), contents)
    })
}

/// Gives a folder its name back if a program was killed between the two renames, and takes away
/// what another left after them.
pub fn restore_folder(folder: &Path) {
    let old = sibling(folder, "old");
    let _restored = if folder.exists() {
        fs::remove_dir_all(&old)
    } else {
        fs::rename(&old, folder)
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_the_old_folder() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("last");
        let put = |text: &'static str| {
            move |part: &Path| fs::write(part.join("a"), text).map_err(|e| Error::io(part, e))
        };
        replace_folder(&folder, put("one")).unwrap();
        let full = |part: &Path| {
            fs::write(part.join("a"), "two")
                .map_err(|e| Error::io(part, e))
                .and(Err(Error::file(part, "full")))
        };
        assert!(replace_folder(&folder, full).is_err());
        assert_eq!(fs::read_to_string(folder.join("a")).unwrap(), "one");
        fs::rename(&folder, sibling(&folder, "old")).unwrap(); // killed between the renames
        restore_folder(&folder);
        assert_eq!(fs::read_to_string(folder.join("a")).unwrap(), "one");
        replace_folder(&folder, put("three")).unwrap();
        assert_eq!(fs::read_to_string(folder.join("a")).unwrap(), "three");
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
        verify_folder(&folder).unwrap();
        fs::write(folder.join("a"), "thre\0").unwrap();
        assert!(
            verify_folder(&folder)
                .unwrap_err()
                .to_string()
                .contains("a: is damaged")
        );
        fs::remove_file(folder.join("a")).unwrap();
        assert!(
            verify_folder(&folder)
                .unwrap_err()
                .to_string()
                .contains("a: is missing")
        );
        fs::write(folder.join(MANIFEST), "{}").unwrap();
        assert!(verify_folder(&folder).is_err());
    }
}
