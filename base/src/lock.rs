//! Folders that one program at a time writes to.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{Read, Write},
    path::Path,
};

use crate::{Error, Result};

/// Takes a folder for this program alone, for as long as the file lives; on a file system without
/// locks nobody can, and a note says so.
///
/// # Errors
/// If another program has it.
pub fn lock_folder(folder: &Path) -> Result<(Option<File>, Option<String>)> {
    let path = folder.join(".lock");
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .read(true)
        .open(&path)
        .map_err(|e| Error::io(&path, e))?;
    match file.try_lock() {
        Ok(()) => {
            let _told = file
                .set_len(0)
                .and_then(|()| write!(file, "{}", std::process::id()));
            Ok((Some(file), None))
        }
        Err(TryLockError::WouldBlock) => {
            let mut process = String::new();
            let _read = file.take(20).read_to_string(&mut process);
            Err(Error::Locked {
                folder: folder.to_owned(),
                process,
            })
        }
        Err(TryLockError::Error(e)) => Ok((
            None,
            Some(format!(
                "{}: cannot be locked ({e}): see to it that no other program writes there",
                folder.display()
            )),
        )),
    }
}
