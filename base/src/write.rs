//! Files that are whole or not there: written beside their place, brought to the disk, and renamed.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use crate::{Error, Result};

/// Parts that this process has begun: threads may write the same file at once.
static PARTS: AtomicU64 = AtomicU64::new(0);

/// Writes a file beside its place and renames it, so that no reader ever sees half of it, not even
/// after a power failure.
pub fn write_atomic(path: &Path, contents: &[u8]) -> Result<()> {
    write_with(path, |part| File::create(part)?.write_all(contents))
}

/// The same of a file that `write` fills.
pub fn write_with(path: &Path, write: impl FnOnce(&Path) -> std::io::Result<()>) -> Result<()> {
    let number = PARTS.fetch_add(1, Ordering::Relaxed);
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}-{number}.part", std::process::id()));
    let part: PathBuf = path.with_file_name(name);
    let on_disk = |()| File::open(&part)?.sync_all();
    let written = write(&part)
        .and_then(on_disk)
        .and_then(|()| fs::rename(&part, path));
    written.map_err(|e| {
        let _gone = fs::remove_file(&part);
        Error::io(path, e)
    })?;
    // The name is on the disk once the folder is; some file systems cannot, and then it comes there
    // by itself.
    if let Some(folder) = path.parent() {
        let folder = if folder.as_os_str().is_empty() {
            Path::new(".")
        } else {
            folder
        };
        let _synced = File::open(folder).and_then(|folder| folder.sync_all());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_what_was_there_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        write_atomic(&path, b"one").unwrap();
        let full = |part: &Path| fs::write(part, "tw").and(Err(std::io::Error::other("full")));
        assert!(
            write_with(&path, full)
                .unwrap_err()
                .to_string()
                .contains("full")
        );
        assert_eq!(fs::read_to_string(&path).unwrap(), "one");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
