//! Images with captions of one's own, in place of a recipe's corpora.

use std::{
    fs,
    path::{Path, PathBuf},
};

use flava_tasks::{
    Columns,
    sources::{Corpus, fits, is_parquet, pair_columns, saved_pattern},
};

use crate::{Error, Result};

/// The settings that put them in the place of the corpora `images`, `texts` and `pairs`.
///
/// # Errors
/// If there are none.
pub(super) fn settings_of(pairs: &Path) -> Result<Vec<String>> {
    let gone = |reason: &str| Error::Input(format!("--pairs {}: {reason}", pairs.display()));
    let path = pairs.canonicalize();
    let path = path.map_err(|_| gone("there is no such file or folder"))?;
    let files = path.to_str().ok_or_else(|| gone("its name is no UTF-8"))?;
    let saved = saved_by_datasets(&path)?;
    if path.is_dir() && saved.is_none() {
        let corpus = Corpus::Webdataset {
            files: format!("{files}/*.tar"),
        };
        let names = ["images", "texts", "pairs"];
        return names.iter().map(|name| setting(name, &corpus)).collect();
    }
    let (first, files) = match saved {
        Some((pattern, first)) => (first, format!("{files}/{pattern}")),
        None => (path.clone(), files.to_owned()),
    };
    let columns = pair_columns(&first, &Columns::default())?;
    let is_parquet = is_parquet(&first);
    let of = |image: &str, text: &str| {
        let (files, image, text) = (files.clone(), image.to_owned(), text.to_owned());
        if is_parquet {
            Corpus::Parquet { files, image, text }
        } else {
            Corpus::Table { files, image, text }
        }
    };
    let (image, text) = (columns.image.as_str(), columns.captions.as_str());
    Ok(vec![
        setting("images", &of(image, ""))?,
        setting("texts", &of("", text))?,
        setting("pairs", &of(image, text))?,
    ])
}

/// The files of a folder that `datasets` saved, and the first of them, if it is one.
fn saved_by_datasets(folder: &Path) -> Result<Option<(String, PathBuf)>> {
    if !folder.is_dir() {
        return Ok(None);
    }
    let entries = fs::read_dir(folder).map_err(|e| flava_model::Error::io(folder, e))?;
    let names = entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<String> = names.filter(|name| fits("*.arrow", name)).collect();
    names.sort();
    if names.is_empty() {
        return Ok(None);
    }
    let pattern = saved_pattern(&names);
    let pattern = pattern
        .map_err(|reason| Error::Input(format!("--pairs {}: {reason}", folder.display())))?;
    let first = names.iter().find(|name| fits(&pattern, name));
    Ok(first.map(|first| (pattern.clone(), folder.join(first))))
}

/// `corpora.NAME={..}`.
fn setting(name: &str, corpus: &Corpus) -> Result<String> {
    let value = toml::Value::try_from(corpus).map_err(|e| Error::Input(e.to_string()))?;
    Ok(format!("corpora.{name}={value}"))
}
