//! Tar shards: of tasks in the layout of clip-benchmark, `nshards.txt` and `<i>.tar`, members
//! `KEY.webp` with `KEY.cls`, `.txt` or `.npy`; of corpora under any names, members `KEY.jpg` and
//! `KEY.txt` or `KEY.json`, either alone or both.
//!
//! The shards are indexed once, and the index is kept in the user's cache; images are read where
//! they lie, nothing is unpacked.

mod count;
mod fields;
mod index;
mod members;
mod sample;
mod side;

pub(super) use count::missing_shard;
pub(super) use fields::json_fields;
pub(super) use side::SampleKind;

use std::{
    collections::HashMap,
    fs::File,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use flava_base::{Stamp, path_text};
use serde::{Deserialize, Serialize};

use self::{count::shard_count, index::index_shard, members::Strays, sample::Sample};
use super::{
    class_names::read_class_names,
    dataset::{Dataset, Example, ImageOrigin, Label},
    index_cache,
    reading::{MAX_IMAGE, allow_open_files},
};
use crate::{Error, Result};

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
    pub(super) fn open(folder: &Path, kind: SampleKind, root: &Path) -> Result<Self> {
        let paths = (0..shard_count(folder)?)
            .map(|index| folder.join(format!("{index}.tar")))
            .collect();
        let mut dataset = Self::of_files(paths, folder, kind)?;
        if matches!(kind, SampleKind::Labels(_)) {
            dataset.class_names = read_class_names(root)?.unwrap_or_default();
        }
        Ok(dataset)
    }

    /// Opens the shards of a corpus.
    pub(super) fn open_shards(paths: Vec<PathBuf>) -> Result<Self> {
        let first = paths.first().cloned().unwrap_or_default();
        Self::of_files(paths, &first, SampleKind::Anything)
    }

    /// `indexed` is the path that the index is kept for.
    fn of_files(paths: Vec<PathBuf>, indexed: &Path, kind: SampleKind) -> Result<Self> {
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
        for path in paths {
            let (file, metadata) = flava_base::open(&path)?;
            let stamp = Stamp::now(&metadata);
            let known = known.remove(&path_text(&path));
            let shard = if let Some(shard) = known.filter(|shard| shard.stamp.holds(&stamp)) {
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
            dataset.add(path, file, shard, kind)?;
        }
        if fresh {
            dataset.store_index(indexed, &what);
        }
        Ok(dataset)
    }

    fn add(&mut self, path: PathBuf, file: File, shard: Shard, kind: SampleKind) -> Result<()> {
        for sample in &shard.samples {
            sample.check(&path, kind)?;
        }
        self.starts.push(self.len() + shard.samples.len());
        self.origins.push([path.clone()].into());
        self.files.push((path, file));
        self.shards.push(shard);
        Ok(())
    }

    fn store_index(&self, indexed: &Path, what: &str) {
        let names = self.files.iter().map(|(path, _)| path_text(path));
        let shards: HashMap<String, &Shard> = names.zip(&self.shards).collect();
        index_cache::store(indexed, what, &shards);
    }

    fn find(&self, index: usize) -> (usize, &Sample) {
        let shard = self.starts.partition_point(|start| *start <= index) - 1;
        (
            shard,
            &self.shards[shard].samples[index - self.starts[shard]],
        )
    }
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
        let mut bytes = vec![0; sample.size.min(MAX_IMAGE) as usize];
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
