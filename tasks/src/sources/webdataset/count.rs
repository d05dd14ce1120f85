//! How many shards a folder has, and which of them is missing.

use std::{fs, path::Path};

use crate::{Error, Result};

/// Most shards that are looked for.
const MAX_SHARDS: usize = 1 << 20;

/// How many shards a folder has: `0.tar`, `1.tar` and so on, as many as `nshards.txt` says where it
/// is there.
pub(super) fn shard_count(folder: &Path) -> Result<usize> {
    if !folder.is_dir() {
        return Err(Error::data(folder, "is no folder of shards"));
    }
    let there = shards_there(folder)?;
    let path = folder.join("nshards.txt");
    if !flava_base::is_there(&path) {
        return Ok(there);
    }
    let text = flava_base::read_text(&path, 1 << 10)?;
    let told = text.trim().parse().ok();
    let told = told
        .filter(|count: &usize| *count <= MAX_SHARDS)
        .ok_or_else(|| Error::data(&path, format!("{:?} is no number of shards", text.trim())))?;
    if there > told {
        let last = there - 1;
        let reason = format!("says that there are {told} shards, but there is a {last}.tar");
        return Err(Error::data(&path, reason));
    }
    Ok(told)
}

/// One more than the number of the last shard in a folder.
fn shards_there(folder: &Path) -> Result<usize> {
    let mut there = 0;
    for entry in fs::read_dir(folder).map_err(|e| Error::io(folder, e))? {
        let name = entry.map_err(|e| Error::io(folder, e))?.file_name();
        let number = name.to_str().and_then(shard_number);
        let number = number.filter(|number| *number < MAX_SHARDS);
        there = there.max(number.map_or(0, |number| number + 1));
    }
    Ok(there)
}

fn shard_number(name: &str) -> Option<usize> {
    name.strip_suffix(".tar")
        .filter(|stem| !stem.starts_with('0') || stem.len() == 1)?
        .parse()
        .ok()
}

/// The first shard that is not there, if one is missing; the number of them where that cannot be
/// read is for opening to tell.
pub(in super::super) fn missing_shard(folder: &Path) -> Option<String> {
    let count = if folder.is_dir() {
        shard_count(folder).unwrap_or(0)
    } else {
        1
    };
    (0..count.max(1))
        .map(|index| format!("{index}.tar"))
        .find(|name| !flava_base::is_there(&folder.join(name)))
}
