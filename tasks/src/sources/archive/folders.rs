//! A folder for each split and in it one for each class.

use std::{
    fs,
    path::{Path, PathBuf},
};

use flava_base::{hidden, is_image, path_text, walk};

use super::super::listing::{Listing, Row};
use crate::{Error, Result};

/// The images of `root/split`, also of folders inside those of the classes; classes in the order
/// given, or sorted by name.
pub(super) fn open(root: &Path, split: &str, classes: &[&str]) -> Result<Listing> {
    let folder = root.join(split);
    let names = if classes.is_empty() {
        folders(&folder)?
    } else {
        classes.iter().map(|c| (*c).to_owned()).collect()
    };
    let (mut rows, mut others) = (Vec::new(), Vec::new());
    for (class, name) in names.iter().enumerate() {
        let inside = folder.join(name);
        let files = walk(&inside)?.into_iter();
        let (images, rest): (Vec<PathBuf>, Vec<PathBuf>) =
            files.partition(|file| is_image(&path_text(file)));
        if images.is_empty() {
            return Err(Error::data(&inside, "holds no image of its class"));
        }
        let named = |file: PathBuf| Path::new(name).join(file);
        rows.extend(
            images
                .into_iter()
                .map(|file| Row::of_file(named(file), class)),
        );
        others.extend(rest.into_iter().map(named));
    }
    Ok(Listing::of_files(&folder, rows)?
        .with_class_names(names)
        .with_notes(left_out(split, &others)))
}

/// What is said of files that are no images.
pub(in super::super) fn left_out(of: &str, others: &[PathBuf]) -> Vec<String> {
    let first = others.first().map(|file| path_text(file));
    first
        .map(|first| {
            format!(
                "{of}: {} files that are no images are left out, such as {first}",
                others.len()
            )
        })
        .into_iter()
        .collect()
}

/// The names of the folders in a folder, sorted; hidden ones are no classes.
pub(super) fn folders(folder: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(|e| Error::io(folder, e))? {
        let entry = entry.map_err(|e| Error::io(folder, e))?;
        let name = entry.file_name();
        if hidden(&name.to_string_lossy()) || !entry.path().is_dir() {
            continue;
        }
        names.push(name.into_string().map_err(|name| {
            Error::data(
                folder,
                format!(
                    "holds the folder {}, whose name is no UTF-8",
                    path_text(Path::new(&name))
                ),
            )
        })?);
    }
    names.sort();
    Ok(names)
}
