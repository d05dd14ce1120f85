//! Tar shards: of tasks in the layout of clip-benchmark, `nshards.txt` and `<i>.tar`, members
//! `KEY.webp` with `KEY.cls`, `.txt` or `.npy`; of corpora under any names, members `KEY.jpg` and
//! `KEY.txt` or `KEY.json`, either alone or both.
//!
//! The shards are indexed once, and the index is kept in the user's cache; pictures are read where
//! they lie, nothing is unpacked.

mod index;
mod side;

use std::{
    collections::HashMap,
    fs::{self, File},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use flava_base::{Stamp, path_text};
use serde::{Deserialize, Serialize};

use self::{
    index::{Strays, index_shard},
    side::Side,
};
use super::{
    Dataset, Example, ImageOrigin, Label, allow_open_files, checked_label,
    class_names::read_class_names, index_cache, listing::MAX_PICTURE,
};
use crate::{Error, Result};

/// Most shards that are looked for.
const MAX_SHARDS: usize = 1 << 20;

/// What goes with a picture.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// Of so many classes.
    Labels(usize),
    /// A caption on each line.
    Captions,
    /// Nothing, or a text; a text may also be without a picture.
    Anything,
}

impl Kind {
    /// Endings of the members that are read beside images.
    fn sides(self) -> &'static [&'static str] {
        match self {
            Self::Labels(_) | Self::Captions => &["cls", "txt", "npy"],
            Self::Anything => &["txt", "json"],
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Sample {
    key: String,
    offset: u64,
    size: u64,
    sides: Vec<Side>,
}

/// One shard and what identifies the file that was indexed.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Shard {
    stamp: Stamp,
    samples: Vec<Sample>,
    strays: Strays,
}

/// The shards of one split.
pub(super) struct Webdataset {
    files: Vec<(PathBuf, File)>,
    shards: Vec<Shard>,
    /// Index of each shard's first sample.
    starts: Vec<usize>,
    class_names: Vec<String>,
    /// The path of each file, for the origins of images.
    origins: Vec<Arc<[PathBuf]>>,
}

impl Webdataset {
    /// Opens the shards in `folder`, indexing those that changed since the last time.
    pub(super) fn open(folder: &Path, kind: Kind, root: &Path) -> Result<Self> {
        let paths = (0..shard_count(folder)?)
            .map(|index| folder.join(format!("{index}.tar")))
            .collect();
        let mut dataset = Self::of_files(paths, folder, kind)?;
        if matches!(kind, Kind::Labels(_)) {
            dataset.class_names = read_class_names(root)?.unwrap_or_default();
        }
        Ok(dataset)
    }

    /// Opens the shards of a corpus.
    pub(super) fn open_shards(paths: Vec<PathBuf>) -> Result<Self> {
        let first = paths.first().cloned().unwrap_or_default();
        Self::of_files(paths, &first, Kind::Anything)
    }

    /// `indexed` is the path that the index is kept for.
    fn of_files(paths: Vec<PathBuf>, indexed: &Path, kind: Kind) -> Result<Self> {
        allow_open_files(paths.len());
        let what = format!("{kind:?}");
        let mut known: HashMap<String, Shard> =
            index_cache::load(indexed, &what).unwrap_or_default();
        let mut dataset = Self {
            files: Vec::new(),
            shards: Vec::new(),
            starts: vec![0],
            class_names: Vec::new(),
            origins: Vec::new(),
        };
        let mut fresh = false;
        for (index, path) in paths.into_iter().enumerate() {
            let (file, metadata) = flava_base::open(&path)?;
            let stamp = Stamp::now(&metadata);
            let shard = if let Some(shard) = known
                .remove(&path_text(&path))
                .filter(|shard| shard.stamp.holds(&stamp))
            {
                shard
            } else {
                fresh = true;
                let (samples, strays) = index_shard(&path, &file, metadata.len(), kind)?;
                Shard {
                    stamp,
                    samples,
                    strays,
                }
            };
            check_samples(&path, &shard.samples, kind)?;
            dataset
                .starts
                .push(dataset.starts[index] + shard.samples.len());
            dataset.origins.push([path.clone()].into());
            dataset.files.push((path, file));
            dataset.shards.push(shard);
        }
        if fresh {
            let names = dataset.files.iter().map(|(path, _)| path_text(path));
            index_cache::store(
                indexed,
                &what,
                &names.zip(&dataset.shards).collect::<HashMap<_, _>>(),
            );
        }
        Ok(dataset)
    }

    fn find(&self, index: usize) -> (usize, &Sample) {
        let shard = self.starts.partition_point(|start| *start <= index) - 1;
        (
            shard,
            &self.shards[shard].samples[index - self.starts[shard]],
        )
    }
}

impl Sample {
    fn captions(&self) -> &[String] {
        self.sides
            .iter()
            .find_map(|side| {
                if let Side::Captions(captions) = side {
                    Some(captions.as_slice())
                } else {
                    None
                }
            })
            .unwrap_or_default()
    }

    fn label(&self) -> Label {
        let label = |side: &Side| match side {
            Side::Class(label) => Some(Label::Class(*label as usize)),
            Side::Classes(labels) => Some(Label::Classes(
                labels.iter().map(|label| *label as usize).collect(),
            )),
            Side::Captions(_) => None,
        };
        self.sides.iter().find_map(label).unwrap_or(Label::None)
    }
}

fn check_samples(path: &Path, samples: &[Sample], kind: Kind) -> Result<()> {
    for sample in samples {
        let key = &sample.key;
        let class = sample.sides.iter().find_map(|side| {
            if let Side::Class(label) = side {
                Some(*label)
            } else {
                None
            }
        });
        let wrong = match (kind, class, sample.label()) {
            (Kind::Labels(classes), Some(label), _) => {
                checked_label(path, &format!("{key}.cls"), label, classes)?;
                None
            }
            (Kind::Labels(classes), None, Label::Classes(labels)) => labels
                .iter()
                .find(|label| **label >= classes)
                .map(|label| format!("label {label} is none of the {classes} classes")),
            (Kind::Labels(_), ..) => Some("there are captions where a label should be".into()),
            (Kind::Anything, ..) => None,
            (Kind::Captions, ..) => sample
                .captions()
                .is_empty()
                .then(|| "there are no captions".into()),
        };
        if let Some(reason) = wrong {
            return Err(Error::data(path, format!("sample {key}: {reason}")));
        }
    }
    Ok(())
}

/// How many shards a folder has: `0.tar`, `1.tar` and so on, as many as `nshards.txt` says where it
/// is there.
fn shard_count(folder: &Path) -> Result<usize> {
    if !folder.is_dir() {
        return Err(Error::data(folder, "is no folder of shards"));
    }
    let number = |name: &str| {
        name.strip_suffix(".tar")
            .filter(|stem| !stem.starts_with('0') || stem.len() == 1)?
            .parse::<usize>()
            .ok()
    };
    let mut there = 0;
    for entry in fs::read_dir(folder).map_err(|e| Error::io(folder, e))? {
        let name = entry.map_err(|e| Error::io(folder, e))?.file_name();
        there = there.max(
            name.to_str()
                .and_then(number)
                .filter(|number| *number < MAX_SHARDS)
                .map_or(0, |number| number + 1),
        );
    }
    let path = folder.join("nshards.txt");
    if !flava_base::is_there(&path) {
        return Ok(there);
    }
    let text = flava_base::read_text(&path, 1 << 10)?;
    let told: Option<usize> = text
        .trim()
        .parse()
        .ok()
        .filter(|count| *count <= MAX_SHARDS);
    let told = told
        .ok_or_else(|| Error::data(&path, format!("{:?} is no number of shards", text.trim())))?;
    if there > told {
        return Err(Error::data(
            &path,
            format!(
                "says that there are {told} shards, but there is a {}.tar",
                there - 1
            ),
        ));
    }
    Ok(told)
}

/// The first shard that is not there, if one is missing; the number of them where that cannot be
/// read is for opening to tell.
pub(super) fn missing_shard(folder: &Path) -> Option<String> {
    let count = if folder.is_dir() {
        shard_count(folder).unwrap_or(0)
    } else {
        1
    };
    (0..count.max(1))
        .map(|index| format!("{index}.tar"))
        .find(|name| !flava_base::is_there(&folder.join(name)))
}

impl Dataset for Webdataset {
    fn len(&self) -> usize {
        self.starts[self.starts.len() - 1]
    }

    fn id(&self, index: usize) -> String {
        let (shard, sample) = self.find(index);
        let name = self.files[shard]
            .0
            .file_name()
            .unwrap_or_default()
            .to_string_lossy();
        format!("{name}/{}", sample.key)
    }

    fn label(&self, index: usize) -> Label {
        self.find(index).1.label()
    }

    fn texts(&self, index: usize) -> usize {
        self.find(index).1.captions().len()
    }

    fn class_names(&self) -> Option<&[String]> {
        Some(self.class_names.as_slice()).filter(|names| !names.is_empty())
    }

    fn notes(&self) -> Vec<String> {
        let mut all = Strays::default();
        self.shards.iter().for_each(|shard| all.join(&shard.strays));
        let note = || {
            format!(
                "{} members of shards belong to no sample, such as {}",
                all.count, all.first
            )
        };
        (all.count > 0).then(note).into_iter().collect()
    }

    fn image_origin(&self, index: usize) -> ImageOrigin {
        let (shard, sample) = self.find(index);
        if sample.size == 0 {
            return ImageOrigin::None;
        }
        ImageOrigin::Part {
            files: Arc::clone(&self.origins[shard]),
            at: sample.offset,
        }
    }

    fn get(&self, index: usize) -> Result<Example> {
        let (shard, sample) = self.find(index);
        let (path, file) = &self.files[shard];
        let mut bytes = vec![0; sample.size.min(MAX_PICTURE) as usize];
        file.read_exact_at(&mut bytes, sample.offset)
            .map_err(|e| Error::io(path, e))?;
        let image = Some(bytes).filter(|bytes| !bytes.is_empty());
        Ok(Example {
            id: self.id(index),
            image,
            texts: sample.captions().to_vec(),
            label: sample.label(),
        })
    }

    fn texts_of(&self, index: usize) -> Result<Vec<String>> {
        Ok(self.find(index).1.captions().to_vec())
    }
}
