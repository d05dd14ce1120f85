//! Files on their way to a repository: where they go, what they hold, and their digests.

use std::{
    collections::HashSet,
    fs::File,
    io::{Cursor, Read, Seek, SeekFrom},
    path::PathBuf,
};

use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::error::WriteError;
use crate::hub::{
    RemoteFile,
    download::{is_intact, is_right},
};
use flava_base::hex;

/// Bytes of a file by which the Hub tells text from data.
const SAMPLE: usize = 512;
/// Bytes read at once.
const BUFFER: usize = 1 << 18;
/// Most files of a commit.
const MAX_FILES: usize = 25_000;
/// Longest path.
const MAX_PATH: usize = 1000;

/// What a file holds.
#[derive(Clone, Debug)]
pub enum Content {
    /// These bytes.
    Bytes(Vec<u8>),
    /// The bytes of a file on disk.
    File(PathBuf),
}

/// A file for a repository.
#[derive(Clone, Debug)]
pub struct Upload {
    /// Its path there: relative, with slashes.
    pub path: String,
    /// What it holds.
    pub content: Content,
}

impl Upload {
    /// A file of these bytes.
    pub fn bytes(path: &str, bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            path: path.to_owned(),
            content: Content::Bytes(bytes.into()),
        }
    }

    /// Its size in bytes.
    pub fn size(&self) -> Result<u64, WriteError> {
        match &self.content {
            Content::Bytes(bytes) => Ok(bytes.len() as u64),
            Content::File(path) => {
                let meta = std::fs::metadata(path).map_err(WriteError::io(path))?;
                if meta.is_file() {
                    Ok(meta.len())
                } else {
                    Err(self.unfit("is no file on disk"))
                }
            }
        }
    }

    /// Whether it is what the Hub lists.
    pub fn is(&self, there: &RemoteFile) -> Result<bool, WriteError> {
        match &self.content {
            Content::Bytes(bytes) => Ok(is_right(bytes, there)),
            Content::File(path) => is_intact(path, there).map_err(WriteError::io(path)),
        }
    }

    fn unfit(&self, reason: &str) -> WriteError {
        WriteError::Path {
            path: self.path.clone(),
            reason: reason.to_owned(),
        }
    }
}

impl Content {
    /// `length` bytes from `start` on.
    pub(super) fn part(&self, start: u64, length: u64) -> Result<Box<dyn Read + '_>, WriteError> {
        match self {
            Self::Bytes(bytes) => {
                let mut bytes = Cursor::new(bytes);
                bytes.set_position(start);
                Ok(Box::new(bytes.take(length)))
            }
            Self::File(path) => {
                let mut file = File::open(path).map_err(WriteError::io(path))?;
                file.seek(SeekFrom::Start(start))
                    .map_err(WriteError::io(path))?;
                Ok(Box::new(file.take(length)))
            }
        }
    }
}

/// A file whose bytes were read once.
pub(super) struct Weighed<'a> {
    pub(super) upload: &'a Upload,
    pub(super) size: u64,
    /// Its name in large-file storage.
    pub(super) sha256: String,
    /// Git's hash of a blob.
    pub(super) git: String,
    /// Its first bytes.
    pub(super) sample: Vec<u8>,
}

impl<'a> Weighed<'a> {
    pub(super) fn new(upload: &'a Upload) -> Result<Self, WriteError> {
        let size = upload.size()?;
        let mut reader = upload.content.part(0, u64::MAX)?;
        let mut git = Sha1::new_with_prefix(format!("blob {size}\0"));
        let (mut sha256, mut sample, mut read) = (Sha256::new(), Vec::new(), 0);
        let mut buffer = vec![0; BUFFER];
        loop {
            let count = reader.read(&mut buffer);
            let count = count.map_err(WriteError::io(upload.path.as_str()))?;
            if count == 0 {
                break;
            }
            let bytes = &buffer[..count];
            git.update(bytes);
            sha256.update(bytes);
            sample.extend(bytes.iter().take(SAMPLE - sample.len()));
            read += count as u64;
        }
        if read != size {
            return Err(upload.unfit("changed while it was read"));
        }
        Ok(Self {
            upload,
            size,
            sha256: hex(&sha256.finalize()),
            git: hex(&git.finalize()),
            sample,
        })
    }

    /// All its bytes, if they are still those that were weighed.
    pub(super) fn bytes(&self) -> Result<Vec<u8>, WriteError> {
        let mut bytes = Vec::new();
        let mut reader = self.upload.content.part(0, self.size + 1)?;
        reader
            .read_to_end(&mut bytes)
            .map_err(WriteError::io(self.upload.path.as_str()))?;
        if hex(&Sha256::digest(&bytes)) == self.sha256 {
            Ok(bytes)
        } else {
            Err(self.upload.unfit("changed while it was sent"))
        }
    }
}

/// Refuses paths that no repository takes, or that are there twice.
pub(super) fn check_paths<'a>(
    paths: impl IntoIterator<Item = &'a String>,
) -> Result<(), WriteError> {
    let mut seen = HashSet::new();
    for path in paths {
        let reason = if seen.insert(path) {
            objection(path)
        } else {
            Some("stands twice in one commit")
        };
        if let Some(reason) = reason {
            return Err(WriteError::Path {
                path: path.clone(),
                reason: reason.to_owned(),
            });
        }
    }
    if seen.len() > MAX_FILES {
        let count = seen.len();
        let reason = format!("{count} files in one commit: the Hub takes {MAX_FILES} at most");
        return Err(WriteError::Plan(reason));
    }
    Ok(())
}

/// What is wrong with a path in a repository.
fn objection(path: &str) -> Option<&'static str> {
    let mut parts = path.split('/');
    if path.is_empty() {
        Some("is no path")
    } else if path.len() > MAX_PATH {
        Some("is longer than a path of a repository may be")
    } else if path.chars().any(char::is_control) || path.contains('\\') {
        Some("has a backslash or a control character")
    } else if parts.clone().any(|part| ["", ".", ".."].contains(&part)) {
        Some("leads out of the repository, or has an empty part")
    } else if parts.any(|part| part.eq_ignore_ascii_case(".git")) {
        Some("is git's own folder")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_no_repository_takes_are_refused() {
        let check = |paths: &[&str]| {
            let paths: Vec<String> = paths.iter().map(|path| (*path).to_owned()).collect();
            check_paths(&paths)
        };
        assert!(check(&["a.csv", "results/a b.csv", ".gitattributes", "x.git/y"]).is_ok());
        for bad in [
            "",
            "/a",
            "a/",
            "a//b",
            "./a",
            "..",
            "a/../b",
            ".git/config",
            "a/.GIT/b",
            "a\\b",
            "a\nb",
            "a\u{7f}",
        ] {
            assert!(check(&[bad]).is_err(), "{bad:?}");
        }
        assert!(check(&["a", "a"]).is_err());
        let many: Vec<String> = (0..=MAX_FILES).map(|i| i.to_string()).collect();
        assert!(check_paths(&many[1..]).is_ok());
        assert!(check_paths(&many).is_err());
    }

    #[test]
    fn bytes_and_files_weigh_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let bytes: Vec<u8> = (0..700_001u32).map(|i| (i % 251) as u8).collect();
        std::fs::write(&path, &bytes).unwrap();
        let file = Upload {
            path: "a".into(),
            content: Content::File(path.clone()),
        };
        let memory = Upload::bytes("a", bytes.clone());
        let (a, b) = (Weighed::new(&file).unwrap(), Weighed::new(&memory).unwrap());
        assert_eq!((a.size, &a.sha256, &a.git), (b.size, &b.sha256, &b.git));
        assert_eq!(a.sample, bytes[..SAMPLE]);
        let mut part = Vec::new();
        let mut reader = file.content.part(700_000, 50).unwrap();
        reader.read_to_end(&mut part).unwrap();
        drop(reader);
        assert_eq!(part, bytes[700_000..]);
        // As git has it.
        let hello = Upload::bytes("b", "hello\n");
        let hello = Weighed::new(&hello).unwrap();
        assert_eq!(hello.git, "ce013625030ba8dba906f756967f9e9ca394464a");
        // A file that is another by the time it is sent.
        std::fs::write(&path, "short").unwrap();
        assert!(a.bytes().is_err() && b.bytes().unwrap() == bytes);
        let gone = Upload {
            path: "a".into(),
            content: Content::File(folder.path().to_owned()),
        };
        assert!(Weighed::new(&gone).is_err(), "a folder is no file");
    }
}
