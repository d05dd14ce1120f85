//! Folders of images: one list of endings, one way to go through them.

use std::path::{Path, PathBuf};

use walkdir::{DirEntry, WalkDir};

use crate::{Error, Result};

/// Endings of image files, in lower case.
pub const IMAGE_ENDINGS: [&str; 17] = [
    "jpg", "jpeg", "jpe", "jfif", "png", "apng", "webp", "bmp", "dib", "gif", "tif", "tiff", "ppm",
    "pgm", "pbm", "pnm", "tga",
];
/// Folders that no person made: what tools leave beside the data.
const LEFT_BY_TOOLS: [&str; 4] = ["__MACOSX", "__pycache__", "@eaDir", "$RECYCLE.BIN"];

/// Whether a file's name ends as those of images do, in either case.
pub fn is_image(name: &str) -> bool {
    name.rsplit_once('.')
        .is_some_and(|(_, ending)| IMAGE_ENDINGS.contains(&ending.to_ascii_lowercase().as_str()))
}

/// Whether a file or folder is one that people do not see: its name begins with a dot, or a tool
/// left it.
pub fn hidden(name: &str) -> bool {
    name.starts_with('.') || LEFT_BY_TOOLS.contains(&name)
}

/// A path as text, `/` between its parts; bytes that are no UTF-8 are written out, so that
/// different paths stay different.
pub fn path_text(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    let part = |chunk: std::str::Utf8Chunk| {
        let strange: String = chunk
            .invalid()
            .iter()
            .map(|byte| format!("\u{fffd}{byte:02x}"))
            .collect();
        format!("{}{strange}", chunk.valid())
    };
    path.as_os_str()
        .as_bytes()
        .utf8_chunks()
        .map(part)
        .collect()
}

/// All files below a folder by their paths from there, sorted; links are followed, hidden files and
/// folders left out.
///
/// # Errors
/// If a folder cannot be read, or a link leads to a folder above it.
pub fn walk(folder: &Path) -> Result<Vec<PathBuf>> {
    let seen =
        |entry: &DirEntry| entry.depth() == 0 || !hidden(&entry.file_name().to_string_lossy());
    let mut files = Vec::new();
    for entry in WalkDir::new(folder)
        .follow_links(true)
        .into_iter()
        .filter_entry(seen)
    {
        match entry {
            Ok(entry) if entry.file_type().is_dir() => {}
            Ok(entry) => files.push(
                entry
                    .path()
                    .strip_prefix(folder)
                    .unwrap_or(entry.path())
                    .to_owned(),
            ),
            Err(error) => match (error.loop_ancestor(), error.path()) {
                (Some(above), Some(path)) => {
                    return Err(Error::file(
                        path,
                        format!("is a link to {}, which it lies in", above.display()),
                    ));
                }
                // A link that leads nowhere is a file that cannot be read, and is told with the
                // others.
                (None, Some(path))
                    if std::fs::symlink_metadata(path).is_ok_and(|m| m.is_symlink()) =>
                {
                    files.push(path.strip_prefix(folder).unwrap_or(path).to_owned());
                }
                (_, path) => {
                    let path = path.unwrap_or(folder).to_owned();
                    return Err(Error::io(
                        path,
                        error
                            .into_io_error()
                            .unwrap_or_else(|| std::io::Error::other("cannot be read")),
                    ));
                }
            },
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use std::{
        ffi::OsStr,
        fs,
        os::unix::{ffi::OsStrExt, fs::symlink},
    };

    use super::*;

    #[test]
    fn links_are_followed_and_loops_refused() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        for folder in ["a/inner", "elsewhere", "a/.ipynb_checkpoints", "a/__MACOSX"] {
            fs::create_dir_all(at(folder)).unwrap();
        }
        for file in [
            "a/1.jpg",
            "a/inner/2.JFIF",
            "elsewhere/3.tif",
            "a/.ipynb_checkpoints/4.jpg",
            "a/__MACOSX/5.jpg",
        ] {
            fs::write(at(file), "").unwrap();
        }
        symlink(at("elsewhere"), at("a/linked")).unwrap();
        symlink("nowhere", at("a/6.png")).unwrap();
        let names = |files: Vec<PathBuf>| {
            files
                .iter()
                .map(|f| f.display().to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            names(walk(&at("a")).unwrap()),
            ["1.jpg", "6.png", "inner/2.JFIF", "linked/3.tif"]
        );
        assert!(
            is_image("2.JFIF")
                && is_image("linked/3.tif")
                && !is_image("notes.txt")
                && !is_image("jpg")
        );
        let strange = |bytes: &[u8]| path_text(Path::new(OsStr::from_bytes(bytes)));
        assert_eq!(strange("d/é.jpg".as_bytes()), "d/é.jpg");
        assert_ne!(strange(b"a\xff.jpg"), strange(b"a\xfe.jpg"));
        symlink(at("a"), at("a/inner/up")).unwrap();
        assert!(
            walk(&at("a"))
                .unwrap_err()
                .to_string()
                .contains("which it lies in")
        );
    }
}
