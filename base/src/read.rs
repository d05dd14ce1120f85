//! Files that people point us to. Only regular files are opened, and what stands in for a file that
//! was never fetched (a git-lfs pointer, a web server's error page) is named here, once for every
//! reader.

use std::{
    fs::{self, File, Metadata, OpenOptions},
    io::Read,
    os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt},
    path::Path,
};

use serde::de::DeserializeOwned;

use crate::{Error, Result};

/// Largest file of settings, such as a recipe, that is read.
pub const MAX_SETTINGS: u64 = 1 << 22;
/// Bytes of a file's beginning that tell an impostor.
const HEAD: usize = 256;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Opens a regular file for reading; links are followed.
///
/// # Errors
/// If it is not there (a link that leads nowhere says where it leads), is a folder, device or pipe,
/// or holds something that only stands in for the file.
pub fn open(path: &Path) -> Result<(File, Metadata)> {
    let (file, metadata) = open_whatever(path)?;
    let mut head = [0; HEAD];
    let count = file.read_at(&mut head, 0).map_err(|e| Error::io(path, e))?;
    if let Some(what) = impostor(&head[..count]) {
        return Err(Error::file(path, what));
    }
    Ok((file, metadata))
}

/// The same, whatever the file holds.
pub(crate) fn open_whatever(path: &Path) -> Result<(File, Metadata)> {
    // Opening a pipe would wait for somebody who writes to it.
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits() as i32;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(nonblocking)
        .open(path)
        .map_err(|e| not_opened(path, e))?;
    let metadata = file.metadata().map_err(|e| Error::io(path, e))?;
    if !metadata.is_file() {
        let kind = metadata.file_type();
        let what = if kind.is_dir() {
            "a folder"
        } else if kind.is_fifo() {
            "a pipe"
        } else if kind.is_socket() {
            "a socket"
        } else {
            "a device"
        };
        return Err(Error::file(path, format!("is {what}, not a file")));
    }
    Ok((file, metadata))
}

fn not_opened(path: &Path, error: std::io::Error) -> Error {
    match fs::read_link(path) {
        Ok(target) if error.kind() == std::io::ErrorKind::NotFound => Error::file(
            path,
            format!("is a link to {}, which is not there", target.display()),
        ),
        _ => Error::io(path, error),
    }
}

/// Whether there is such a file; a link that leads nowhere is one, so that opening it says so.
pub fn is_there(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

/// What a file is that begins so, if it only stands in for another.
pub fn impostor(head: &[u8]) -> Option<&'static str> {
    if head.starts_with(b"version https://git-lfs.github.com/spec/") {
        return Some("is a git-lfs pointer, not the file itself: `git lfs pull` fetches it");
    }
    let text = head
        .strip_prefix(BYTE_ORDER_MARK)
        .unwrap_or(head)
        .trim_ascii_start();
    let begins = |tag: &[u8]| {
        text.get(..tag.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(tag))
    };
    (begins(b"<!doctype html") || begins(b"<html"))
        .then_some("is a web page (HTML), not the file it should be: fetch it again")
}

/// A file's bytes, if they are at most `limit`.
pub fn read(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let (file, metadata) = open(path)?;
    let size = metadata.len();
    if size > limit {
        return Err(Error::file(
            path,
            format!("has {size} bytes, more than {limit}"),
        ));
    }
    let mut bytes = Vec::with_capacity(size as usize);
    // Files of /proc and files that grow say another size than they have.
    file.take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| Error::io(path, e))?;
    if bytes.len() as u64 > limit {
        return Err(Error::file(path, format!("has more than {limit} bytes")));
    }
    Ok(bytes)
}

/// A file's text, without the mark that some editors begin UTF-8 with.
pub fn read_text(path: &Path, limit: u64) -> Result<String> {
    text_of(read(path, limit)?).map_err(|reason| Error::file(path, reason))
}

/// Bytes as text, without the mark that some editors begin UTF-8 with; or why they are none.
pub fn text_of(mut bytes: Vec<u8>) -> std::result::Result<String, String> {
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return Err("begins with UTF-16's byte-order mark: save it as UTF-8".into());
    }
    if bytes.starts_with(BYTE_ORDER_MARK) {
        bytes.drain(..BYTE_ORDER_MARK.len());
    }
    String::from_utf8(bytes).map_err(|e| format!("is no UTF-8 text: {e}"))
}

/// A JSON file of at most `limit` bytes.
pub fn read_json<T: DeserializeOwned>(path: &Path, limit: u64) -> Result<T> {
    let text = read_text(path, limit)?;
    json_of(&text).map_err(|e| Error::file(path, format!("is not the JSON it should be: {e}")))
}

/// A value of JSON, or of what Python's `json` writes for it: its `NaN`, `Infinity` and `-Infinity`
/// are null.
pub fn json_of<T: DeserializeOwned>(text: &str) -> serde_json::Result<T> {
    let strict = serde_json::from_str(text);
    if strict.is_ok() || !(text.contains("NaN") || text.contains("Infinity")) {
        return strict;
    }
    serde_json::from_str(&without_constants(text))
}

/// The text with Python's constants outside of strings replaced by null.
fn without_constants(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let (mut rest, mut inside) = (text, false);
    while let Some(c) = rest.chars().next() {
        let constant = ["-Infinity", "Infinity", "NaN"]
            .into_iter()
            .find(|name| !inside && rest.starts_with(name));
        let length = match constant {
            Some(name) => {
                plain.push_str("null");
                name.len()
            }
            None if inside && c == '\\' => {
                let pair = rest
                    .char_indices()
                    .nth(2)
                    .map_or(rest.len(), |(end, _)| end);
                plain.push_str(&rest[..pair]);
                pair
            }
            None => {
                inside ^= c == '"';
                plain.push(c);
                c.len_utf8()
            }
        };
        rest = &rest[length..];
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(path: &Path) -> String {
        read(path, 100).unwrap_err().to_string()
    }

    #[test]
    fn only_regular_files_are_opened() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::os::unix::fs::symlink("/dev/zero", at("zero.png")).unwrap();
        std::os::unix::fs::symlink("nowhere", at("dangling.json")).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, at("pipe"), 0o600.into()).unwrap();
        assert!(refusal(&at("zero.png")).ends_with("is a device, not a file"));
        assert!(refusal(&at("pipe")).ends_with("is a pipe, not a file"));
        assert!(refusal(folder.path()).ends_with("is a folder, not a file"));
        assert!(
            refusal(&at("dangling.json")).ends_with("is a link to nowhere, which is not there")
        );
        assert!(is_there(&at("dangling.json")) && !is_there(&at("nothing")));
        assert!(refusal(Path::new("/proc/self/smaps")).contains("more than 100 bytes"));
    }

    #[test]
    fn what_stands_in_for_a_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("0.tar");
        fs::write(
            &path,
            "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n",
        )
        .unwrap();
        assert!(refusal(&path).contains("git-lfs pointer"));
        fs::write(&path, "\n<!DOCTYPE html><html>404").unwrap();
        assert!(refusal(&path).contains("web page"));
        fs::write(&path, b"\xef\xbb\xbf{\"a\": 1}").unwrap();
        assert_eq!(read_json::<serde_json::Value>(&path, 100).unwrap()["a"], 1);
        let python =
            r#"{"caption": "NaN \" Infinity\\", "a": NaN, "b": [-Infinity, Infinity], "é": 1}"#;
        let value: serde_json::Value = json_of(python).unwrap();
        assert!(value["a"].is_null() && value["b"][1].is_null() && value["é"] == 1);
        assert_eq!(value["caption"], "NaN \" Infinity\\");
        assert!(json_of::<serde_json::Value>("{\"a\": NaNa}").is_err());
        fs::write(&path, b"\xff\xfe{\0").unwrap();
        assert!(
            read_text(&path, 100)
                .unwrap_err()
                .to_string()
                .contains("UTF-16")
        );
    }
}
