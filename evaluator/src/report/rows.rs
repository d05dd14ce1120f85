//! What a report shows of the rows themselves: names of classes, and small images of data that may
//! be shown.

use std::{
    collections::HashMap,
    io::Cursor,
    sync::{Arc, Mutex},
};

use flava_model::processor::decode;
use flava_results::Record;
use flava_tasks::{Dataset, Protocol, Registry, Task};
use image::{
    ImageFormat, RgbImage,
    imageops::{FilterType::Triangle, resize},
};

use crate::{Result, data::OpenTask, locator::DataLocator};

/// Longest side of a thumbnail, in pixels.
const SIDE: u32 = 96;
/// How licences begin that let images be shown to others.
const OPEN: [&str; 3] = ["CC", "MIT", "Apache"];

/// The rows that records are over, as far as they lie here.
pub(super) struct RowsOfRecords {
    registry: Registry,
    locator: DataLocator,
    /// Images of each record.
    most_images: usize,
    /// By record; None where they do not lie here.
    opened: Mutex<HashMap<String, Option<RecordRows>>>,
}

/// The rows of a record that was opened.
struct RecordRows {
    dataset: Arc<dyn Dataset>,
    position: HashMap<String, usize>,
    /// Images that may still be shown.
    images_left: usize,
}

impl RowsOfRecords {
    pub(super) fn new(registry: Registry, locator: DataLocator, most_images: usize) -> Self {
        Self {
            registry,
            locator,
            most_images,
            opened: Mutex::default(),
        }
    }

    /// The image of a row; None where there is none, where it may not be shown, or where as many
    /// were asked for as are wanted.
    pub(super) fn image(&self, record: &Record, row: &str) -> Option<Vec<u8>> {
        self.with(record, |rows| rows.image(row))?
    }

    /// The names of the classes, in the order of the labels.
    pub(super) fn class_names(&self, record: &Record) -> Option<Vec<String>> {
        let of_data = self.with(record, |rows| {
            rows.dataset.class_names().map(<[String]>::to_vec)
        });
        let of_row = || {
            let names = self.registry.get(&record.task)?.told_class_names();
            (!names.is_empty()).then(|| names.to_vec())
        };
        of_data.flatten().or_else(of_row)
    }

    fn with<T>(&self, record: &Record, read: impl FnOnce(&mut RecordRows) -> T) -> Option<T> {
        let mut opened = self.opened.lock().ok()?;
        let open = || self.open(record).ok().flatten();
        let rows = opened.entry(record.name()).or_insert_with(open);
        rows.as_mut().map(read)
    }

    /// The rows that a record's scores are over, if it is they that lie here.
    fn open(&self, record: &Record) -> Result<Option<RecordRows>> {
        let Some(task) = self.registry.get(&record.task) else {
            return Ok(None);
        };
        let protocol = Protocol::ALL
            .into_iter()
            .find(|one| one.name() == record.protocol);
        let Some(assignment) = protocol.and_then(|protocol| task.assign(protocol)) else {
            return Ok(None);
        };
        let choice = self.locator.source(task, &assignment, true)?;
        let dataset = OpenTask::open(task, choice, record.seed)?.test.dataset;
        let ids = (0..dataset.len()).map(|row| (dataset.id(row), row));
        let position: HashMap<String, usize> = ids.collect();
        // Others than were scored would be shown under the wrong names.
        let same = dataset.len() == record.rows_of;
        Ok(same.then_some(RecordRows {
            position,
            dataset,
            images_left: if is_open(task) { self.most_images } else { 0 },
        }))
    }
}

impl RecordRows {
    fn image(&mut self, row: &str) -> Option<Vec<u8>> {
        if self.images_left == 0 {
            return None;
        }
        // Of a retrieval the number of its image.
        let position = self.position.get(row).copied();
        let position = position.or_else(|| row.parse().ok())?;
        if position >= self.dataset.len() {
            return None;
        }
        let example = self.dataset.get(position).ok()?;
        let thumbnail = thumbnail(&example.image?)?;
        self.images_left -= 1;
        Some(thumbnail)
    }
}

/// Whether a task's images may be shown to others.
fn is_open(task: &Task) -> bool {
    OPEN.iter().any(|open| task.licence.starts_with(open))
}

fn thumbnail(bytes: &[u8]) -> Option<Vec<u8>> {
    let image = decode(bytes).ok()?;
    let (width, height) = (image.width as u32, image.height as u32);
    let image = RgbImage::from_raw(width, height, image.rgb)?;
    let longest = width.max(height).max(1);
    let scaled = |side: u32| (side * SIDE / longest).clamp(1, SIDE);
    let small = if longest > SIDE {
        resize(&image, scaled(width), scaled(height), Triangle)
    } else {
        image
    };
    let mut file = Cursor::new(Vec::new());
    small.write_to(&mut file, ImageFormat::Png).ok()?;
    Some(file.into_inner())
}
