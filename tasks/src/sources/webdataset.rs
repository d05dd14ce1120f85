//! Tar shards in the layout of clip-benchmark: `nshards.txt` and `<i>.tar`, members `KEY.webp` and `KEY.cls`.
//!
//! The shards are indexed once; pictures are read where they lie, nothing is unpacked.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Read,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use tar::Archive;

use super::{Dataset, Example, Label, checked_label};
use crate::{Error, Result};

/// Endings of pictures.
const PICTURES: [&str; 4] = ["webp", "png", "jpg", "jpeg"];
/// Longest label text.
const MAX_LABEL: u64 = 64;
/// Most shards that are looked for without `nshards.txt`.
const MAX_SHARDS: usize = 1 << 20;
/// Members of a tar file start at multiples of this.
const BLOCK: u64 = 512;
/// Largest picture file.
const MAX_PICTURE: u64 = 1 << 28;

struct Sample {
    key: String,
    shard: usize,
    offset: u64,
    size: u64,
    label: usize,
}

/// The shards of one split.
pub(super) struct Webdataset {
    shards: Vec<(PathBuf, File)>,
    samples: Vec<Sample>,
}

impl Webdataset {
    /// Indexes the shards in `folder`.
    pub(super) fn open(folder: &Path, classes: usize) -> Result<Self> {
        let mut dataset = Self { shards: Vec::new(), samples: Vec::new() };
        for index in 0..shard_count(folder)? {
            let path = folder.join(format!("{index}.tar"));
            let file = File::open(&path).map_err(|e| Error::io(&path, e))?;
            dataset.index(&path, &file, index, classes)?;
            dataset.shards.push((path, file));
        }
        Ok(dataset)
    }

    fn index(&mut self, path: &Path, file: &File, shard: usize, classes: usize) -> Result<()> {
        let length = file.metadata().map_err(|e| Error::io(path, e))?.len();
        let mut pictures: BTreeMap<String, (u64, u64)> = BTreeMap::new();
        let mut labels: BTreeMap<String, usize> = BTreeMap::new();
        let mut last = String::from("its start");
        let mut end = 0;
        let mut archive = Archive::new(file);
        let broken = |last: &str, e: &dyn ToString| Error::data(path, format!("is cut off or broken after {last}: {}", e.to_string()));
        for entry in archive.entries_with_seek().map_err(|e| broken(&last, &e))? {
            let mut entry = entry.map_err(|e| broken(&last, &e))?;
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let (offset, size) = (entry.raw_file_position(), entry.size());
            if offset.checked_add(size).is_none_or(|end| end > length) {
                return Err(Error::data(path, format!("is cut off inside {name}")));
            }
            let (key, ending) = name.rsplit_once('.').unwrap_or((&name, ""));
            if PICTURES.contains(&ending) {
                pictures.insert(key.to_owned(), (offset, size));
            } else if ending == "cls" {
                let mut text = String::new();
                entry.by_ref().take(MAX_LABEL).read_to_string(&mut text).map_err(|e| broken(&name, &e))?;
                let label = text.trim().parse().map_err(|_| Error::data(path, format!("{name}: {text:?} is no label")))?;
                labels.insert(key.to_owned(), checked_label(path, &name, label, classes)?);
            }
            last = name;
            end = offset + size.next_multiple_of(BLOCK);
        }
        // An archive ends with empty blocks; without one it was cut between two members.
        if length < end + BLOCK {
            return Err(broken(&last, &"its end is missing"));
        }
        for (key, (offset, size)) in pictures {
            let label = labels.get(&key).ok_or_else(|| Error::data(path, format!("sample {key} has no {key}.cls")))?;
            self.samples.push(Sample { label: *label, key, shard, offset, size });
        }
        Ok(())
    }
}

/// From `nshards.txt`, or counted where there is none.
fn shard_count(folder: &Path) -> Result<usize> {
    let path = folder.join("nshards.txt");
    if path.exists() {
        let text = fs::read_to_string(&path).map_err(|e| Error::io(&path, e))?;
        return text.trim().parse().map_err(|_| Error::data(&path, format!("{:?} is no number of shards", text.trim())));
    }
    if !folder.is_dir() {
        return Err(Error::data(folder, "is no folder of shards"));
    }
    Ok((0..MAX_SHARDS).take_while(|i| folder.join(format!("{i}.tar")).exists()).count())
}

impl Dataset for Webdataset {
    fn len(&self) -> usize {
        self.samples.len()
    }

    fn id(&self, index: usize) -> String {
        let sample = &self.samples[index];
        format!("{}.tar/{}", sample.shard, sample.key)
    }

    fn label(&self, index: usize) -> Label {
        Label::Class(self.samples[index].label)
    }

    fn get(&self, index: usize) -> Result<Example> {
        let sample = &self.samples[index];
        let (path, file) = &self.shards[sample.shard];
        if sample.size > MAX_PICTURE {
            return Err(Error::data(path, format!("{}: a picture of {} bytes", sample.key, sample.size)));
        }
        let mut bytes = vec![0; sample.size as usize];
        file.read_exact_at(&mut bytes, sample.offset).map_err(|e| Error::io(path, e))?;
        Ok(Example { id: self.id(index), image: Some(bytes), texts: Vec::new(), label: self.label(index) })
    }
}
