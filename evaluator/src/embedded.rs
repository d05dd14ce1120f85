//! The model that runs where none is given: a small FLAVA that `flava-pretrain run mini` made, part
//! of the program.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use flava_base::{cache_folder, hex};
use sha2::{Digest, Sha256};

use crate::{Error, Result};

/// What is said of the model where results are shown.
pub(crate) const NOTE: &str = "the embedded model is a small one that was pretrained on drawn scenes within an hour: the mini suite shows that all parts work";

macro_rules! files {
    ($($name:literal),*) => { [$(($name, include_bytes!(concat!("../assets/mini/", $name)).as_slice())),*] };
}
const FILES: [(&str, &[u8]); 7] = files![
    "config.json",
    "preprocessor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.txt",
    "model.safetensors"
];

/// The folder that the embedded model is unpacked to: in the user's cache, or where there is none,
/// among the temporary files.
pub(crate) fn folder() -> Result<PathBuf> {
    let mut digest = Sha256::new();
    for (_, bytes) in FILES {
        digest.update(bytes);
    }
    let name = hex(&digest.finalize()[..8]);
    let mut reasons = Vec::new();
    for root in cache_folder()
        .into_iter()
        .chain([env::temp_dir().join("flava")])
    {
        let folder = root.join("embedded").join(&name);
        if is_whole(&folder) {
            return Ok(folder);
        }
        match unpack(&folder) {
            Ok(()) => return Ok(folder),
            Err(error) => reasons.push(error),
        }
    }
    Err(Error::Unpack { reasons })
}

/// Whether all files are there, byte for byte: others may have written to the place.
fn is_whole(folder: &Path) -> bool {
    FILES
        .iter()
        .all(|(name, bytes)| fs::read(folder.join(name)).is_ok_and(|found| found == *bytes))
}

fn unpack(folder: &Path) -> Result<()> {
    let io = |path: &Path, e: std::io::Error| flava_model::Error::io(path, e);
    let parent = folder.parent().unwrap_or(folder);
    fs::create_dir_all(parent).map_err(|e| io(parent, e))?;
    // Two programs may unpack at once: each into a folder of its own, and the later one finds the
    // place taken by the same bytes.
    let own = parent.join(format!(
        "{}-{}",
        folder.file_name().unwrap_or_default().to_string_lossy(),
        std::process::id()
    ));
    fs::create_dir_all(&own).map_err(|e| io(&own, e))?;
    for (name, bytes) in FILES {
        fs::write(own.join(name), bytes).map_err(|e| io(&own, e))?;
    }
    if folder.exists() && !is_whole(folder) {
        fs::remove_dir_all(folder).map_err(|e| io(folder, e))?;
    }
    let moved = fs::rename(&own, folder);
    let _left = fs::remove_dir_all(&own);
    if is_whole(folder) {
        Ok(())
    } else {
        Ok(moved.map_err(|e| io(folder, e))?)
    }
}
