//! Digests of whole files, made cheap as git's index does it: a file whose size, times and inode
//! are what they were when it was hashed has the contents it had then; any other is hashed again.

use std::{
    collections::{BTreeMap, HashMap},
    env, fs,
    io::Read,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{Error, Result, hex, read::open_whatever, read_sealed, seal, write_atomic};

const FORM: &str = "digests of a folder's files, version 1";
/// A file that was written to within this time before it was hashed may change again with the same
/// times (git calls it racy): the coarsest clocks of file systems tick every two seconds.
const RACY: i128 = 2_000_000_000;

/// `$FLAVA_CACHE`, or `flava` in the user's cache folder; None where there is neither.
pub fn cache_folder() -> Option<PathBuf> {
    let variable = |name: &str| {
        env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let user = || {
        Some(
            variable("XDG_CACHE_HOME")
                .or_else(|| Some(variable("HOME")?.join(".cache")))?
                .join("flava"),
        )
    };
    variable("FLAVA_CACHE").or_else(user)
}

/// What the file system says of a file, and when it said so; times in nanoseconds since 1970.
/// `changed` moves with every write, whatever sets `modified` back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    size: u64,
    inode: u64,
    modified: i128,
    changed: i128,
    at: i128,
}

impl Stamp {
    /// The stamp of a file that is about to be read.
    pub fn now(metadata: &fs::Metadata) -> Self {
        let nanoseconds =
            |seconds: i64, rest: i64| i128::from(seconds) * 1_000_000_000 + i128::from(rest);
        Self {
            size: metadata.len(),
            inode: metadata.ino(),
            modified: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
            changed: nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
            at: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default()
                .as_nanos() as i128,
        }
    }

    /// Whether what was read under this stamp is what would be read under a later one.
    pub fn holds(&self, later: &Self) -> bool {
        let same = Self {
            at: later.at,
            ..*self
        } == *later;
        same && self.modified.max(self.changed) + RACY < self.at
    }
}

/// A file that was hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Hashed {
    stamp: Stamp,
    sha256: [u8; 32],
}

/// Digests by the names of a folder's files.
type Folder = BTreeMap<Vec<u8>, Hashed>;

/// What is known of files that were hashed before.
#[derive(Clone, Debug)]
pub struct DigestIndex {
    /// None keeps nothing.
    folder: Option<PathBuf>,
}

impl DigestIndex {
    /// The index in the user's cache folder.
    pub fn of_user() -> Self {
        Self {
            folder: cache_folder().map(|folder| folder.join("digests")),
        }
    }

    /// No index: every file is hashed.
    pub fn none() -> Self {
        Self { folder: None }
    }

    /// An index in a folder of its own.
    pub fn in_folder(folder: PathBuf) -> Self {
        Self {
            folder: Some(folder),
        }
    }

    /// The SHA-256 of each file, or why it has none: it cannot be read, or lies under another
    /// digest's name (`blobs/` of the Hub's cache). An index that cannot be read or written is as
    /// good as none.
    pub fn digests(&self, paths: &[PathBuf]) -> Vec<Result<[u8; 32]>> {
        let mut by_folder: HashMap<&Path, Vec<usize>> = HashMap::new();
        for (position, path) in paths.iter().enumerate() {
            by_folder
                .entry(path.parent().unwrap_or(Path::new("")))
                .or_default()
                .push(position);
        }
        let mut digests: Vec<Result<[u8; 32]>> = paths.iter().map(|_| Ok([0; 32])).collect();
        for (folder, positions) in by_folder {
            let kept = self.kept(folder);
            let mut known: Folder = kept
                .as_ref()
                .and_then(|kept| read_sealed(FORM, kept))
                .unwrap_or_default();
            let name = |position: usize| {
                paths[position]
                    .file_name()
                    .unwrap_or_default()
                    .as_encoded_bytes()
                    .to_owned()
            };
            let hashed: Vec<Result<Hashed>> = positions
                .par_iter()
                .map(|&position| hashed(&paths[position], known.get(&name(position))))
                .collect();
            let mut fresh = false;
            for (position, hashed) in positions.into_iter().zip(hashed) {
                if let Ok(hashed) = &hashed {
                    fresh |= known.insert(name(position), *hashed) != Some(*hashed);
                }
                digests[position] = hashed.map(|hashed| hashed.sha256);
            }
            if let Some((kept, bytes)) = kept.filter(|_| fresh).zip(seal(FORM, &known)) {
                let folder = kept.parent().unwrap_or(Path::new(""));
                let _kept =
                    fs::create_dir_all(folder).is_ok() && write_atomic(&kept, &bytes).is_ok();
            }
        }
        digests
    }

    fn kept(&self, folder: &Path) -> Option<PathBuf> {
        let folder = if folder.as_os_str().is_empty() {
            Path::new(".")
        } else {
            folder
        };
        let digest = Sha256::digest(folder.canonicalize().ok()?.as_os_str().as_encoded_bytes());
        Some(self.folder.as_ref()?.join(hex(&digest[..16])))
    }
}

/// A file's digest, from `before` where that holds.
fn hashed(path: &Path, before: Option<&Hashed>) -> Result<Hashed> {
    if let (Some(before), Ok(metadata)) = (before, fs::metadata(path))
        && before.stamp.holds(&Stamp::now(&metadata))
    {
        return Ok(*before);
    }
    let (file, metadata) = open_whatever(path)?;
    let stamp = Stamp::now(&metadata);
    let (_, sha256) = sha256_of(file).map_err(|e| Error::io(path, e))?;
    match blob_digest(path) {
        Some(named) if named != hex(&sha256) => {
            let reason = "is damaged: its contents are not those of its name. Remove it, and it is fetched again";
            Err(Error::file(path, reason))
        }
        _ => Ok(Hashed { stamp, sha256 }),
    }
}

/// The bytes and the SHA-256 of a whole file.
///
/// # Errors
/// If it is no regular file, or cannot be read.
pub fn file_digest(path: &Path) -> Result<(u64, [u8; 32])> {
    sha256_of(open_whatever(path)?.0).map_err(|e| Error::io(path, e))
}

fn sha256_of(mut file: fs::File) -> std::io::Result<(u64, [u8; 32])> {
    let (mut digest, mut size, mut buffer) = (Sha256::new(), 0, vec![0; 1 << 18]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok((size, digest.finalize().into())),
            count => {
                digest.update(&buffer[..count]);
                size += count as u64;
            }
        }
    }
}

/// The digest that a file of the Hub's cache is called by.
fn blob_digest(path: &Path) -> Option<String> {
    let real = path.canonicalize().ok()?;
    let name = real.file_name()?.to_str()?;
    let digest = name.len() == 64
        && name
            .bytes()
            .all(|b| b.is_ascii_hexdigit() && !b.is_ascii_uppercase());
    (digest && real.parent()?.file_name()? == "blobs").then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use std::{fs::File, time::Duration};

    use super::*;

    fn age(path: &Path) {
        let before = SystemTime::now() - Duration::from_secs(100);
        File::options()
            .write(true)
            .open(path)
            .unwrap()
            .set_modified(before)
            .unwrap();
    }

    #[test]
    fn whatever_changes_in_a_file_is_seen() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a");
        let index = DigestIndex::in_folder(root.path().join("index"));
        let digest = || {
            *index.digests(std::slice::from_ref(&path))[0]
                .as_ref()
                .unwrap()
        };
        fs::write(&path, "one").unwrap();
        age(&path);
        let one = digest();
        assert_eq!(one, <[u8; 32]>::from(Sha256::digest("one")));
        assert_eq!(digest(), one);
        // The same size, the same inode, and the time of modification set back.
        fs::write(&path, "two").unwrap();
        age(&path);
        assert_eq!(digest(), <[u8; 32]>::from(Sha256::digest("two")));
        // A file of the same size and time in its place.
        fs::write(root.path().join("b"), "six").unwrap();
        age(&root.path().join("b"));
        fs::rename(root.path().join("b"), &path).unwrap();
        assert_eq!(digest(), <[u8; 32]>::from(Sha256::digest("six")));
    }

    #[test]
    fn a_damaged_index_is_none_and_a_damaged_blob_is_named() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a");
        let index = DigestIndex::in_folder(root.path().join("index"));
        fs::write(&path, "one").unwrap();
        let digest = || {
            *index.digests(std::slice::from_ref(&path))[0]
                .as_ref()
                .unwrap()
        };
        let one = digest();
        let kept = fs::read_dir(root.path().join("index"))
            .unwrap()
            .next()
            .unwrap()
            .unwrap()
            .path();
        let mut bytes = fs::read(&kept).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 4;
        fs::write(&kept, bytes).unwrap();
        assert_eq!(digest(), one);
        let blob = root
            .path()
            .join("blobs")
            .join(hex(&Sha256::digest("whole")));
        fs::create_dir_all(blob.parent().unwrap()).unwrap();
        fs::write(&blob, "who").unwrap();
        let link = root.path().join("train.parquet");
        std::os::unix::fs::symlink(&blob, &link).unwrap();
        assert!(
            index.digests(&[link])[0]
                .as_ref()
                .unwrap_err()
                .to_string()
                .contains("damaged")
        );
    }
}
