//! A folder for each split and in it one for each class.

use std::path::{Path, PathBuf};

use flava_base::{is_image, path_text};

use super::super::{
    folder::Folder,
    listing::{Listing, Row},
};
use crate::{Error, Result};

/// The images of `root/split`, also of folders inside those of the classes; classes in the order
/// given, or sorted by name.
pub(super) fn open(root: &Path, split: &str, classes: &[&str]) -> Result<Listing> {
    let folder = Folder::open(&root.join(split))?;
    let names = if classes.is_empty() {
        folders_of(&folder)?
    } else {
        classes.iter().map(|c| (*c).to_owned()).collect()
    };
    let (mut rows, mut others) = (Vec::new(), Vec::new());
    for (class, name) in names.iter().enumerate() {
        let inside = folder.inside(name);
        let files = inside.files()?.into_iter();
        let (images, rest): (Vec<PathBuf>, Vec<PathBuf>) =
            files.partition(|file| is_image(&path_text(file)));
        if images.is_empty() {
            return Err(Error::data(inside.path(), "holds no image of its class"));
        }
        let named = |file: PathBuf| Path::new(name).join(file);
        rows.extend(
            images
                .into_iter()
                .map(|file| Row::of_file(named(file), class)),
        );
        others.extend(rest.into_iter().map(named));
    }
    Ok(Listing::in_folder(folder, rows)?
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
    folders_of(&Folder::open(folder)?)
}

fn folders_of(folder: &Folder) -> Result<Vec<String>> {
    let entries = folder.entries()?.into_iter();
    let folders = entries.filter(|(_, is_folder)| *is_folder);
    Ok(folders.map(|(name, _)| name).collect())
}
