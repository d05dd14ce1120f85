//! Folders with a codebook.

use std::path::Path;

use flava_model::{
    checkpoint::{Checkpoint, write_tensors},
    config::CodebookConfig,
};
use serde_json::json;
use tch::{Kind, Tensor};

use crate::Result;

/// How the names of the encoder's tensors begin.
pub(crate) const CODEBOOK: &str = "image_codebook.";

/// Writes the folder that transformers' `FlavaImageCodebook` loads, of the variables under
/// `image_codebook`.
pub(crate) fn write_codebook(
    folder: &Path,
    config: &CodebookConfig,
    variables: impl IntoIterator<Item = (String, Tensor)>,
) -> Result<()> {
    let mut json = json!(config);
    json["architectures"] = json!(["FlavaImageCodebook"]);
    json["torch_dtype"] = "float32".into();
    let path = folder.join("config.json");
    flava_base::write_atomic(&path, format!("{json:#}\n").as_bytes())?;
    let named = variables
        .into_iter()
        .filter_map(|(name, tensor)| Some((name.strip_prefix(CODEBOOK)?.to_owned(), tensor)));
    Ok(write_tensors(
        &folder.join("model.safetensors"),
        named.collect(),
    )?)
}

/// The tensors of a codebook of its own, or of that of a whole model, by their names in the latter.
pub(crate) fn read_codebook(folder: &Path) -> Result<Vec<(String, Tensor)>> {
    let checkpoint = Checkpoint::open(folder)?;
    let mut all = Vec::new();
    for (name, tensor) in checkpoint.tensors() {
        if let Some(name) = name_in_model(name) {
            all.push((name, tensor.to_tensor()?.f_to_kind(Kind::Float)?));
        }
    }
    if all.is_empty() {
        return Err(flava_model::Error::file(
            folder,
            "holds no image codebook (blocks.* or image_codebook.blocks.*)",
        )
        .into());
    }
    Ok(all)
}

/// The name in a whole model of a codebook's tensor; None of others.
fn name_in_model(name: &str) -> Option<String> {
    if name.starts_with(CODEBOOK) {
        return Some(name.to_owned());
    }
    name.starts_with("blocks.")
        .then(|| format!("{CODEBOOK}{name}"))
}
