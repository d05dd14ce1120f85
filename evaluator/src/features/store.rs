//! Features on disk: a folder for each kind of feature of each set of rows, in shards that are whole or not there.
//!
//! A folder's name is a digest of everything that decides the numbers (weights, what is read, preprocessing, precision, data),
//! so that whatever asks for the same features finds them: probe, neighbours, zero-shot classification, retrieval.

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use flava_model::runtime::hex;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tch::{Device, Kind, Tensor};

use crate::{Error, Result};

/// Places of one shard: what a crash costs at most.
pub(crate) const SHARD: usize = 512;
/// Raised when the numbers that the program makes of the same inputs change.
const VERSION: u32 = 1;

/// What features are of; all of it decides the numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct About {
    /// Digest of the weights.
    pub(crate) weights: String,
    /// Such as `image_cls`.
    pub(crate) feature: String,
    /// How pictures became pixels, and texts tokens.
    pub(crate) preparation: String,
    /// Precision and kind of device.
    pub(crate) precision: String,
    /// Digest of the rows or texts.
    pub(crate) data: String,
    /// How they are called.
    pub(crate) name: String,
    /// How many there are.
    pub(crate) rows: usize,
    /// f32 or f16.
    pub(crate) stored: String,
}

impl About {
    fn key(&self) -> String {
        let named = Self { name: String::new(), ..self.clone() };
        let digest = Sha256::digest(format!("{VERSION} {}", serde_json::to_string(&named).unwrap_or_default()));
        hex(&digest[..16])
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

/// One part of the features: the places that gave any, and their numbers.
pub(crate) struct Piece {
    pub(crate) places: Vec<usize>,
    /// \[places, width\].
    pub(crate) values: Tensor,
}

impl Store {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// The shards of such features; the folder is made if it is not there.
    pub(crate) fn shards(&self, about: &About) -> Result<Shards> {
        let folder = self.folder.join(about.key());
        let text = folder.join("about.json");
        let io = |e: io::Error| Error::Other(format!("feature store {}: {e}", folder.display()));
        if !text.exists() {
            fs::create_dir_all(&folder).map_err(io)?;
            let json = serde_json::to_string_pretty(about).map_err(|e| Error::Other(e.to_string()))?;
            // Another run may have been quicker.
            if let Err(error) = flava_results::write_beside(&text, &json)
                && !text.exists()
            {
                return Err(io(error));
            }
        }
        // When it was used last is what pruning goes by; a store that cannot be written to is not pruned either.
        let _stamped = fs::File::options().append(true).open(&text).and_then(|file| file.set_modified(SystemTime::now()));
        Ok(Shards { folder, about: about.clone() })
    }

    /// What is stored, the longest unused first: folder, what it holds, bytes, time since its last use.
    pub(crate) fn entries(&self) -> Vec<Entry> {
        let Ok(folders) = fs::read_dir(&self.folder) else { return Vec::new() };
        let mut entries: Vec<Entry> = folders.filter_map(|folder| Entry::read(&folder.ok()?.path())).collect();
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.unused));
        entries
    }
}

/// One folder of the store.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) folder: PathBuf,
    pub(crate) about: About,
    pub(crate) bytes: u64,
    pub(crate) unused: Duration,
}

impl Entry {
    fn read(folder: &Path) -> Option<Self> {
        let about = serde_json::from_str(&fs::read_to_string(folder.join("about.json")).ok()?).ok()?;
        let files = fs::read_dir(folder).ok()?.filter_map(|file| file.ok()?.metadata().ok());
        let (bytes, used) = files.fold((0, SystemTime::UNIX_EPOCH), |(bytes, used), file| {
            (bytes + file.len(), file.modified().map_or(used, |modified| used.max(modified)))
        });
        Some(Self { folder: folder.to_owned(), about, bytes, unused: used.elapsed().unwrap_or_default() })
    }
}

impl Shards {
    /// How many shards there are, from the first to the first that is missing or broken.
    pub(crate) fn complete(&self) -> usize {
        let all = self.about.rows.div_ceil(SHARD);
        (0..all).take_while(|&shard| self.path(shard).exists()).count()
    }

    fn path(&self, shard: usize) -> PathBuf {
        self.folder.join(format!("{shard:06}.safetensors"))
    }

    /// Writes a shard, whole or not at all.
    pub(crate) fn write(&self, shard: usize, piece: &Piece) -> Result<()> {
        let (rows, width) = piece.values.size2()?;
        let (kind, dtype) = if self.about.stored == "f16" { (Kind::Half, Dtype::F16) } else { (Kind::Float, Dtype::F32) };
        let values = piece.values.f_to_device(Device::Cpu)?.f_to_kind(kind)?.f_contiguous()?;
        let mut bytes = vec![0; values.numel() * kind.elt_size_in_bytes()];
        values.f_copy_data_u8(&mut bytes, values.numel())?;
        let path = self.path(shard);
        let broken = |e: &dyn std::fmt::Display| Error::Other(format!("feature store {}: {e}", path.display()));
        let view = TensorView::new(dtype, vec![rows as usize, width as usize], &bytes).map_err(|e| broken(&e))?;
        let places = serde_json::to_string(&piece.places).map_err(|e| broken(&e))?;
        let file =
            safetensors::serialize([("values", view)], Some(HashMap::from([("places".to_owned(), places)]))).map_err(|e| broken(&e))?;
        let moment = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos();
        let part = path.with_extension(format!("{}-{moment}.part", std::process::id()));
        let written = fs::write(&part, file).and_then(|()| fs::rename(&part, &path));
        written.map_err(|e| {
            let _gone = fs::remove_file(&part);
            broken(&e)
        })
    }

    /// Reads a shard; one that is broken is removed, so that it is made again.
    fn read(&self, shard: usize) -> Result<Piece> {
        let path = self.path(shard);
        let bytes = fs::read(&path).map_err(|e| Error::Other(format!("feature store {}: {e}", path.display())))?;
        let piece = parse(&bytes).filter(|piece| piece.places.iter().all(|place| place / SHARD == shard));
        piece.ok_or_else(|| {
            let _gone = fs::remove_file(&path);
            Error::Other(format!("feature store {}: was broken and is removed; run the same command again", path.display()))
        })
    }

    /// All places and their numbers, f32 \[places, width\].
    pub(crate) fn load(&self) -> Result<Piece> {
        let shards = self.complete();
        let (mut places, mut parts) = (Vec::new(), Vec::with_capacity(shards));
        for shard in 0..shards {
            let piece = self.read(shard)?;
            places.extend(piece.places);
            parts.push(piece.values);
        }
        Ok(Piece { places, values: Tensor::f_cat(&parts, 0)? })
    }
}

fn parse(bytes: &[u8]) -> Option<Piece> {
    let (_, header) = SafeTensors::read_metadata(bytes).ok()?;
    let places: Vec<usize> = serde_json::from_str(header.metadata().as_ref()?.get("places")?).ok()?;
    let tensors = SafeTensors::deserialize(bytes).ok()?;
    let view = tensors.tensor("values").ok()?;
    let kind = if view.dtype() == Dtype::F16 { Kind::Half } else { Kind::Float };
    let size: Vec<i64> = view.shape().iter().map(|&n| n as i64).collect();
    if size.len() != 2 || size[0] != places.len() as i64 {
        return None;
    }
    let values = Tensor::f_from_data_size(view.data(), &size, kind).ok()?.f_to_kind(Kind::Float).ok()?;
    Some(Piece { places, values })
}
