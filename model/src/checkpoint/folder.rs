//! A folder that is replaced whole: whoever reads it finds the old contents or the new, also after a crash.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::Error;

fn sibling(folder: &Path, ending: &str) -> PathBuf {
    PathBuf::from(format!("{}.{ending}", folder.display()))
}

/// Lets `write` fill a new folder beside `folder`, then puts it in its place. If anything fails on the way, the old one stays.
pub fn replace_folder<E: From<Error>>(
    folder: &Path,
    write: impl FnOnce(&Path) -> std::result::Result<(), E>,
) -> std::result::Result<(), E> {
    let (part, old) = (sibling(folder, "part"), sibling(folder, "old"));
    let io = |e: std::io::Error| E::from(Error::io(folder, e));
    if part.exists() {
        fs::remove_dir_all(&part).map_err(io)?;
    }
    fs::create_dir_all(&part).map_err(io)?;
    write(&part).inspect_err(|_| drop(fs::remove_dir_all(&part)))?;
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

/// Gives a folder its name back if a program was killed between the two renames, and takes away what another left after them.
pub fn restore_folder(folder: &Path) {
    let old = sibling(folder, "old");
    let _restored = if folder.exists() { fs::remove_dir_all(&old) } else { fs::rename(&old, folder) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_the_old_folder() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("last");
        let put = |text: &'static str| move |part: &Path| fs::write(part.join("a"), text).map_err(|e| Error::io(part, e));
        replace_folder(&folder, put("one")).unwrap();
        let full = |part: &Path| fs::write(part.join("a"), "two").map_err(|e| Error::io(part, e)).and(Err(Error::Input("full".into())));
        assert!(replace_folder(&folder, full).is_err());
        assert_eq!(fs::read_to_string(folder.join("a")).unwrap(), "one");
        fs::rename(&folder, sibling(&folder, "old")).unwrap(); // killed between the renames
        restore_folder(&folder);
        assert_eq!(fs::read_to_string(folder.join("a")).unwrap(), "one");
        replace_folder(&folder, put("three")).unwrap();
        assert_eq!(fs::read_to_string(folder.join("a")).unwrap(), "three");
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
    }
}
