//! The members of a shard, put together to samples as webdataset 0.2 does: a sample's key is the
//! name up to the first dot of its last part, what follows is the member's ending, in either case.

use std::{collections::HashMap, fs::File, os::unix::fs::FileExt, path::Path};

use flava_base::{hidden, is_image};
use serde::{Deserialize, Serialize};
use tar::{Archive, EntryType};

use super::{
    Kind, Sample,
    side::{MAX_SIDE, Side, read_side},
};
use crate::{Error, Result, sources::listing::MAX_PICTURE};

/// How compressed files begin.
const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTANDARD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Members of a tar file start at multiples of this.
const BLOCK: u64 = 512;
/// Most empty bytes after an archive's end: tar fills up to 10 kB, some tools to a mebibyte.
const MAX_TAIL: u64 = 2 << 20;

/// Members that belong to no sample.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Strays {
    pub(super) count: usize,
    pub(super) first: String,
}

impl Strays {
    fn add(&mut self, name: &str) {
        if self.count == 0 {
            name.clone_into(&mut self.first);
        }
        self.count += 1;
    }

    pub(super) fn join(&mut self, other: &Self) {
        if self.count == 0 {
            self.first.clone_from(&other.first);
        }
        self.count += other.count;
    }
}

/// A file of the archive.
struct Member {
    name: String,
    /// Where its key ends.
    key: usize,
    offset: u64,
    size: u64,
}

impl Member {
    fn key(&self) -> &str {
        &self.name[..self.key]
    }

    /// What follows the last dot, in lower case.
    fn ending(&self) -> String {
        self.name
            .rsplit_once('.')
            .map_or(String::new(), |(_, ending)| ending.to_ascii_lowercase())
    }
}

/// The members with one key.
#[derive(Default)]
struct Group {
    images: Vec<usize>,
    sides: Vec<usize>,
}

/// Finds the samples of a shard, and counts what belongs to none.
pub(super) fn index_shard(
    path: &Path,
    file: &File,
    length: u64,
    kind: Kind,
) -> Result<(Vec<Sample>, Strays)> {
    let (members, mut strays) = members(path, file, length)?;
    let (mut order, mut groups): (Vec<&str>, HashMap<&str, Group>) = (Vec::new(), HashMap::new());
    for (place, member) in members.iter().enumerate() {
        let group = groups.entry(member.key()).or_insert_with(|| {
            order.push(member.key());
            Group::default()
        });
        if is_image(&member.name) {
            group.images.push(place);
        } else if kind.sides().contains(&member.ending().as_str()) {
            group.sides.push(place);
        }
    }
    let mut samples = Vec::with_capacity(order.len());
    for key in order {
        let group = &groups[key];
        match sample(path, file, key, group, &members, kind)? {
            Some(sample) => samples.push(sample),
            // What webdataset would pass on without anything that is read here.
            None => group
                .sides
                .iter()
                .for_each(|&side| strays.add(&members[side].name)),
        }
    }
    Ok((samples, strays))
}

/// All files of an archive; names that begin with a dot or have none are no samples'.
fn members(path: &Path, file: &File, length: u64) -> Result<(Vec<Member>, Strays)> {
    let mut first = [0; 4];
    if file.read_at(&mut first, 0).is_ok() && (first.starts_with(&GZIP) || first == ZSTANDARD) {
        return Err(Error::data(
            path,
            "is compressed; shards are plain tar archives",
        ));
    }
    let (mut members, mut strays) = (Vec::new(), Strays::default());
    let mut last = String::from("its start");
    let mut end = 0;
    let mut archive = Archive::new(file);
    let broken = |last: &str, e: &dyn ToString| {
        Error::data(
            path,
            format!("is cut off or broken after {last}: {}", e.to_string()),
        )
    };
    for entry in archive.entries_with_seek().map_err(|e| broken(&last, &e))? {
        let entry = entry.map_err(|e| broken(&last, &e))?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let (offset, size) = (entry.raw_file_position(), entry.size());
        if offset.checked_add(size).is_none_or(|end| end > length) {
            return Err(Error::data(path, format!("is cut off inside {name}")));
        }
        end = offset + size.next_multiple_of(BLOCK);
        match entry.header().entry_type() {
            // `git archive` writes the commit's name into a header for the whole archive.
            EntryType::Directory | EntryType::XGlobalHeader => continue,
            kind if !kind.is_file() || leads_out(&name) => {
                return Err(Error::data(
                    path,
                    format!("the member {name:?} is a link or leads out of the archive"),
                ));
            }
            _ => {}
        }
        let start = name.rfind('/').map_or(0, |slash| slash + 1);
        match name[start..].find('.') {
            Some(dot) if dot > 0 && !hidden(&name[start..]) => {
                members.push(Member {
                    key: start + dot,
                    offset,
                    size,
                    name: name.clone(),
                });
            }
            _ => strays.add(&name),
        }
        last = name;
    }
    check_end(path, file, (end, length)).map_err(|reason| broken(&last, &reason))?;
    Ok((members, strays))
}

fn leads_out(name: &str) -> bool {
    name.starts_with('/') || name.split(['/', '\\']).any(|part| part == "..")
}

/// An archive ends with empty blocks, and nothing stands behind them: what does would be lost.
fn check_end(
    path: &Path,
    file: &File,
    (end, length): (u64, u64),
) -> std::result::Result<(), String> {
    if length < end + BLOCK {
        return Err("its end is missing".into());
    }
    if length - end > MAX_TAIL {
        return Err(format!("{} bytes follow its end", length - end));
    }
    let mut tail = vec![0; (length - end) as usize];
    file.read_exact_at(&mut tail, end)
        .map_err(|e| Error::io(path, e).to_string())?;
    match tail.iter().position(|byte| *byte != 0) {
        Some(at) => Err(format!("more follows its end, at byte {}", end + at as u64)),
        None => Ok(()),
    }
}

/// The sample of a key; None where it has neither an image nor a text that is read.
fn sample(
    path: &Path,
    file: &File,
    key: &str,
    group: &Group,
    members: &[Member],
    kind: Kind,
) -> Result<Option<Sample>> {
    let loose = matches!(kind, Kind::Anything);
    if let [first, second, ..] = group.images[..] {
        let (first, second) = (&members[first].name, &members[second].name);
        if first.eq_ignore_ascii_case(second) {
            return Err(Error::data(
                path,
                format!(
                    "sample {key} has two members {}",
                    members[group.images[0]].ending()
                ),
            ));
        }
        let reason = format!(
            "sample {key} has two images, {first} and {second}: a key ends at the first dot of a name"
        );
        return Err(Error::data(path, reason));
    }
    let image = group.images.first().map(|&image| &members[image]);
    if let Some(image) = image.filter(|image| image.size > MAX_PICTURE) {
        return Err(Error::data(
            path,
            format!("{key}: an image of {} bytes", image.size),
        ));
    }
    let mut sides: Vec<(String, Side)> = Vec::new();
    for member in group.sides.iter().map(|&side| &members[side]) {
        let mut bytes = vec![0; member.size.min(MAX_SIDE + 1) as usize];
        file.read_exact_at(&mut bytes, member.offset)
            .map_err(|e| Error::io(path, e))?;
        match read_side(&member.ending(), &bytes, kind) {
            Ok(side) => {
                if sides.iter().any(|(ending, _)| *ending == member.ending()) {
                    return Err(Error::data(
                        path,
                        format!("sample {key} has two members {}", member.ending()),
                    ));
                }
                sides.push((member.ending(), side));
            }
            Err(_) if loose => {} // a sample without its text is broken where a text is wanted, and counted there
            Err(reason) => return Err(Error::data(path, format!("{}: {reason}", member.name))),
        }
    }
    // A text of its own comes before what is told of it.
    sides.sort_by_key(|(ending, _)| ending == "json");
    let mut sides: Vec<Side> = sides
        .into_iter()
        .map(|(_, side)| side)
        .filter(|side| *side != Side::Captions(Vec::new()))
        .collect();
    if loose {
        sides.truncate(1);
    }
    match image {
        Some(_) if sides.is_empty() && !loose => Err(Error::data(
            path,
            format!("sample {key} has no {key}.cls, .txt or .npy"),
        )),
        None if sides.is_empty() || !loose => Ok(None),
        _ => {
            let (offset, size) = image.map_or((0, 0), |image| (image.offset, image.size));
            Ok(Some(Sample {
                key: key.to_owned(),
                offset,
                size,
                sides,
            }))
        }
    }
}
