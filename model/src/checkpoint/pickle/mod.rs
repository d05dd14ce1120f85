//! `torch.save` zip files, read without running pickle.
//!
//! The machine beside this knows the opcodes and the handful of names that a dictionary of tensors
//! is made of. Every other opcode, class or function is refused by name, so a file can do nothing
//! but describe tensors. Values lie in an arena: neither nesting nor sharing can exhaust the stack
//! or memory.

mod machine;

use std::{
    collections::{BTreeMap, HashMap},
    io::Cursor,
    path::Path,
    sync::Arc,
};

use memmap2::Mmap;
use tch::Kind;
use zip::{CompressionMethod, ZipArchive};

use super::file::CheckpointTensor;
use crate::{Error, Result};
use machine::Machine;

/// Largest `data.pkl` that is read; flava-full's has some 60 kB.
const MAX_PICKLE: usize = 1 << 26;
/// Most tensors.
const MAX_TENSORS: usize = 1 << 20;

/// The tensors of the file `path`, mapped as `map`, by dotted path through its dictionaries.
pub(super) fn read(path: &Path, map: &Arc<Mmap>) -> Result<BTreeMap<String, CheckpointTensor>> {
    read_archive(map).map_err(|reason| Error::file(path, reason))
}

type Outcome<T> = std::result::Result<T, String>;

fn read_archive(map: &Arc<Mmap>) -> Outcome<BTreeMap<String, CheckpointTensor>> {
    let members = members(map)?;
    let pickles: Vec<&String> = members
        .keys()
        .filter(|name| name.ends_with("/data.pkl"))
        .collect();
    let [name] = pickles[..] else {
        return Err(format!(
            "a zip file with {} data.pkl: not written by torch.save",
            pickles.len()
        ));
    };
    let root = name.trim_end_matches("data.pkl");
    if let Some(range) = members.get(&format!("{root}byteorder"))
        && &map[range.clone()] != b"little"
    {
        return Err("was written on a big-endian machine".into());
    }
    let pickle = &map[members[name].clone()];
    if pickle.len() > MAX_PICKLE {
        return Err(format!("its data.pkl has {} bytes", pickle.len()));
    }
    let mut machine = Machine::new(pickle);
    let top = machine
        .run()
        .map_err(|reason| format!("{reason} (byte {} of data.pkl)", machine.at))?;
    let mut tensors = BTreeMap::new();
    let storage = |key: &str| members.get(&format!("{root}data/{key}")).cloned();
    machine.collect(top, "", 0, &mut |name, view| {
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

/// Where each member's bytes lie; torch.save compresses none, so a compressed one is refused
/// unread.
fn members(map: &Mmap) -> Outcome<HashMap<String, std::ops::Range<usize>>> {
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

/// A tensor as its pickle describes it.
#[derive(Clone, Debug)]
pub(super) struct View {
    key: String,
    kind: Kind,
    elements: i64,
    offset: i64,
    size: Vec<i64>,
    stride: Vec<i64>,
}

impl View {
    fn open(
        &self,
        map: &Arc<Mmap>,
        storage: &dyn Fn(&str) -> Option<std::ops::Range<usize>>,
    ) -> Outcome<CheckpointTensor> {
        let range =
            storage(&self.key).ok_or_else(|| format!("its storage {} is missing", self.key))?;
        let element = self.kind.elt_size_in_bytes();
        let held = (range.len() / element) as i64;
        if held < self.elements {
            return Err(format!(
                "its storage {} has {held} of {} elements",
                self.key, self.elements
            ));
        }
        let reach = self.reach().filter(|&reach| reach <= held);
        let reach = reach.ok_or_else(|| {
            format!(
                "shape {:?}, strides {:?}, offset {} reach past its storage",
                self.size, self.stride, self.offset
            )
        })?;
        let start = range.start + self.offset as usize * element;
        // Only what the view reaches: a large storage may be shared by many views.
        let range = start..range.start + reach.max(self.offset) as usize * element;
        Ok(CheckpointTensor {
            map: Arc::clone(map),
            kind: self.kind,
            size: self.size.clone(),
            stride: self.stride.clone(),
            range,
        })
    }

    /// One past the last element of the storage that the view touches; None for what no tensor has.
    fn reach(&self) -> Option<i64> {
        if self.size.len() != self.stride.len()
            || self.offset < 0
            || self.size.iter().chain(&self.stride).any(|&n| n < 0)
        {
            return None;
        }
        // A zero stride would let a small file ask for any amount of memory.
        let expanded = self
            .size
            .iter()
            .zip(&self.stride)
            .any(|(&size, &stride)| size > 1 && stride == 0);
        let count = self
            .size
            .iter()
            .try_fold(1i64, |n, &size| n.checked_mul(size))?;
        if count == 0 {
            return (self.offset <= self.elements).then_some(self.offset);
        }
        if expanded || count > self.elements {
            return None;
        }
        let steps = self
            .size
            .iter()
            .zip(&self.stride)
            .try_fold(0i64, |n, (&size, &stride)| {
                n.checked_add((size - 1).checked_mul(stride)?)
            })?;
        self.offset.checked_add(steps)?.checked_add(1)
    }
}
