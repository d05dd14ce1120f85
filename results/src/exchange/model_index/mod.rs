//! The `model-index` of a model card: what the Hub shows on a model's page, kept in the YAML front
//! matter of `README.md`.

mod block;
mod front_matter;
mod key;
mod merge;
mod splice;

use std::path::Path;

use flava_base::is_there;

pub use self::{block::model_index_block, merge::merge_model_index};

use super::{exported::ExportFolder, model_name::by_model};
use crate::Result;

/// Largest model card.
const MAX_CARD: u64 = 16 << 20;

/// Writes `README.md`, or merges the results into the one that lies there.
pub(super) fn export(folder: &mut ExportFolder) -> Result<()> {
    let mut records = Vec::new();
    for record in folder.publishable() {
        if record.hub_task.is_empty() {
            let reason = "it does not say which of the Hub's tasks it is: measure it again";
            folder.leave_out(record.name(), reason);
        } else {
            records.push(record);
        }
    }
    if records.is_empty() {
        return Ok(());
    }
    let file = Path::new("README.md");
    let path = folder.path(file);
    let mut card = if is_there(&path) {
        let bytes = flava_base::read(&path, MAX_CARD)?;
        String::from_utf8(bytes).map_err(|_| crate::Error::file(&path, "is no UTF-8 text"))?
    } else {
        String::new()
    };
    for group in by_model(&records) {
        let own: Vec<_> = group.records.into_iter().cloned().collect();
        let block = model_index_block(&own, &group.model.name)?;
        let merged = merge_model_index(&card, &block);
        card = merged.map_err(|e| crate::Error::file(&path, e))?;
    }
    folder.write(file, card.as_bytes())
}
