//! Archives whose labels follow from what is in the scene: VTAB's tasks on CLEVR and KITTI.

use std::path::Path;

use serde::Deserialize;

use super::{
    super::{
        listing::{Listing, Row},
        reading::{read_json, read_text},
    },
    positions::inner,
};
use crate::{Error, Result};

/// CLEVR's scenes have three objects or more; VTAB's classes count from there.
const FEWEST_OBJECTS: usize = 3;
/// What VTAB takes for a vehicle.
const VEHICLES: [&str; 3] = ["Car", "Van", "Truck"];
/// Where VTAB's classes of distance end, in metres.
const DISTANCES: [f64; 2] = [8.0, 20.0];

#[derive(Deserialize)]
struct ClevrScenes {
    scenes: Vec<ClevrScene>,
}

#[derive(Deserialize)]
struct ClevrScene {
    image_filename: String,
    objects: Vec<serde::de::IgnoredAny>,
}

/// How many objects are there? Three are class 0.
pub(super) fn clevr_counts(root: &Path, split: &str) -> Result<Listing> {
    let root = &inner(root, &["CLEVR_v1.0", "clevr/CLEVR_v1.0"], "scenes");
    let file = root.join(format!("scenes/CLEVR_{split}_scenes.json"));
    let mut rows = Vec::new();
    for scene in read_json::<ClevrScenes>(&file)?.scenes {
        let class = scene.objects.len().checked_sub(FEWEST_OBJECTS);
        let class = class.ok_or_else(|| {
            Error::data(
                &file,
                format!(
                    "{} has {} objects",
                    scene.image_filename,
                    scene.objects.len()
                ),
            )
        })?;
        rows.push(Row::of_file(scene.image_filename, class));
    }
    rows.sort_by(|a, b| a.id.cmp(&b.id));
    Listing::of_files(&root.join("images").join(split), rows)
}

/// How near is the nearest vehicle? Up to 8 m, up to 20 m, farther, none (as VTAB's code has it).
/// The split is a list of image numbers.
pub(super) fn kitti_distance(root: &Path, split: &str) -> Result<Listing> {
    let root = &inner(root, &["Kitti/raw", "raw"], "training");
    let list = root.join(format!("ImageSets/{split}.txt"));
    let mut rows = Vec::new();
    for number in read_text(&list)?.split_whitespace() {
        let nearest = nearest_vehicle(&root.join(format!("training/label_2/{number}.txt")))?;
        let class = nearest.map_or(DISTANCES.len() + 1, |near| {
            DISTANCES.iter().filter(|end| near > **end).count()
        });
        rows.push(Row::of_file(format!("{number}.png"), class));
    }
    Listing::of_files(&root.join("training/image_2"), rows)
}

/// The distance of the nearest vehicle in a file of labels, if there is one.
fn nearest_vehicle(file: &Path) -> Result<Option<f64>> {
    let mut nearest: Option<f64> = None;
    for (line, text) in read_text(file)?.lines().enumerate() {
        let fields: Vec<&str> = text.split_whitespace().collect();
        if !fields.first().is_some_and(|kind| VEHICLES.contains(kind)) {
            continue;
        }
        // Type, three of visibility, four of the box, three of size, then x, y and z of the place.
        let z = fields
            .get(13)
            .and_then(|z| z.parse::<f64>().ok())
            .filter(|z| z.is_finite());
        let z = z.ok_or_else(|| {
            Error::data(file, format!("line {}: {text:?} has no place", line + 1))
        })?;
        nearest = Some(nearest.map_or(z, |near| near.min(z)));
    }
    Ok(nearest)
}
