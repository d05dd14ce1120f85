//! A folder, or a zip archive in the place of one: `pictures.zip`, `all.zip/pictures`. Nothing is
//! unpacked; files are read where they lie.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    ffi::OsString,
    fs::{self, File},
    io::{Read, Seek, SeekFrom, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use flate2::read::DeflateDecoder;
use flava_base::{hidden, path_text, walk};
use zip::{CompressionMethod, ZipArchive};

use super::{
    dataset::ImageOrigin,
    reading::{MAX_IMAGE, guarded, read_limited},
};
use crate::{Error, Result};

/// Most files of an archive.
const MAX_MEMBERS: usize = 50_000_000;
/// Largest table in an archive.
const MAX_TABLE: u64 = 64 << 30;

/// A folder on disk or in an archive.
#[derive(Clone)]
pub(super) enum Folder {
    /// On disk.
    Disk(PathBuf),
    /// In an archive: its path as it was named, the archive, and how the names in it begin.
    Zip(PathBuf, Arc<Zip>, String),
}

impl Folder {
    /// Opens a folder; one that is not there is on disk, and its files are missing then.
    ///
    /// # Errors
    /// If an archive is damaged.
    pub(super) fn open(path: &Path) -> Result<Self> {
        // The folder of a file that is named alone.
        let path = if path.as_os_str().is_empty() {
            Path::new(".")
        } else {
            path
        };
        let Some((archive, inside)) = split_at_archive(path) else {
            return Ok(Self::Disk(path.to_owned()));
        };
        let zip = guarded(&archive, || Zip::open(&archive))?;
        Ok(Self::Zip(path.to_owned(), Arc::new(zip), inside))
    }

    /// Whether it is there, and a folder.
    pub(super) fn is_there(&self) -> bool {
        match self {
            Self::Disk(path) => path.is_dir(),
            Self::Zip(_, zip, inside) => {
                let mut names = zip.names.iter();
                names.any(|name| name.starts_with(inside.as_str()))
            }
        }
    }

    /// A folder in it.
    pub(super) fn inside(&self, name: &str) -> Self {
        match self {
            Self::Disk(path) => Self::Disk(path.join(name)),
            Self::Zip(path, zip, inside) => {
                let inside = format!("{inside}{name}/");
                Self::Zip(path.join(name), Arc::clone(zip), inside)
            }
        }
    }

    /// All files in it and in its folders, by their paths from it, sorted; hidden ones left out.
    pub(super) fn files(&self) -> Result<Vec<PathBuf>> {
        match self {
            Self::Disk(path) => Ok(walk(path)?),
            Self::Zip(_, zip, inside) => {
                let names = zip.names.iter();
                let inside = names.filter_map(|name| name.strip_prefix(inside.as_str()));
                let seen = inside.filter(|name| !name.split('/').any(hidden));
                Ok(seen.map(PathBuf::from).collect())
            }
        }
    }

    /// The names of what lies in it, and whether each is a folder; hidden ones left out.
    pub(super) fn entries(&self) -> Result<Vec<(String, bool)>> {
        match self {
            Self::Disk(path) => entries_on_disk(path),
            Self::Zip(..) => {
                let mut found = BTreeSet::new();
                for file in self.files()? {
                    let text = path_text(&file);
                    let folder = text.split_once('/');
                    found.insert(
                        folder.map_or((text.clone(), false), |(name, _)| (name.to_owned(), true)),
                    );
                }
                Ok(found.into_iter().collect())
            }
        }
    }

    /// Of some paths from it, which are no files of it; each folder on disk is listed once.
    pub(super) fn missing<'p>(&self, paths: impl Iterator<Item = &'p Path>) -> Vec<bool> {
        let mut folders: HashMap<PathBuf, HashSet<OsString>> = HashMap::new();
        let is_missing = |path: &Path| match self {
            Self::Disk(root) => {
                let folder = path.parent().unwrap_or(Path::new(""));
                let names = folders
                    .entry(folder.to_owned())
                    .or_insert_with(|| names_in(&root.join(folder)));
                !path.file_name().is_some_and(|name| names.contains(name))
            }
            Self::Zip(_, zip, inside) => !zip.members.contains_key(&named(inside, path)),
        };
        paths.map(is_missing).collect()
    }

    /// An image's bytes.
    pub(super) fn read(&self, path: &Path) -> Result<Vec<u8>> {
        match self {
            Self::Disk(root) => read_limited(&root.join(path), MAX_IMAGE),
            Self::Zip(_, zip, inside) => zip.read(&named(inside, path), MAX_IMAGE),
        }
    }

    /// Where an image's bytes are.
    pub(super) fn origin(&self, path: &Path) -> ImageOrigin {
        match self {
            Self::Disk(root) => ImageOrigin::File(root.join(path)),
            Self::Zip(_, zip, inside) => {
                let member = zip.members.get(&named(inside, path));
                ImageOrigin::Part {
                    files: Arc::clone(&zip.path),
                    at: member.map_or(u64::MAX, |member| member.start),
                }
            }
        }
    }

    /// As it was named.
    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Disk(path) | Self::Zip(path, ..) => path,
        }
    }
}

/// Whether a path leads to a file or folder in an archive.
pub(super) fn holds(path: &Path) -> bool {
    let Some((archive, inside)) = split_at_archive(path) else {
        return false;
    };
    let file = inside.trim_end_matches('/');
    Zip::open(&archive).is_ok_and(|zip| {
        let mut names = zip.names.iter();
        names.any(|name| name == file || name.starts_with(&inside))
    })
}

/// A file on disk, or what one in an archive holds, in an unnamed file.
///
/// # Errors
/// If it is not there or is damaged.
pub(super) fn open_file(path: &Path) -> Result<File> {
    let Some((archive, inside)) = split_at_archive(path) else {
        return Ok(flava_base::open(path)?.0);
    };
    let zip = guarded(&archive, || Zip::open(&archive))?;
    let io = |e| Error::io(path, e);
    let mut file = tempfile::tempfile().map_err(io)?;
    zip.copy(inside.trim_end_matches('/'), MAX_TABLE, &mut file)?;
    file.seek(SeekFrom::Start(0)).map_err(io)?;
    Ok(file)
}

/// The archive that a path leads into, and the rest of the path, a slash at its end.
fn split_at_archive(path: &Path) -> Option<(PathBuf, String)> {
    let mut archive = PathBuf::new();
    let mut parts = path.components();
    for part in parts.by_ref() {
        archive.push(part);
        let ending = archive.extension().unwrap_or_default();
        if ending.eq_ignore_ascii_case("zip") && archive.is_file() {
            let rest = parts.as_path();
            let inside = match path_text(rest) {
                text if text.is_empty() => text,
                text => format!("{text}/"),
            };
            return Some((archive, inside));
        }
    }
    None
}

/// The name of a file in an archive.
fn named(inside: &str, path: &Path) -> String {
    let plain = path
        .components()
        .filter(|part| !matches!(part, std::path::Component::CurDir));
    format!("{inside}{}", path_text(&plain.collect::<PathBuf>()))
}

fn names_in(folder: &Path) -> HashSet<OsString> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name()).collect()
}

fn entries_on_disk(folder: &Path) -> Result<Vec<(String, bool)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(|e| Error::io(folder, e))? {
        let entry = entry.map_err(|e| Error::io(folder, e))?;
        let name = entry.file_name();
        if hidden(&name.to_string_lossy()) {
            continue;
        }
        let is_folder = entry.path().is_dir();
        let text = path_text(Path::new(&name));
        if is_folder && name.to_str().is_none() {
            let reason = format!("holds the folder {text}, whose name is no UTF-8");
            return Err(Error::data(folder, reason));
        }
        found.push((text, is_folder));
    }
    found.sort();
    Ok(found)
}

/// The files of an archive.
pub(super) struct Zip {
    path: Arc<[PathBuf]>,
    file: File,
    members: HashMap<String, ZipMember>,
    /// All names, sorted.
    names: Vec<String>,
}

/// Where a file's bytes are, and what they unpack to.
struct ZipMember {
    start: u64,
    packed: u64,
    unpacked: u64,
    is_deflated: bool,
    crc: u32,
}

impl Zip {
    fn open(path: &Path) -> Result<Self> {
        let (file, about) = flava_base::open(path)?;
        let wrong = |reason: String| Error::data(path, reason);
        let own = file.try_clone().map_err(|e| Error::io(path, e))?;
        let archive = ZipArchive::new(own);
        let mut archive = archive.map_err(|e| wrong(format!("is no whole zip archive: {e}")))?;
        if archive.len() > MAX_MEMBERS {
            return Err(wrong(format!("holds {} files", archive.len())));
        }
        let mut members = HashMap::with_capacity(archive.len());
        for number in 0..archive.len() {
            let member = archive.by_index_raw(number);
            let member = member.map_err(|e| wrong(format!("file {number}: {e}")))?;
            if member.is_dir() {
                continue;
            }
            let name = member.name().replace('\\', "/");
            if member.encrypted() {
                return Err(wrong(format!("{name} is encrypted")));
            }
            let is_deflated = match member.compression() {
                CompressionMethod::Stored => false,
                CompressionMethod::Deflated => true,
                other => {
                    return Err(wrong(format!(
                        "{name} is packed by {other}, which is not read"
                    )));
                }
            };
            let (start, packed) = (member.data_start(), member.compressed_size());
            if start
                .checked_add(packed)
                .is_none_or(|end| end > about.len())
            {
                return Err(wrong(format!("{name} is cut off")));
            }
            let found = ZipMember {
                start,
                packed,
                unpacked: member.size(),
                is_deflated,
                crc: member.crc32(),
            };
            if members.insert(name.clone(), found).is_some() {
                return Err(wrong(format!("holds {name} twice")));
            }
        }
        let mut names: Vec<String> = members.keys().cloned().collect();
        names.sort_unstable();
        Ok(Self {
            path: [path.to_owned()].into(),
            file,
            members,
            names,
        })
    }

    /// A file's bytes, if they are not more than `limit`.
    fn read(&self, name: &str, limit: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.copy(name, limit, &mut bytes)?;
        Ok(bytes)
    }

    /// Unpacks a file, and compares it with what the archive says of it.
    fn copy(&self, name: &str, limit: u64, to: &mut impl Write) -> Result<()> {
        let path = &self.path[0];
        let wrong = |reason: &str| Error::data(path, format!("{name}: {reason}"));
        let member = self
            .members
            .get(name)
            .ok_or_else(|| wrong("is not in it"))?;
        if member.unpacked > limit {
            return Err(wrong(&format!("is larger than {limit} bytes")));
        }
        let packed = Packed {
            file: &self.file,
            at: member.start,
            end: member.start + member.packed,
        };
        let mut source: Box<dyn Read> = if member.is_deflated {
            Box::new(DeflateDecoder::new(packed))
        } else {
            Box::new(packed)
        };
        // One byte more than it says, so that a longer one is found.
        let mut limited = source.by_ref().take(member.unpacked + 1);
        let mut crc = flate2::Crc::new();
        let mut buffer = vec![0; 1 << 16];
        loop {
            let count = limited
                .read(&mut buffer)
                .map_err(|e| wrong(&e.to_string()))?;
            if count == 0 {
                break;
            }
            crc.update(&buffer[..count]);
            to.write_all(&buffer[..count])
                .map_err(|e| Error::io(path, e))?;
        }
        if crc.sum() != member.crc
            || u64::from(crc.amount()) != member.unpacked & u64::from(u32::MAX)
        {
            return Err(wrong("is damaged"));
        }
        Ok(())
    }
}

/// The packed bytes of a file in an archive.
struct Packed<'a> {
    file: &'a File,
    at: u64,
    end: u64,
}

impl Read for Packed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let most = buffer.len().min((self.end - self.at) as usize);
        let count = self.file.read_at(&mut buffer[..most], self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}
