//! How files of others are read: no larger than they may be, a panic of a reader told as an error.

use std::path::Path;

use crate::{Error, Result};

/// Largest image file.
pub(super) const MAX_IMAGE: u64 = 1 << 28;
/// Longest record of a table in bytes.
pub(super) const LONGEST_RECORD: u64 = 16 << 20;
/// Largest file of annotations or lists.
const MAX_TEXT: u64 = 4 << 30;

/// Lets the process hold `count` files open beside what it holds, where the system lets it: shards
/// come in thousands, and the usual limit is 1,024.
pub(super) fn allow_open_files(count: usize) {
    use rustix::process::{Resource, getrlimit, setrlimit};
    const OTHERS: u64 = 256;
    let mut limit = getrlimit(Resource::Nofile);
    let Some(current) = limit.current.filter(|_| count as u64 > OTHERS) else {
        return;
    };
    let wanted = current.saturating_add(count as u64);
    limit.current = Some(limit.maximum.map_or(wanted, |most| most.min(wanted)));
    // Opening a file says it where this does not help.
    let _allowed = setrlimit(Resource::Nofile, limit);
}

/// Runs a reader of foreign files; a panic inside it becomes an error about `path`.
pub(super) fn guarded<T>(path: &Path, f: impl FnOnce() -> Result<T>) -> Result<T> {
    flava_base::guarded(f)
        .unwrap_or_else(|| Err(Error::data(path, "its reader gave up: the file is broken")))
}

/// Whether a path that a file names lies outside of the file's folder.
pub(super) fn leads_out(path: &str) -> bool {
    path.starts_with('/') || path.split(['/', '\\']).any(|part| part == "..")
}

/// Some names, and how many more there are.
pub(super) fn listed(names: &[String]) -> String {
    const LISTED: usize = 12;
    let shown = names.iter().take(LISTED).cloned().collect::<Vec<_>>();
    match names.len().saturating_sub(LISTED) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// A file's bytes, if it is not larger than `limit`.
pub(super) fn read_limited(path: &Path, limit: u64) -> Result<Vec<u8>> {
    Ok(flava_base::read(path, limit)?)
}

/// A text file.
pub(super) fn read_text(path: &Path) -> Result<String> {
    Ok(flava_base::read_text(path, MAX_TEXT)?)
}

/// A JSON file.
pub(super) fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
    Ok(flava_base::read_json(path, MAX_TEXT)?)
}

/// A file of JSON lines, with the number of each from 1.
pub(super) fn read_json_lines<T: serde::de::DeserializeOwned>(
    path: &Path,
) -> Result<Vec<(usize, T)>> {
    let text = read_text(path)?;
    let lines = text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty());
    let parse = |(line, text): (usize, &str)| {
        let value = flava_base::json_of(text)
            .map_err(|e| Error::data(path, format!("line {}: {e}", line + 1)))?;
        Ok((line + 1, value))
    };
    lines.map(parse).collect()
}
