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

/// Removes what killed processes left of files that they were writing into a folder. Nobody may be
/// writing into it.
pub fn remove_parts(folder: &Path) {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    for path in entries.map(|entry| entry.path()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let part = name.strip_suffix(".part");
        let numbers = part.and_then(|rest| rest.rsplit_once('.'));
        let is_part = numbers.is_some_and(|(_, numbers)| {
            let numbers = numbers.split_once('-');
            let is_number = |text: &str| text.parse::<u64>().is_ok();
            numbers.is_some_and(|(pid, number)| is_number(pid) && is_number(number))
        });
        if is_part {
            let _gone = fs::remove_file(&path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_that_were_left_go_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["a.json", "a.json.12-0.part", "b.part", "c.1-x.part"] {
            fs::write(at(name), "").unwrap();
        }
        remove_parts(folder.path());
        assert!(at("a.json").exists() && at("b.part").exists() && at("c.1-x.part").exists());
        assert!(!at("a.json.12-0.part").exists());
    }

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
