//! Features on disk: a folder for each kind of feature of each set of rows, in shards that are
//! whole or not there.
//!
//! A folder's name is a digest of everything that decides the numbers (weights, what is read,
//! preprocessing, precision, contents of the rows), so that whatever asks for the same features
//! finds them: probe, neighbours, zero-shot classification, retrieval. The key stands in full in
//! each shard too, behind it a digest of all: a shard that is damaged, or lies in another's place,
//! is made again.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use flava_base::{hex, is_there, write_atomic};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tch::{Device, Kind, Tensor};

use crate::Result;

/// Rows of one shard.
pub(crate) const SHARD: usize = 512;
/// Raised when the numbers that the program makes of the same inputs change.
const VERSION: u32 = 2;
/// Largest shard that is read: 512 rows of a few thousand numbers are 10 MB.
const MAX_BYTES: u64 = 1 << 30;
/// The name of a shard's description in its metadata.
const DESCRIPTION: &str = "shard";

/// What features are of; all of it decides the numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct About {
    /// Digest of the weights.
    pub(crate) weights: String,
    /// Such as `image_cls`.
    pub(crate) feature: String,
    /// How images became pixels, and texts tokens.
    pub(crate) preparation: String,
    /// Precision, kind of device, and what the environment changes about either.
    pub(crate) precision: String,
    /// Digest of the contents of the rows or texts.
    pub(crate) data: String,
    /// How they are called.
    pub(crate) name: String,
    /// How many there are.
    pub(crate) rows: usize,
    /// f32 or f16.
    pub(crate) stored: String,
}

impl About {
    /// Without what is only for people.
    pub(crate) fn key(&self) -> String {
        let named = Self {
            name: String::new(),
            ..self.clone()
        };
        format!(
            "{VERSION} {}",
            serde_json::to_string(&named).unwrap_or_default()
        )
    }
}

/// A folder of features.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    folder: PathBuf,
}

/// The shards of one kind of feature.
pub(crate) struct Shards {
    folder: PathBuf,
    about: About,
}

/// Features of some rows: the positions of those that gave any, and their numbers.
pub(crate) struct FeatureShard {
    pub(crate) positions: Vec<usize>,
    /// \[places, width\], f32.
    pub(crate) values: Tensor,
}

/// What stands in a shard beside its numbers.
#[derive(Serialize, Deserialize)]
struct Description {
    key: String,
    shard: usize,
    #[serde(rename = "places")]
    positions: Vec<usize>,
    /// Of all of these, of shape and type, and of the numbers.
    sha256: String,
}

impl Description {
    fn digest(&self, values: &TensorView) -> String {
        let mut digest = Sha256::new();
        digest.update(format!(
            "{}\n{} {:?} {:?} {:?}\n",
            self.key,
            self.shard,
            self.positions,
            values.dtype(),
            values.shape()
        ));
        digest.update(values.data());
        hex(&digest.finalize())
    }
}

impl Store {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// The shards of such features.
    pub(crate) fn shards(&self, about: &About) -> Shards {
        let digest = Sha256::digest(about.key());
        Shards {
            folder: self.folder.join(hex(&digest[..16])),
            about: about.clone(),
        }
    }

    /// What is stored, the longest unused first: folder, what it holds, bytes, time since its last
    /// use.
    pub(crate) fn entries(&self) -> Vec<StoreEntry> {
        let Ok(folders) = fs::read_dir(&self.folder) else {
            return Vec::new();
        };
        let mut entries: Vec<StoreEntry> = folders
            .filter_map(|folder| StoreEntry::read(&folder.ok()?.path()))
            .collect();
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.unused));
        entries
    }
}

/// One folder of the store.
#[derive(Clone, Debug)]
pub(crate) struct StoreEntry {
    pub(crate) folder: PathBuf,
    /// None where its description cannot be read: whatever lies there is of no use.
    pub(crate) about: Option<About>,
    pub(crate) bytes: u64,
    pub(crate) unused: Duration,
}

impl StoreEntry {
    fn read(folder: &Path) -> Option<Self> {
        let about = fs::read(folder.join("about.json")).unwrap_or_default();
        let (mut bytes, mut used) = (0, SystemTime::UNIX_EPOCH);
        for file in fs::read_dir(folder).ok()? {
            let Some(file) = file.ok().and_then(|file| file.metadata().ok()) else {
                continue;
            };
            bytes += file.len();
            used = file.modified().map_or(used, |modified| used.max(modified));
        }
        Some(Self {
            folder: folder.to_owned(),
            about: serde_json::from_slice(&about).ok(),
            bytes,
            unused: used.elapsed().unwrap_or_default(),
        })
    }
}

impl Shards {
    fn path(&self, shard: usize) -> PathBuf {
        self.folder.join(format!("{shard:06}.safetensors"))
    }

    /// Notes that the features were used: it is what pruning goes by. A store that cannot be
    /// written to is not pruned either.
    pub(crate) fn stamp(&self) {
        let about = fs::File::options()
            .append(true)
            .open(self.folder.join("about.json"));
        let _stamped = about.and_then(|file| file.set_modified(SystemTime::now()));
    }

    /// Writes a shard, whole or not at all.
    ///
    /// # Errors
    /// If the folder cannot be written to, or a number does not fit into the type that is stored.
    pub(crate) fn write(&self, shard: usize, piece: &FeatureShard) -> Result<()> {
        self.describe()?;
        let (rows, width) = piece.values.size2()?;
        let (kind, dtype) = if self.about.stored == "f16" {
            (Kind::Half, Dtype::F16)
        } else {
            (Kind::Float, Dtype::F32)
        };
        let bytes = bytes_of(&piece.values, kind)?;
        let path = self.path(shard);
        let broken = |e: &dyn std::fmt::Display| flava_base::Error::file(&path, e);
        let size = vec![rows as usize, width as usize];
        let view = TensorView::new(dtype, size, &bytes).map_err(|e| broken(&e))?;
        let description = self.description(shard, &piece.positions, &view);
        let text = serde_json::to_string(&description).map_err(|e| broken(&e))?;
        let metadata = HashMap::from([(DESCRIPTION.to_owned(), text)]);
        let file =
            safetensors::serialize([("values", view)], Some(metadata)).map_err(|e| broken(&e))?;
        Ok(write_atomic(&path, &file)?)
    }

    /// Makes the folder and says in it what it is of, where it is not there.
    fn describe(&self) -> Result<()> {
        let about = self.folder.join("about.json");
        if is_there(&about) {
            return Ok(());
        }
        fs::create_dir_all(&self.folder).map_err(|e| flava_base::Error::io(&self.folder, e))?;
        let text = serde_json::to_string_pretty(&self.about).unwrap_or_default();
        Ok(write_atomic(&about, text.as_bytes())?)
    }

    fn description(&self, shard: usize, positions: &[usize], values: &TensorView) -> Description {
        let mut description = Description {
            key: self.about.key(),
            shard,
            positions: positions.to_vec(),
            sha256: String::new(),
        };
        description.sha256 = description.digest(values);
        description
    }

    /// Reads a shard; None where it is not there.
    ///
    /// # Errors
    /// Why what is there is not this shard.
    pub(crate) fn read(&self, shard: usize) -> std::result::Result<Option<FeatureShard>, String> {
        let path = self.path(shard);
        if !is_there(&path) {
            return Ok(None);
        }
        let bytes = flava_base::read(&path, MAX_BYTES).map_err(|e| e.to_string())?;
        self.parse(shard, &bytes)
            .map(Some)
            .map_err(|reason| format!("{}: {reason}", path.display()))
    }

    fn parse(&self, shard: usize, bytes: &[u8]) -> std::result::Result<FeatureShard, &'static str> {
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(|_| "is damaged")?;
        let metadata = header.metadata().as_ref();
        let text = metadata.and_then(|metadata| metadata.get(DESCRIPTION));
        let text = text.ok_or("is no shard of features")?;
        let description: Description = serde_json::from_str(text).map_err(|_| "is damaged")?;
        let tensors = SafeTensors::deserialize(bytes).map_err(|_| "is damaged")?;
        let view = tensors.tensor("values").map_err(|_| "is damaged")?;
        if description.digest(&view) != description.sha256 {
            return Err("is damaged");
        }
        if description.key != self.about.key() || description.shard != shard {
            return Err("is the shard of other features");
        }
        let size: Vec<i64> = view.shape().iter().map(|&n| n as i64).collect();
        let rows = description.positions.len() as i64;
        if size.len() != 2 || size[0] != rows || !self.has(shard, &description.positions) {
            return Err("is damaged");
        }
        Ok(FeatureShard {
            positions: description.positions,
            values: values_of(&view, &size).map_err(|_| "is damaged")?,
        })
    }

    /// Whether rows of these positions can stand in a shard in this order.
    fn has(&self, shard: usize, positions: &[usize]) -> bool {
        let is_within = |position: &usize| position / SHARD == shard && *position < self.about.rows;
        let is_ascending = positions.array_windows::<2>().all(|[a, b]| a < b);
        positions.iter().all(is_within) && is_ascending
    }
}

/// A tensor's numbers in the type that is stored.
fn bytes_of(values: &Tensor, kind: Kind) -> Result<Vec<u8>> {
    let values = values.f_to_device(Device::Cpu)?;
    let values = values.f_to_kind(kind)?.f_contiguous()?;
    let mut bytes = vec![0; values.numel() * kind.elt_size_in_bytes()];
    values.f_copy_data_u8(&mut bytes, values.numel())?;
    Ok(bytes)
}

/// Stored numbers as f32.
fn values_of(view: &TensorView, size: &[i64]) -> std::result::Result<Tensor, tch::TchError> {
    let kind = if view.dtype() == Dtype::F16 {
        Kind::Half
    } else {
        Kind::Float
    };
    Tensor::f_from_data_size(view.data(), size, kind)?.f_to_kind(Kind::Float)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about(data: &str) -> About {
        let text = |text: &str| text.to_owned();
        About {
            weights: text("w"),
            feature: text("image_cls"),
            preparation: text("p"),
            precision: text("f32 on cpu"),
            data: text(data),
            name: text("n"),
            rows: 520,
            stored: text("f32"),
        }
    }

    fn piece(positions: std::ops::Range<usize>) -> FeatureShard {
        let values: Vec<f32> = positions
            .clone()
            .flat_map(|position| [position as f32, 0.5])
            .collect();
        FeatureShard {
            values: Tensor::from_slice(&values).view([-1, 2]),
            positions: positions.collect(),
        }
    }

    /// Whatever bit of a shard is flipped, wherever it is cut and whoever's it is: it is read as it
    /// was written or not at all.
    #[test]
    fn damaged_and_foreign_shards_are_never_read() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path().to_owned());
        let shards = store.shards(&about("a"));
        assert!(shards.read(1).unwrap().is_none());
        shards.write(0, &piece(0..512)).unwrap();
        shards.write(1, &piece(512..520)).unwrap();
        let read = shards.read(1).unwrap().unwrap();
        assert_eq!(
            (
                read.positions,
                Vec::<f32>::try_from(read.values.flatten(0, -1))
                    .unwrap()
                    .len()
            ),
            ((512..520).collect(), 16)
        );
        let whole = fs::read(shards.path(1)).unwrap();
        for bit in 0..whole.len() * 8 {
            let mut damaged = whole.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(shards.parse(1, &damaged).is_err(), "bit {bit}");
        }
        assert!((0..whole.len()).all(|cut| shards.parse(1, &whole[..cut]).is_err()));
        assert!(shards.parse(0, &whole).is_err());
        assert!(store.shards(&about("b")).parse(1, &whole).is_err());
        let zeroed = [&whole[..whole.len() - 8], &[0; 8]].concat();
        assert!(shards.parse(1, &zeroed).is_err());
    }
}
