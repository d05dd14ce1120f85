//! What a split holds, as a digest: of all of it, never of a sample.
//!
//! Texts, ids and labels are taken whole. An image counts by the digest of the file that it lies in
//! and its position there, so that opening a large set again reads nothing.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use flava_base::{DigestIndex, hex};
use sha2::{Digest, Sha256};

use super::{
    dataset::{Dataset, ImageOrigin},
    split::OpenSplit,
};
use crate::Result;

/// The digests of a split's rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    /// Of what a model reads of each row: image and texts.
    pub inputs: Vec<[u8; 16]>,
}

impl Fingerprint {
    /// A digest of what a model reads of some rows, in order.
    pub fn of_inputs(&self, rows: &[usize]) -> String {
        let mut digest = Sha256::new();
        for &row in rows {
            digest.update(self.inputs[row]);
        }
        hex(&digest.finalize()[..16])
    }

    /// A digest of some rows, in order: ids, labels, images and texts.
    pub fn of_rows(&self, dataset: &dyn Dataset, rows: &[usize]) -> String {
        let mut digest = Sha256::new();
        for &row in rows {
            let id = dataset.id(row);
            digest.update((id.len() as u64).to_le_bytes());
            digest.update(format!("{id} {:?}\n", dataset.label(row)));
            digest.update(self.inputs[row]);
        }
        hex(&digest.finalize()[..16])
    }
}

impl OpenSplit {
    /// The digests of all rows; those of files that were hashed before come from `index`.
    ///
    /// # Errors
    /// If a text cannot be read, or a file of the Hub's cache is damaged.
    pub fn fingerprint(&self, index: &DigestIndex) -> Result<Fingerprint> {
        let dataset = &*self.dataset;
        let origins: Vec<ImageOrigin> = (0..dataset.len())
            .map(|row| dataset.image_origin(row))
            .collect();
        let digests = digests_of(&origins, index)?;
        let mut inputs = Vec::with_capacity(origins.len());
        for (row, origin) in origins.iter().enumerate() {
            let mut digest = Sha256::new();
            update_with_image(&mut digest, origin, &digests);
            for text in dataset.texts_of(row)? {
                digest.update((text.len() as u64).to_le_bytes());
                digest.update(text);
            }
            inputs.push(digest.finalize()[..16].try_into().unwrap_or_default());
        }
        Ok(Fingerprint { inputs })
    }
}

fn update_with_image(digest: &mut Sha256, origin: &ImageOrigin, files: &HashMap<&Path, [u8; 32]>) {
    let mut update = |path: &PathBuf| update_with_file(digest, files.get(path.as_path()));
    match origin {
        ImageOrigin::None => digest.update("none"),
        ImageOrigin::File(path) => update(path),
        ImageOrigin::Part { files, at } => {
            files.iter().for_each(update);
            digest.update(format!(" at {at}"));
        }
        ImageOrigin::SampledBatch(description) => digest.update(format!("drawn {description}")),
    }
}

/// A file that cannot be read now has no digest; whoever reads the row says what is wrong with it.
fn update_with_file(digest: &mut Sha256, file: Option<&[u8; 32]>) {
    match file {
        Some(sha256) => digest.update(sha256),
        None => digest.update("unreadable"),
    }
}

fn digests_of<'a>(
    origins: &'a [ImageOrigin],
    index: &DigestIndex,
) -> Result<HashMap<&'a Path, [u8; 32]>> {
    let files = origins.iter().flat_map(|origin| match origin {
        ImageOrigin::File(path) => std::slice::from_ref(path),
        ImageOrigin::Part { files, .. } => files,
        ImageOrigin::None | ImageOrigin::SampledBatch(_) => &[],
    });
    let mut paths: Vec<&PathBuf> = files.collect();
    paths.sort_unstable();
    paths.dedup();
    let owned: Vec<PathBuf> = paths.iter().map(|path| (*path).clone()).collect();
    let mut digests = HashMap::with_capacity(paths.len());
    for (path, digest) in paths.into_iter().zip(index.digests(&owned)) {
        match digest {
            Ok(digest) => _ = digests.insert(path.as_path(), digest),
            Err(damaged @ flava_base::Error::File { .. }) if path.is_file() => {
                return Err(damaged.into());
            }
            Err(_) => {}
        }
    }
    Ok(digests)
}
