//! Weights in several files, in the layout that transformers loads.

use std::{collections::BTreeMap, fs, path::Path};

use flava_base::write_atomic;
use serde_json::json;

use super::{
    file::{INDEX, MODEL, map_file},
    safetensors,
};
use crate::{Error, Result};

/// The name of one of so many files of `what`, counted from 0.
pub fn shard_name(what: &str, number: usize, of: usize) -> String {
    format!("{what}-{:05}-of-{of:05}.safetensors", number + 1)
}

/// Makes a directory's `model.safetensors` the first of several files, the others of which are there,
/// and writes which of them has which tensor.
///
/// # Errors
/// If a file is missing or is no safetensors file, or two have the same tensor.
pub fn index_shards(directory: &Path, others: &[&str], of: usize) -> Result<()> {
    let first = shard_name("model", 0, of);
    let whole = directory.join(MODEL);
    fs::rename(&whole, directory.join(&first)).map_err(|e| Error::io(&whole, e))?;
    let (mut files, mut bytes) = (BTreeMap::new(), 0);
    let all = [first.as_str()].into_iter().chain(others.iter().copied());
    for file in all {
        let path = directory.join(file);
        for (name, tensor) in safetensors::read(&path, &map_file(&path)?)? {
            bytes += tensor.bytes().len();
            if let Some(other) = files.insert(name.clone(), file) {
                let reason = format!("has {name}, as {other} has");
                return Err(Error::file(&path, reason));
            }
        }
    }
    let index = json!({ "metadata": { "total_size": bytes }, "weight_map": files });
    Ok(write_atomic(
        &directory.join(INDEX),
        format!("{index:#}\n").as_bytes(),
    )?)
}
