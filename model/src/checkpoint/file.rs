//! A checkpoint on disk: its tensors by canonical name, mapped into memory and copied one at a
//! time.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use flava_base::hex;
use memmap2::Mmap;
use sha2::{Digest, Sha256};
use tch::{Kind, Tensor, nn::VarStore};

use super::{LoadReport, canonical_names, pickle, safetensors};
use crate::{Error, Result};

/// A tensor of a checkpoint file, not yet read.
#[derive(Clone, Debug)]
pub struct CheckpointTensor {
    pub(super) map: Arc<Mmap>,
    pub(super) kind: Kind,
    pub(super) size: Vec<i64>,
    /// In elements.
    pub(super) stride: Vec<i64>,
    /// Bytes of the file from the tensor's first element to the end of its storage.
    pub(super) range: std::ops::Range<usize>,
}

impl CheckpointTensor {
    /// Its shape.
    pub fn size(&self) -> &[i64] {
        &self.size
    }

    /// Its kind in the file.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.map[self.range.clone()]
    }

    /// A copy of it.
    pub fn to_tensor(&self) -> Result<Tensor> {
        let element = self.kind.elt_size_in_bytes();
        let elements = (self.bytes().len() / element) as i64;
        let flat = Tensor::f_from_data_size(
            &self.bytes()[..elements as usize * element],
            &[elements],
            self.kind,
        )?;
        Ok(flat
            .f_as_strided(&self.size, &self.stride, 0)?
            .f_contiguous()?)
    }
}

/// The strides of a contiguous tensor, in elements.
pub(super) fn contiguous(size: &[i64]) -> Vec<i64> {
    let mut stride = vec![1i64; size.len()];
    for i in (1..size.len()).rev() {
        // Of a tensor without elements the sizes may be anything, and strides mean nothing.
        stride[i - 1] = stride[i].saturating_mul(size[i].max(1));
    }
    stride
}

/// The tensors of a checkpoint by their names in a full Hugging Face pretraining checkpoint.
#[derive(Debug)]
pub struct Checkpoint {
    path: PathBuf,
    tensors: BTreeMap<String, CheckpointTensor>,
}

/// The file of all weights.
pub(super) const MODEL: &str = "model.safetensors";
/// Which of several files has which of them.
pub(super) const INDEX: &str = "model.safetensors.index.json";

/// Files that hold a directory's weights, in the order they are looked for.
pub(crate) const WEIGHTS: [&str; 4] = [
    MODEL,
    INDEX,
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
];

impl Checkpoint {
    /// Opens a file (`.safetensors`, `.bin`, `.pt`, `.pth`, `*.index.json`) or a directory that
    /// holds one under its usual name.
    pub fn open(path: &Path) -> Result<Self> {
        let file = if path.is_dir() {
            weights_of(path)?
        } else {
            path.to_owned()
        };
        let tensors = if file.to_string_lossy().ends_with(".index.json") {
            read_shards(&file)?
        } else {
            read_file(&file)?
        };
        if tensors.is_empty() {
            return Err(Error::file(&file, "holds no tensors"));
        }
        let tensors = canonical_names(tensors).map_err(|reason| Error::file(&file, reason))?;
        Ok(Self {
            path: file,
            tensors,
        })
    }

    /// The file that was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The tensors by canonical name.
    pub fn tensors(&self) -> &BTreeMap<String, CheckpointTensor> {
        &self.tensors
    }

    /// A digest of all names, kinds, shapes and values: what a record says about which weights were
    /// measured.
    pub fn fingerprint(&self) -> String {
        let mut digest = Sha256::new();
        for (name, tensor) in &self.tensors {
            digest.update(format!(
                "{name} {:?} {:?} {:?}\n",
                tensor.kind, tensor.size, tensor.stride
            ));
            digest.update(tensor.bytes());
        }
        hex(&digest.finalize()[..16])
    }

    /// Copies tensors into the variables of the same name and returns what did not fit.
    ///
    /// Each takes its variable's kind and device. Variables that the checkpoint lacks keep their
    /// values.
    pub fn load_into(&self, store: &VarStore) -> Result<LoadReport> {
        self.fit(store, |variable, tensor| {
            let value = tensor
                .to_tensor()?
                .f_to_kind(variable.kind())?
                .f_to_device(variable.device())?;
            tch::no_grad(|| variable.set_data(&value));
            Ok(())
        })
    }

    /// What [`Self::load_into`] would report, with no value read.
    pub fn compare(&self, store: &VarStore) -> Result<LoadReport> {
        self.fit(store, |_, _| Ok(()))
    }

    /// Does something with each variable and the tensor that fits it, and returns what did not fit.
    fn fit(
        &self,
        store: &VarStore,
        act: impl Fn(&mut Tensor, &CheckpointTensor) -> Result<()>,
    ) -> Result<LoadReport> {
        let mut report = LoadReport::new(&self.path);
        let mut variables: BTreeMap<String, Tensor> = store.variables().into_iter().collect();
        for (name, tensor) in &self.tensors {
            let Some(mut variable) = variables.remove(name) else {
                report.add_unexpected(name);
                continue;
            };
            if variable.size() != tensor.size {
                report.add_mismatched(name, &variable.size(), &tensor.size);
                continue;
            }
            if !is_float(tensor.kind) {
                let reason = format!(
                    "{name} is of {:?}: weights are of floating point",
                    tensor.kind
                );
                return Err(Error::Checkpoint {
                    path: self.path.clone(),
                    reason,
                });
            }
            act(&mut variable, tensor)?;
        }
        report.add_missing(variables.into_keys());
        Ok(report)
    }
}

fn is_float(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Float | Kind::Double | Kind::Half | Kind::BFloat16
    )
}

/// The tensors of a safetensors file by name, copied.
pub fn read_tensors(path: &Path) -> Result<Vec<(String, Tensor)>> {
    let map = map_file(path)?;
    safetensors::read(path, &map)?
        .into_iter()
        .map(|(name, tensor)| Ok((name, tensor.to_tensor()?)))
        .collect()
}

/// Does something with each tensor of a safetensors file, of which one at a time is in memory.
pub fn each_tensor<E: From<Error>>(
    path: &Path,
    mut act: impl FnMut(String, Tensor) -> std::result::Result<(), E>,
) -> std::result::Result<(), E> {
    let map = map_file(path)?;
    for (name, tensor) in safetensors::read(path, &map)? {
        act(name, tensor.to_tensor()?)?;
    }
    Ok(())
}

/// Copies tensors into the variables of their names: all of them, and no others. Each takes its
/// variable's kind and device.
///
/// # Errors
/// Of the first tensor of `from` that no variable is for or that has another shape, or of a
/// variable that nothing is for.
pub fn load_exactly(
    variables: impl IntoIterator<Item = (String, Tensor)>,
    tensors: impl IntoIterator<Item = (String, Tensor)>,
    from: &Path,
) -> Result<()> {
    let mut variables: BTreeMap<String, Tensor> = variables.into_iter().collect();
    let wrong = |reason: String| {
        let path = from.to_owned();
        Err(Error::Checkpoint { path, reason })
    };
    for (name, tensor) in tensors {
        let Some(mut variable) = variables.remove(&name) else {
            return wrong(format!("the model has no {name}"));
        };
        let (size, wanted) = (tensor.size(), variable.size());
        if size != wanted {
            return wrong(format!(
                "{name} {size:?} does not fit the model's {wanted:?}"
            ));
        }
        tch::no_grad(|| variable.copy_(&tensor));
    }
    match variables.keys().next() {
        None => Ok(()),
        Some(missing) => wrong(format!("{missing} is missing")),
    }
}

/// Largest index of shards.
const MAX_INDEX: u64 = 64 << 20;

/// How `torch.save` began a file before version 1.6: a pickled integer.
const LEGACY_MAGIC: [u8; 6] = [0x80, 2, 0x8a, 10, 0x6c, 0xfc];

fn weights_of(directory: &Path) -> Result<PathBuf> {
    let found = WEIGHTS
        .iter()
        .map(|name| directory.join(name))
        .find(|file| flava_base::is_there(file));
    found.ok_or_else(|| Error::file(directory, format!("holds none of {}", WEIGHTS.join(", "))))
}

pub(super) fn map_file(path: &Path) -> Result<Arc<Mmap>> {
    let (file, metadata) = flava_base::open(path)?;
    if metadata.len() == 0 {
        return Err(Error::file(path, "is empty"));
    }
    // SAFETY: read only; a checkpoint that another program truncates meanwhile ends this one with
    // SIGBUS, as it does every reader that maps weights.
    #[allow(
        unsafe_code,
        reason = "mapping a file cannot be proved safe against other programs"
    )]
    let map = unsafe { Mmap::map(&file) };
    Ok(Arc::new(map.map_err(|e| Error::io(path, e))?))
}

fn read_file(path: &Path) -> Result<BTreeMap<String, CheckpointTensor>> {
    let map = map_file(path)?;
    if map.starts_with(b"PK") {
        pickle::read(path, &map)
    } else if map.starts_with(&LEGACY_MAGIC) {
        Err(Error::file(
            path,
            "is a PyTorch file of before version 1.6 (no zip): load it and save it again with a newer PyTorch",
        ))
    } else {
        safetensors::read(path, &map)
    }
}

/// An index names the shard of each tensor: `{"weight_map": {name: file}}`.
fn read_shards(index: &Path) -> Result<BTreeMap<String, CheckpointTensor>> {
    #[derive(serde::Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let Index { weight_map } = flava_base::read_json(index, MAX_INDEX)?;
    let mut shards: BTreeMap<&str, BTreeMap<String, CheckpointTensor>> = BTreeMap::new();
    for file in weight_map.values() {
        if file.contains(['/', '\\']) || file == ".." {
            let reason = format!("names a shard outside its folder: {file:?}");
            return Err(Error::file(index, reason));
        }
        if !shards.contains_key(file.as_str()) {
            shards.insert(file, read_file(&index.with_file_name(file))?);
        }
    }
    let mut tensors = BTreeMap::new();
    for (name, file) in &weight_map {
        let shard = shards.get_mut(file.as_str());
        let tensor = shard.and_then(|shard| shard.remove(name));
        let tensor =
            tensor.ok_or_else(|| Error::file(index, format!("{file} has no tensor {name}")))?;
        tensors.insert(name.clone(), tensor);
    }
    Ok(tensors)
}
