//! The files of a tar archive, which is whole and plain.

use std::{fs::File, os::unix::fs::FileExt, path::Path};

use flava_base::hidden;
use serde::{Deserialize, Serialize};
use tar::{Archive, Entry, EntryType};

use super::super::reading::leads_out;
use crate::{Error, Result};

/// How compressed files begin.
const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTANDARD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Members of a tar file start at multiples of this.
const BLOCK: u64 = 512;
/// Most empty bytes after an archive's end: tar fills up to 10 kB, some tools to a mebibyte.
const MAX_TAIL: u64 = 2 << 20;

/// Members that belong to no sample.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Strays {
    pub(super) count: usize,
    pub(super) first: String,
}

impl Strays {
    pub(super) fn add(&mut self, name: &str) {
        if self.count == 0 {
            name.clone_into(&mut self.first);
        }
        self.count += 1;
    }

    pub(super) fn join(&mut self, other: &Self) {
        if self.count == 0 {
            self.first.clone_from(&other.first);
        }
        self.count += other.count;
    }
}

/// A file of the archive.
pub(super) struct Member {
    pub(super) name: String,
    /// Where its key ends.
    key: usize,
    pub(super) offset: u64,
    pub(super) size: u64,
}

impl Member {
    pub(super) fn key(&self) -> &str {
        &self.name[..self.key]
    }

    /// What follows the last dot, in lower case.
    pub(super) fn ending(&self) -> String {
        self.name
            .rsplit_once('.')
            .map_or(String::new(), |(_, ending)| ending.to_ascii_lowercase())
    }
}

/// All files of an archive; names that begin with a dot or have none are no samples'.
pub(super) struct Members {
    pub(super) files: Vec<Member>,
    pub(super) strays: Strays,
    /// What was read last.
    last: String,
    /// Where that ends.
    end: u64,
}

impl Members {
    /// The files of an archive of so many bytes.
    pub(super) fn read(path: &Path, file: &File, length: u64) -> Result<Self> {
        let mut first = [0; 4];
        if file.read_at(&mut first, 0).is_ok() && (first.starts_with(&GZIP) || first == ZSTANDARD) {
            return Err(Error::data(
                path,
                "is compressed; shards are plain tar archives",
            ));
        }
        let mut members = Self {
            files: Vec::new(),
            strays: Strays::default(),
            last: String::from("its start"),
            end: 0,
        };
        let mut archive = Archive::new(file);
        let entries = archive.entries_with_seek();
        for entry in entries.map_err(|e| members.broken(path, &e))? {
            let entry = entry.map_err(|e| members.broken(path, &e))?;
            let added = members.add(&entry, length);
            added.map_err(|reason| Error::data(path, reason))?;
        }
        check_end(path, file, members.end, length).map_err(|e| members.broken(path, &e))?;
        Ok(members)
    }

    fn broken(&self, path: &Path, e: &dyn ToString) -> Error {
        let (last, e) = (&self.last, e.to_string());
        Error::data(path, format!("is cut off or broken after {last}: {e}"))
    }

    fn add(&mut self, entry: &Entry<&File>, length: u64) -> std::result::Result<(), String> {
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let (offset, size) = (entry.raw_file_position(), entry.size());
        if offset.checked_add(size).is_none_or(|end| end > length) {
            return Err(format!("is cut off inside {name}"));
        }
        self.end = offset + size.next_multiple_of(BLOCK);
        match entry.header().entry_type() {
            // `git archive` writes the commit's name into a header for the whole archive.
            EntryType::Directory | EntryType::XGlobalHeader => return Ok(()),
            kind if !kind.is_file() || leads_out(&name) => {
                return Err(format!(
                    "the member {name:?} is a link or leads out of the archive"
                ));
            }
            _ => {}
        }
        self.last.clone_from(&name);
        match key_end(&name) {
            Some(key) => self.files.push(Member {
                name,
                key,
                offset,
                size,
            }),
            None => self.strays.add(&name),
        }
        Ok(())
    }
}

/// Where the key of a sample ends in a member's name; None where it is none.
fn key_end(name: &str) -> Option<usize> {
    let start = name.rfind('/').map_or(0, |slash| slash + 1);
    let dot = name[start..].find('.').filter(|dot| *dot > 0)?;
    (!hidden(&name[start..])).then_some(start + dot)
}

/// An archive ends with empty blocks, and nothing stands behind them: what does would be lost.
fn check_end(path: &Path, file: &File, end: u64, length: u64) -> std::result::Result<(), String> {
    if length < end + BLOCK {
        return Err("its end is missing".into());
    }
    if length - end > MAX_TAIL {
        return Err(format!("{} bytes follow its end", length - end));
    }
    let mut tail = vec![0; (length - end) as usize];
    file.read_exact_at(&mut tail, end)
        .map_err(|e| Error::io(path, e).to_string())?;
    match tail.iter().position(|byte| *byte != 0) {
        Some(at) => Err(format!("more follows its end, at byte {}", end + at as u64)),
        None => Ok(()),
    }
}
