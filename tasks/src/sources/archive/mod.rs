//! The original archives of the vision sets, unpacked, for people who already have them: the
//! layouts that torchvision reads.

mod folders;
mod lists;
mod mat_bounds;
mod pickle;
mod pixels;
mod scenes;
mod tables;

use std::path::{Path, PathBuf};

pub(super) use folders::left_out;

use super::listing::Listing;
use crate::{Error, Layout, Result};

/// Opens a split of an archive.
pub(super) fn open(layout: Layout, root: &Path, split: &str) -> Result<Listing> {
    match layout {
        Layout::Food101 => lists::food101(root, split),
        Layout::OxfordPets => lists::oxford_pets(root, split),
        Layout::Dtd => lists::dtd(root, split),
        Layout::FgvcAircraft => lists::fgvc_aircraft(root, split),
        Layout::Sun397 => lists::sun397(root, split),
        Layout::Ucf101 => lists::ucf101(root, split),
        Layout::Flowers102 => tables::flowers102(root, split),
        Layout::StanfordCars => tables::stanford_cars(root, split),
        Layout::Gtsrb => tables::gtsrb(root, split),
        Layout::Fer2013 => tables::fer2013(root, split),
        Layout::RenderedSst2 => folders::open(root, split, &["negative", "positive"]),
        Layout::Country211 | Layout::ImageFolder => folders::open(root, split, &[]),
        Layout::ClevrCounts => scenes::clevr_counts(root, split),
        Layout::KittiDistance => scenes::kitti_distance(root, split),
        Layout::Pcam => pixels::pcam(root, split),
        Layout::Stl10 => pixels::stl10(root, split),
        Layout::Mnist => pixels::mnist(root, split),
        Layout::Cifar10 => pixels::cifar(root, split, pixels::Cifar::Ten),
        Layout::Cifar100 => pixels::cifar(root, split, pixels::Cifar::Hundred),
    }
}

/// Whether a split is the one for training, of archives that have two.
///
/// # Errors
/// If it is neither.
fn trains(root: &Path, split: &str) -> Result<bool> {
    match split {
        "train" => Ok(true),
        "test" => Ok(false),
        other => Err(Error::data(
            root,
            format!("has no split {other:?}, only train and test"),
        )),
    }
}

/// The folder that has `marker`: `root` or one of those that archives unpack to below it.
fn inner(root: &Path, below: &[&str], marker: &str) -> PathBuf {
    let found = below
        .iter()
        .map(|folder| root.join(folder))
        .find(|folder| folder.join(marker).exists());
    if root.join(marker).exists() {
        root.to_owned()
    } else {
        found.unwrap_or_else(|| root.to_owned())
    }
}
