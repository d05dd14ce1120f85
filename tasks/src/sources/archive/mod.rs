//! The original archives of the vision sets, unpacked, for people who already have them: the
//! layouts that torchvision reads.

mod cifar;
mod folders;
mod lists;
mod mat_bounds;
mod matlab;
mod pcam;
mod pixels;
mod positions;
mod scenes;
mod tables;

use std::path::Path;

pub(super) use folders::left_out;

use super::listing::Listing;
use crate::{Layout, Result};

/// Opens a split of an archive.
pub(super) fn open(layout: Layout, root: &Path, split: &str) -> Result<Listing> {
    match layout {
        Layout::Food101 => lists::food101(root, split),
        Layout::OxfordPets => lists::oxford_pets(root, split),
        Layout::Dtd => lists::dtd(root, split),
        Layout::FgvcAircraft => lists::fgvc_aircraft(root, split),
        Layout::Sun397 => lists::sun397(root, split),
        Layout::Ucf101 => lists::ucf101(root, split),
        Layout::Flowers102 => matlab::flowers102(root, split),
        Layout::StanfordCars => matlab::stanford_cars(root, split),
        Layout::Gtsrb => tables::gtsrb(root, split),
        Layout::Fer2013 => tables::fer2013(root, split),
        Layout::RenderedSst2 => folders::open(root, split, &["negative", "positive"]),
        Layout::Country211 | Layout::ImageFolder => folders::open(root, split, &[]),
        Layout::ClevrCounts => scenes::clevr_counts(root, split),
        Layout::KittiDistance => scenes::kitti_distance(root, split),
        Layout::Pcam => pcam::pcam(root, split),
        Layout::Stl10 => pixels::stl10(root, split),
        Layout::Mnist => pixels::mnist(root, split),
        Layout::Cifar10 => cifar::cifar(root, split, cifar::Cifar::Ten),
        Layout::Cifar100 => cifar::cifar(root, split, cifar::Cifar::Hundred),
    }
}
