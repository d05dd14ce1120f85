//! Images in a folder and a list of a split's rows: lines `PATH LABEL`, or the JSON of CoOp's
//! splits (`{"train": [[path, label, class name], ..], "val": .., "test": ..}`).

use std::{collections::BTreeMap, path::Path};

use serde::Deserialize;

use super::{
    listing::{Listing, Row},
    reading::{read_json, read_text},
};
use crate::{Error, Result};

/// An image, its label and what its class is called.
#[derive(Deserialize)]
struct Entry(String, usize, String);

pub(super) fn open(list: &Path, images: &Path, split: &str) -> Result<Listing> {
    if list.extension().is_some_and(|ending| ending == "json") {
        return of_json(list, images, split);
    }
    let mut rows = Vec::new();
    for (line, text) in read_text(list)?
        .lines()
        .enumerate()
        .filter(|(_, text)| !text.trim().is_empty())
    {
        // The label is the last word: paths may have blanks.
        let parts = text
            .trim()
            .rsplit_once([' ', '\t'])
            .and_then(|(path, label)| Some((path.trim(), label.parse().ok()?)));
        let (path, label) = parts.ok_or_else(|| {
            Error::data(
                list,
                format!("line {}: {text:?} is no path with a label", line + 1),
            )
        })?;
        rows.push(Row::of_file(path.to_owned(), label));
    }
    Listing::of_files(images, rows)
}

fn of_json(list: &Path, images: &Path, split: &str) -> Result<Listing> {
    let mut splits: BTreeMap<String, Vec<Entry>> = read_json(list)?;
    let names = names_of(splits.values().flatten()).map_err(|reason| Error::data(list, reason))?;
    let known = splits.keys().cloned().collect::<Vec<_>>().join(", ");
    let entries = splits
        .remove(split)
        .ok_or_else(|| Error::data(list, format!("has no split {split:?}, only {known}")))?;
    let rows = entries
        .into_iter()
        .map(|Entry(path, label, _)| Row::of_file(path, label))
        .collect();
    Ok(Listing::of_files(images, rows)?.with_class_names(names))
}

/// What the classes are called; nothing where a label is missing, since the names say nothing about
/// the order then.
fn names_of<'a>(
    entries: impl Iterator<Item = &'a Entry>,
) -> std::result::Result<Vec<String>, String> {
    let mut names: BTreeMap<usize, &String> = BTreeMap::new();
    for Entry(path, label, name) in entries {
        let known = *names.entry(*label).or_insert(name);
        if known != name {
            return Err(format!(
                "{path}: class {label} is called {name:?} here and {known:?} before"
            ));
        }
    }
    let complete = names.keys().copied().eq(0..names.len());
    let names = names.into_values().filter(|_| complete);
    Ok(names.cloned().collect())
}
