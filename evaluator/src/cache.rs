//! `flava-eval cache`: what features are stored, and removing those that nobody uses.

use std::{fs, time::Duration};

use flava_base::cache_folder;
use indicatif::{HumanBytes, HumanDuration};

use crate::{
    Error, Result,
    args::CacheCommand,
    features::{Store, StoreEntry},
};

/// The store in the user's cache folder; None where there is none.
pub(crate) fn store() -> Option<Store> {
    cache_folder().map(|folder| Store::new(folder.join("features")))
}

/// Lists or removes; what is to be printed.
pub fn cache(command: &CacheCommand) -> Result<String> {
    let store = store().ok_or_else(|| Error::Lacking {
        what: "cache folder",
        reason: "there is no cache folder: neither FLAVA_CACHE nor HOME is set".into(),
    })?;
    let days = match command {
        CacheCommand::Ls => None,
        CacheCommand::Prune { days } => Some(Duration::from_secs(days.saturating_mul(24 * 3600))),
    };
    let (mut lines, mut total) = (Vec::new(), 0);
    for entry in store.entries() {
        if days.is_some_and(|days| entry.unused < days) {
            continue;
        }
        if days.is_some() {
            fs::remove_dir_all(&entry.folder)
                .map_err(|e| flava_base::Error::io(&entry.folder, e))?;
        }
        total += entry.bytes;
        lines.push(line(&entry));
    }
    let what = if days.is_some() { "removed" } else { "stored" };
    lines.push(format!(
        "{} kinds of features {what}, {}",
        lines.len(),
        HumanBytes(total)
    ));
    Ok(lines.join("\n"))
}

fn line(entry: &StoreEntry) -> String {
    let what = if let Some(about) = &entry.about {
        format!(
            "{:18} {} ({} rows) of model {}",
            about.feature, about.name, about.rows, about.weights
        )
    } else {
        let folder = entry.folder.display();
        format!("of no use: its description is damaged ({folder})")
    };
    let bytes = HumanBytes(entry.bytes).to_string();
    let unused = HumanDuration(entry.unused);
    format!("{bytes:>10}  {what}, unused for {unused}")
}
