//! The ids that shards tell of their images beside them: a field of each sample's `.json`.

use std::{collections::HashMap, path::PathBuf};

use flava_base::{Stamp, path_text};
use serde::{Deserialize, Serialize};

use crate::{
    Result,
    sources::{index_cache, webdataset::json_fields},
};

/// What a shard's samples have in a field.
#[derive(Debug, Serialize, Deserialize)]
struct ShardKeys {
    stamp: Stamp,
    /// Keys of samples with what they have.
    told: Vec<(String, String)>,
}

/// What the samples of shards have in a field, by the ids that rows of the shards have; None where
/// no field is named. What was read is kept in the user's cache.
pub(super) fn shard_keys(
    files: &[PathBuf],
    field: &str,
) -> Result<Option<HashMap<String, String>>> {
    let Some(first) = files.first().filter(|_| !field.is_empty()) else {
        return Ok(None);
    };
    let what = format!("field {field}");
    let mut known: HashMap<String, ShardKeys> = index_cache::load(first, &what).unwrap_or_default();
    let mut fresh = false;
    let mut read: HashMap<String, ShardKeys> = HashMap::new();
    let mut ids = HashMap::new();
    for path in files {
        let (file, metadata) = flava_base::open(path)?;
        let stamp = Stamp::now(&metadata);
        let shard = known.remove(&path_text(path));
        let shard = if let Some(shard) = shard.filter(|shard| shard.stamp.holds(&stamp)) {
            shard
        } else {
            fresh = true;
            ShardKeys {
                stamp,
                told: json_fields(path, &file, metadata.len(), field)?,
            }
        };
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let told = shard.told.iter();
        ids.extend(told.map(|(sample, id)| (format!("{name}/{sample}"), id.clone())));
        read.insert(path_text(path), shard);
    }
    if fresh {
        index_cache::store(first, &what, &read);
    }
    Ok(Some(ids))
}
