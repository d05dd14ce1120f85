//! The members of a shard, put together to samples as webdataset 0.2 does: a sample's key is the
//! name up to the first dot of its last part, what follows is the member's ending, in either case.

use std::{collections::HashMap, fs::File, os::unix::fs::FileExt, path::Path};

use flava_base::is_image;

use super::{
    super::reading::MAX_IMAGE,
    members::{Member, Members, Strays},
    sample::Sample,
    side::{MAX_SIDE, SampleKind, Side, read_side},
};
use crate::{Error, Result};

/// The members with one key.
#[derive(Default)]
struct KeyMembers<'a> {
    images: Vec<&'a Member>,
    sides: Vec<&'a Member>,
}

/// Finds the samples of a shard, and counts what belongs to none.
pub(super) fn index_shard(
    path: &Path,
    file: &File,
    length: u64,
    kind: SampleKind,
) -> Result<(Vec<Sample>, Strays)> {
    let Members {
        files, mut strays, ..
    } = Members::read(path, file, length)?;
    let shard = IndexedShard { path, file, kind };
    let mut samples = Vec::new();
    for (key, members) in by_key(&files, kind) {
        match shard.sample(key, &members)? {
            Some(sample) => samples.push(sample),
            // What webdataset would pass on without anything that is read here.
            None => members.sides.iter().for_each(|side| strays.add(&side.name)),
        }
    }
    Ok((samples, strays))
}

/// The members of each key, in the order of the keys' first ones.
fn by_key(files: &[Member], kind: SampleKind) -> Vec<(&str, KeyMembers<'_>)> {
    let mut all: Vec<(&str, KeyMembers)> = Vec::new();
    let mut positions: HashMap<&str, usize> = HashMap::new();
    for member in files {
        let position = *positions.entry(member.key()).or_insert_with(|| {
            all.push((member.key(), KeyMembers::default()));
            all.len() - 1
        });
        let members = &mut all[position].1;
        if is_image(&member.name) {
            members.images.push(member);
        } else if kind.sides().contains(&member.ending().as_str()) {
            members.sides.push(member);
        }
    }
    all
}

/// A shard that is indexed.
#[derive(Clone, Copy)]
struct IndexedShard<'a> {
    path: &'a Path,
    file: &'a File,
    kind: SampleKind,
}

impl IndexedShard<'_> {
    /// The sample of a key; None where it has neither an image nor a text that is read.
    fn sample(self, key: &str, members: &KeyMembers) -> Result<Option<Sample>> {
        let wrong = |reason| Error::data(self.path, reason);
        let image = one_image(key, &members.images).map_err(wrong)?;
        let sides = self.sides(key, &members.sides)?;
        if image.is_some() && sides.is_empty() && !self.is_loose() {
            return Err(wrong(format!(
                "sample {key} has no {key}.cls, .txt or .npy"
            )));
        }
        if image.is_none() && (sides.is_empty() || !self.is_loose()) {
            return Ok(None);
        }
        let (offset, size) = image.map_or((0, 0), |image| (image.offset, image.size));
        Ok(Some(Sample {
            key: key.to_owned(),
            offset,
            size,
            sides,
        }))
    }

    /// Whether a sample may lack what goes with its image.
    fn is_loose(self) -> bool {
        matches!(self.kind, SampleKind::Anything)
    }

    /// What goes with the image; a text of its own comes before what is told of it.
    fn sides(self, key: &str, members: &[&Member]) -> Result<Vec<Side>> {
        let wrong = |reason| Error::data(self.path, reason);
        let mut sides: Vec<(String, Side)> = Vec::new();
        for member in members {
            match read_side(&member.ending(), &self.bytes(member)?, self.kind) {
                Ok(side) => {
                    if sides.iter().any(|(ending, _)| *ending == member.ending()) {
                        return Err(wrong(twice(key, member)));
                    }
                    sides.push((member.ending(), side));
                }
                // A sample without its text is broken where a text is wanted, and counted there.
                Err(_) if self.is_loose() => {}
                Err(reason) => return Err(wrong(format!("{}: {reason}", member.name))),
            }
        }
        sides.sort_by_key(|(ending, _)| ending == "json");
        let mut sides: Vec<Side> = sides.into_iter().map(|(_, side)| side).collect();
        sides.retain(|side| *side != Side::Captions(Vec::new()));
        if self.is_loose() {
            sides.truncate(1);
        }
        Ok(sides)
    }

    /// The bytes of a member, no more than one too many.
    fn bytes(self, member: &Member) -> Result<Vec<u8>> {
        let mut bytes = vec![0; member.size.min(MAX_SIDE + 1) as usize];
        self.file
            .read_exact_at(&mut bytes, member.offset)
            .map_err(|e| Error::io(self.path, e))?;
        Ok(bytes)
    }
}

/// The image of a key, if it has one.
fn one_image<'a>(
    key: &str,
    images: &[&'a Member],
) -> std::result::Result<Option<&'a Member>, String> {
    if let [one, other, ..] = images {
        let (first, second) = (&one.name, &other.name);
        if first.eq_ignore_ascii_case(second) {
            return Err(twice(key, one));
        }
        return Err(format!(
            "sample {key} has two images, {first} and {second}: a key ends at the first dot of a name"
        ));
    }
    let image = images.first().copied();
    if let Some(image) = image.filter(|image| image.size > MAX_IMAGE) {
        return Err(format!("{key}: an image of {} bytes", image.size));
    }
    Ok(image)
}

fn twice(key: &str, member: &Member) -> String {
    format!("sample {key} has two members {}", member.ending())
}
