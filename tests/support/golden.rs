//! Golden directories, as `tests/golden/hf_golden.py` writes them from Hugging Face's own
//! implementation.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
};

use serde_json::Value;
use tch::Tensor;

use super::place::{device, root};

/// One golden directory.
pub struct Golden {
    pub dir: PathBuf,
    pub manifest: Value,
    tensors: BTreeMap<String, Tensor>,
}

/// The directories under `tests/golden`, or those that `FLAVA_GOLDEN` names (separated by colons).
pub fn directories() -> Vec<PathBuf> {
    if let Some(list) = env::var_os("FLAVA_GOLDEN") {
        return env::split_paths(&list).collect();
    }
    let root = root().join("tests/golden");
    let mut found: Vec<PathBuf> = fs::read_dir(root)
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.join("golden.json").exists())
        .collect();
    found.sort();
    found
}

impl Golden {
    pub fn open(dir: &Path) -> Self {
        let manifest =
            serde_json::from_str(&fs::read_to_string(dir.join("golden.json")).unwrap()).unwrap();
        let tensors = Tensor::read_safetensors(dir.join("golden.safetensors"))
            .unwrap()
            .into_iter()
            .map(|(name, tensor)| (name, tensor.to_device(device())))
            .collect();
        Self {
            dir: dir.to_owned(),
            manifest,
            tensors,
        }
    }

    pub fn cases(&self) -> Vec<&str> {
        self.manifest["cases"]
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect()
    }

    /// The tensors of one group of a case, such as "inputs", by their names.
    pub fn group(&self, case: &str, group: &str) -> BTreeMap<&str, &Tensor> {
        let prefix = format!("{case}/{group}/");
        self.tensors
            .iter()
            .filter_map(|(name, tensor)| Some((name.strip_prefix(&prefix)?, tensor)))
            .collect()
    }

    pub fn get(&self, case: &str, group: &str, name: &str) -> Option<Tensor> {
        self.tensors
            .get(&format!("{case}/{group}/{name}"))
            .map(Tensor::shallow_clone)
    }
}
