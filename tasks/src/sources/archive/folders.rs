//! A folder for each split and in it one for each class.

use std::{fs, path::Path};

use super::super::listing::{Listing, Row};
use crate::{Error, Result};

/// Endings of pictures, in lower case.
const PICTURES: [&str; 7] = ["jpg", "jpeg", "png", "ppm", "bmp", "webp", "gif"];

/// The pictures of `root/split`; classes in the order given, or sorted by name.
pub(super) fn open(root: &Path, split: &str, classes: &[&str]) -> Result<Listing> {
    let folder = root.join(split);
    let names = if classes.is_empty() { sorted(&folder, true)? } else { classes.iter().map(|c| (*c).to_owned()).collect() };
    let mut rows = Vec::new();
    for (class, name) in names.iter().enumerate() {
        for file in sorted(&folder.join(name), false)? {
            let ending = file.rsplit_once('.').map_or(String::new(), |(_, ending)| ending.to_ascii_lowercase());
            if PICTURES.contains(&ending.as_str()) {
                rows.push(Row::of_file(format!("{name}/{file}"), class));
            }
        }
    }
    Ok(Listing::of_files(&folder, rows)?.with_class_names(names))
}

/// The names in a folder: of folders, or of files.
pub(super) fn sorted(folder: &Path, folders: bool) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(|e| Error::io(folder, e))? {
        let entry = entry.map_err(|e| Error::io(folder, e))?;
        if let Ok(name) = entry.file_name().into_string()
            && entry.path().is_dir() == folders
        {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}
