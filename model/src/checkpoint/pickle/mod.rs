//! `torch.save` zip files, read without running pickle.
//!
//! [`flava_base::pickle`] knows the opcodes; the handful of names that a dictionary of tensors is
//! made of stand in `tensors.rs`. Every other class or function is refused by name, so a file can
//! do nothing but describe tensors.

mod tensors;
mod view;

use std::{
    collections::{BTreeMap, HashMap},
    io::Cursor,
    ops::Range,
    path::Path,
    sync::Arc,
};

use flava_base::pickle;
use memmap2::Mmap;
use zip::{CompressionMethod, ZipArchive};

use super::file::CheckpointTensor;
use crate::{Error, Result};
use tensors::{Tensors, allow};
use view::Outcome;

/// Largest `data.pkl` that is read; flava-full's has some 60 kB.
const MAX_PICKLE: usize = 1 << 26;
/// Most tensors.
const MAX_TENSORS: usize = 1 << 20;

/// The tensors of the file `path`, mapped as `map`, by dotted path through its dictionaries.
pub(super) fn read(path: &Path, map: &Arc<Mmap>) -> Result<BTreeMap<String, CheckpointTensor>> {
    read_archive(map).map_err(|reason| Error::file(path, reason))
}

fn read_archive(map: &Arc<Mmap>) -> Outcome<BTreeMap<String, CheckpointTensor>> {
    let members = members(map)?;
    let (root, bytes) = pickle_of(&members)?;
    if let Some(range) = members.get(&format!("{root}byteorder"))
        && &map[range.clone()] != b"little"
    {
        return Err("was written on a big-endian machine".into());
    }
    if bytes.len() > MAX_PICKLE {
        return Err(format!("its data.pkl has {} bytes", bytes.len()));
    }
    let pickle = pickle::load(&map[bytes], &allow);
    let pickle = pickle.map_err(|reason| format!("its data.pkl: {reason}"))?;
    let mut tensors = BTreeMap::new();
    let storage = |key: &str| members.get(&format!("{root}data/{key}")).cloned();
    Tensors::of(&pickle).collect(&mut |name, view| {
        let tensor = view
            .open(map, &storage)
            .map_err(|reason| format!("tensor {name}: {reason}"))?;
        if tensors.len() >= MAX_TENSORS {
            return Err(format!("more than {MAX_TENSORS} tensors"));
        }
        match tensors.insert(name.clone(), tensor) {
            Some(_) => Err(format!("two tensors are called {name}")),
            None => Ok(()),
        }
    })?;
    Ok(tensors)
}

/// The folder of an archive's one pickle, and where its bytes lie.
fn pickle_of(members: &HashMap<String, Range<usize>>) -> Outcome<(&str, Range<usize>)> {
    let pickles: Vec<_> = members
        .iter()
        .filter(|(name, _)| name.ends_with("/data.pkl"))
        .collect();
    let [(name, range)] = pickles[..] else {
        return Err(format!(
            "a zip file with {} data.pkl: not written by torch.save",
            pickles.len()
        ));
    };
    Ok((name.trim_end_matches("data.pkl"), range.clone()))
}

/// Where each member's bytes lie; torch.save compresses none, so a compressed one is refused
/// unread.
fn members(map: &Mmap) -> Outcome<HashMap<String, Range<usize>>> {
    let mut archive =
        ZipArchive::new(Cursor::new(&map[..])).map_err(|e| format!("is no whole zip file: {e}"))?;
    let mut members = HashMap::new();
    for i in 0..archive.len() {
        let member = archive
            .by_index_raw(i)
            .map_err(|e| format!("zip member {i}: {e}"))?;
        let name = member.name().to_owned();
        if member.compression() != CompressionMethod::Stored {
            return Err(format!(
                "zip member {name} is compressed; torch.save compresses none"
            ));
        }
        let start = member.data_start() as usize;
        let end = start
            .checked_add(member.size() as usize)
            .filter(|&end| end <= map.len());
        members.insert(
            name.clone(),
            start..end.ok_or_else(|| format!("zip member {name} is cut off"))?,
        );
    }
    Ok(members)
}
