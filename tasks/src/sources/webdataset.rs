//! Tar shards: of tasks in the layout of clip-benchmark, `nshards.txt` and `<i>.tar`, members `KEY.webp` with `KEY.cls`, `.txt` or
//! `.npy`; of corpora under any names, members `KEY.jpg` and `KEY.txt` or `KEY.json`, either alone or both.
//!
//! The shards are indexed once, and the index is kept in the user's cache; pictures are read where they lie, nothing is unpacked.

use std::{
    collections::{HashMap, HashSet},
    fs::{self, File},
    io::Read,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use serde::{Deserialize, Serialize};
use tar::{Archive, EntryType};

use super::{Dataset, Example, Label, allow_open_files, checked_label, class_names::read_class_names, index_cache, listing::MAX_PICTURE};
use crate::{Error, Result};

/// Endings of pictures.
const PICTURES: [&str; 4] = ["webp", "png", "jpg", "jpeg"];
/// How compressed files begin.
const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTANDARD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Largest member that is no picture.
const MAX_SIDE: u64 = 1 << 20;
/// Most shards that are looked for.
const MAX_SHARDS: usize = 1 << 20;
/// Members of a tar file start at multiples of this.
const BLOCK: u64 = 512;

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

/// What lies beside a picture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Side {
    Class(i64),
    Classes(Vec<u32>),
    Captions(Vec<String>),
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
    size: u64,
    /// Since 1970, in nanoseconds.
    modified: u128,
    samples: Vec<Sample>,
}

impl Shard {
    /// Whether all pictures lie inside the file: what was stored may have been spoilt.
    fn is_sound(&self) -> bool {
        let inside = |s: &Sample| s.size <= MAX_PICTURE && s.offset.checked_add(s.size).is_some_and(|end| end <= self.size);
        self.samples.iter().all(inside)
    }
}

/// The shards of one split.
pub(super) struct Webdataset {
    files: Vec<(PathBuf, File)>,
    shards: Vec<Shard>,
    /// Index of each shard's first sample.
    starts: Vec<usize>,
    class_names: Vec<String>,
}

impl Webdataset {
    /// Opens the shards in `folder`, indexing those that changed since the last time.
    pub(super) fn open(folder: &Path, kind: Kind, root: &Path) -> Result<Self> {
        let paths = (0..shard_count(folder)?).map(|index| folder.join(format!("{index}.tar"))).collect();
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
        let mut known: Vec<Shard> = index_cache::load(indexed).unwrap_or_default();
        let mut dataset = Self { files: Vec::new(), shards: Vec::new(), starts: vec![0], class_names: Vec::new() };
        let mut fresh = false;
        for (index, path) in paths.into_iter().enumerate() {
            let file = File::open(&path).map_err(|e| Error::io(&path, e))?;
            let metadata = file.metadata().map_err(|e| Error::io(&path, e))?;
            let modified = metadata.modified().ok().and_then(|time| Some(time.duration_since(UNIX_EPOCH).ok()?.as_nanos())).unwrap_or(0);
            let unchanged =
                known.get_mut(index).filter(|shard| shard.size == metadata.len() && shard.modified == modified && shard.is_sound());
            let shard = if let Some(shard) = unchanged {
                Shard { samples: std::mem::take(&mut shard.samples), ..*shard }
            } else {
                fresh = true;
                Shard { size: metadata.len(), modified, samples: index_shard(&path, &file, metadata.len(), kind)? }
            };
            check_samples(&path, &shard.samples, kind)?;
            dataset.starts.push(dataset.starts[index] + shard.samples.len());
            dataset.files.push((path, file));
            dataset.shards.push(shard);
        }
        if fresh {
            index_cache::store(indexed, &dataset.shards);
        }
        Ok(dataset)
    }

    fn find(&self, index: usize) -> (usize, &Sample) {
        let shard = self.starts.partition_point(|start| *start <= index) - 1;
        (shard, &self.shards[shard].samples[index - self.starts[shard]])
    }
}

/// Finds the samples of a shard.
fn index_shard(path: &Path, file: &File, length: u64, kind: Kind) -> Result<Vec<Sample>> {
    let mut first = [0; 4];
    if FileExt::read_at(file, &mut first, 0).is_ok() && (first.starts_with(&GZIP) || first == ZSTANDARD) {
        return Err(Error::data(path, "is compressed; shards are plain tar archives"));
    }
    let loose = matches!(kind, Kind::Anything);
    let mut keys: Vec<String> = Vec::new();
    let mut pictures: Vec<(String, u64, u64)> = Vec::new();
    let mut shown: HashSet<String> = HashSet::new();
    let mut sides: HashMap<String, Vec<Side>> = HashMap::new();
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
        end = offset + size.next_multiple_of(BLOCK);
        let member = entry.header().entry_type();
        if member == EntryType::Directory {
            continue;
        }
        if !member.is_file() || name.starts_with('/') || name.split(['/', '\\']).any(|part| part == "..") {
            return Err(Error::data(path, format!("the member {name:?} is a link or leads out of the archive")));
        }
        // As webdataset has it: the key ends at the first dot of the file's name.
        let (folder, base) = name.rsplit_once('/').map_or(("", name.as_str()), |(folder, base)| (folder, base));
        let (stem, ending) = base.split_once('.').unwrap_or((base, ""));
        let key = if folder.is_empty() { stem.to_owned() } else { format!("{folder}/{stem}") };
        let twice = || Error::data(path, format!("sample {key} has two members {ending}"));
        if PICTURES.contains(&ending.to_ascii_lowercase().as_str()) {
            if !shown.insert(key.clone()) {
                return Err(twice());
            }
            pictures.push((key, offset, size));
        } else if (if loose { &["txt", "json"][..] } else { &["cls", "txt", "npy"] }).contains(&ending) {
            let mut bytes = Vec::new();
            entry.by_ref().take(MAX_SIDE + 1).read_to_end(&mut bytes).map_err(|e| broken(&name, &e))?;
            let side = match read_side(ending, &bytes) {
                Ok(side) => side,
                Err(_) if loose => continue, // a sample without its text is broken where a text is wanted, and counted there
                Err(reason) => return Err(Error::data(path, format!("{name}: {reason}"))),
            };
            let known = sides.entry(key.clone()).or_default();
            keys.push(key.clone());
            // A text of its own comes before what is told of it.
            if ending == "json" && (side == Side::Captions(Vec::new()) || !known.is_empty()) {
                continue;
            }
            if loose {
                known.clear();
            }
            if known.iter().any(|other| std::mem::discriminant(other) == std::mem::discriminant(&side)) {
                return Err(twice());
            }
            known.push(side);
        }
        last = name;
    }
    // An archive ends with empty blocks; without one it was cut between two members.
    if length < end + BLOCK {
        return Err(broken(&last, &"its end is missing"));
    }
    let mut sample = |(key, offset, size): (String, u64, u64)| {
        if size > MAX_PICTURE {
            return Err(Error::data(path, format!("{key}: a picture of {size} bytes")));
        }
        let missing = || Error::data(path, format!("sample {key} has no {key}.cls, .txt or .npy"));
        let sides = sides.remove(&key).or_else(|| loose.then(Vec::new)).ok_or_else(missing)?;
        Ok(Sample { key, offset, size, sides })
    };
    let mut samples = pictures.into_iter().map(&mut sample).collect::<Result<Vec<_>>>()?;
    if loose {
        let alone = keys.into_iter().filter_map(|key| Some(Sample { sides: sides.remove(&key)?, key, offset: 0, size: 0 }));
        samples.extend(alone.filter(|sample| !sample.captions().is_empty()));
    }
    Ok(samples)
}

/// A value, or why the member has none.
type Parsed<T> = std::result::Result<T, String>;

fn read_side(ending: &str, bytes: &[u8]) -> Parsed<Side> {
    if bytes.len() as u64 > MAX_SIDE {
        return Err("is too large".into());
    }
    if ending == "npy" {
        return hot_entries(bytes).map(Side::Classes);
    }
    let text = std::str::from_utf8(bytes).map_err(|e| e.to_string())?;
    match ending {
        "json" => {
            let object: serde_json::Value = serde_json::from_str(text).map_err(|e| e.to_string())?;
            let texts = ["caption", "text"].map(|name| super::lines::texts(&object[name]));
            Ok(Side::Captions(texts.into_iter().find(|texts| !texts.is_empty()).unwrap_or_default()))
        }
        "cls" => text.trim().parse().map(Side::Class).map_err(|_| format!("{text:?} is no label")),
        _ => Ok(Side::Captions(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect())),
    }
}

/// The places of a vector that are not zero.
fn hot_entries(bytes: &[u8]) -> Parsed<Vec<u32>> {
    fn hot<T: npyz::Deserialize + Default + PartialEq>(file: npyz::NpyFile<&[u8]>) -> Parsed<Vec<u32>> {
        let values: Vec<T> = file.into_vec().map_err(|e| e.to_string())?;
        Ok((0u32..).zip(values).filter(|(_, value)| *value != T::default()).map(|(place, _)| place).collect())
    }
    let file = npyz::NpyFile::new(bytes).map_err(|e| e.to_string())?;
    let kind = file.dtype().descr();
    match kind.trim_matches(['\'', '<', '|', '=', '>']) {
        "i8" => hot::<i64>(file),
        "i4" => hot::<i32>(file),
        "u1" => hot::<u8>(file),
        "i1" => hot::<i8>(file),
        "f4" => hot::<f32>(file),
        "f8" => hot::<f64>(file),
        "b1" => hot::<bool>(file),
        other => Err(format!("a vector of {other}")),
    }
}

impl Sample {
    fn captions(&self) -> &[String] {
        self.sides
            .iter()
            .find_map(|side| if let Side::Captions(captions) = side { Some(captions.as_slice()) } else { None })
            .unwrap_or_default()
    }

    fn label(&self) -> Label {
        let label = |side: &Side| match side {
            Side::Class(label) => Some(Label::Class(*label as usize)),
            Side::Classes(labels) => Some(Label::Classes(labels.iter().map(|label| *label as usize).collect())),
            Side::Captions(_) => None,
        };
        self.sides.iter().find_map(label).unwrap_or(Label::None)
    }
}

fn check_samples(path: &Path, samples: &[Sample], kind: Kind) -> Result<()> {
    for sample in samples {
        let key = &sample.key;
        let class = sample.sides.iter().find_map(|side| if let Side::Class(label) = side { Some(*label) } else { None });
        let wrong = match (kind, class, sample.label()) {
            (Kind::Labels(classes), Some(label), _) => {
                checked_label(path, &format!("{key}.cls"), label, classes)?;
                None
            }
            (Kind::Labels(classes), None, Label::Classes(labels)) => {
                labels.iter().find(|label| **label >= classes).map(|label| format!("label {label} is none of the {classes} classes"))
            }
            (Kind::Labels(_), ..) => Some("there are captions where a label should be".into()),
            (Kind::Anything, ..) => None,
            (Kind::Captions, ..) => sample.captions().is_empty().then(|| "there are no captions".into()),
        };
        if let Some(reason) = wrong {
            return Err(Error::data(path, format!("sample {key}: {reason}")));
        }
    }
    Ok(())
}

/// From `nshards.txt`, or counted where there is none.
fn shard_count(folder: &Path) -> Result<usize> {
    let path = folder.join("nshards.txt");
    if path.exists() {
        let text = fs::read_to_string(&path).map_err(|e| Error::io(&path, e))?;
        let count = text.trim().parse().ok().filter(|count| *count <= MAX_SHARDS);
        return count.ok_or_else(|| Error::data(&path, format!("{:?} is no number of shards", text.trim())));
    }
    if !folder.is_dir() {
        return Err(Error::data(folder, "is no folder of shards"));
    }
    Ok((0..MAX_SHARDS).take_while(|i| folder.join(format!("{i}.tar")).exists()).count())
}

/// The first shard that is not there, if one is missing; the number of them where that cannot be read is for opening to tell.
pub(super) fn missing_shard(folder: &Path) -> Option<String> {
    let count = if folder.is_dir() { shard_count(folder).unwrap_or(0) } else { 1 };
    (0..count).map(|index| format!("{index}.tar")).find(|name| !folder.join(name).exists())
}

impl Dataset for Webdataset {
    fn len(&self) -> usize {
        self.starts[self.starts.len() - 1]
    }

    fn id(&self, index: usize) -> String {
        let (shard, sample) = self.find(index);
        let name = self.files[shard].0.file_name().unwrap_or_default().to_string_lossy();
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

    fn get(&self, index: usize) -> Result<Example> {
        let (shard, sample) = self.find(index);
        let (path, file) = &self.files[shard];
        let mut bytes = vec![0; sample.size as usize];
        file.read_exact_at(&mut bytes, sample.offset).map_err(|e| Error::io(path, e))?;
        let image = Some(bytes).filter(|bytes| !bytes.is_empty());
        Ok(Example { id: self.id(index), image, texts: sample.captions().to_vec(), label: sample.label() })
    }

    fn texts_of(&self, index: usize) -> Result<Vec<String>> {
        Ok(self.find(index).1.captions().to_vec())
    }
}
