//! Rows that are listed in full when a split is opened, with pictures that are read when they are
//! asked for.

use std::{
    collections::{HashMap, HashSet},
    ffi::OsString,
    fs::{self, File},
    os::unix::fs::FileExt,
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use flava_base::path_text;

use image::{ExtendedColorType, ImageEncoder, codecs::bmp::BmpEncoder};

use super::{Dataset, Example, ImageOrigin, Label, checked_label};
use crate::{Error, Result};

/// Largest picture file.
pub(super) const MAX_PICTURE: u64 = 1 << 28;
/// Largest file of annotations or lists.
const MAX_TEXT: u64 = 4 << 30;

/// Where a row's picture is.
#[derive(Clone, Debug)]
pub(super) enum Picture {
    /// A file below the listing's folder.
    File(PathBuf),
    /// One of the listing's unpacked pictures.
    Pixels(usize),
}

/// One row.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) id: String,
    pub(super) picture: Picture,
    pub(super) texts: Vec<String>,
    pub(super) label: Label,
    /// Rows of the same cluster share a picture.
    pub(super) cluster: usize,
}

impl Row {
    /// A picture file and its class.
    pub(super) fn of_file(file: impl Into<PathBuf>, class: usize) -> Self {
        let file = file.into();
        Self {
            id: path_text(&file),
            picture: Picture::File(file),
            texts: Vec::new(),
            label: Label::Class(class),
            cluster: 0,
        }
    }

    /// An unpacked picture and its class.
    pub(super) fn of_pixels(index: usize, class: usize) -> Self {
        Self {
            id: index.to_string(),
            picture: Picture::Pixels(index),
            texts: Vec::new(),
            label: Label::Class(class),
            cluster: 0,
        }
    }
}

/// Pictures that an archive holds as plain numbers.
pub(super) trait Pixels: Send + Sync {
    /// Height and width.
    fn size(&self) -> (usize, usize);

    /// The files that they are in.
    fn files(&self) -> Arc<[PathBuf]>;

    /// A picture's bytes: row by row, each pixel red, green, blue, or one grey value.
    fn read(&self, index: usize) -> Result<Vec<u8>>;
}

/// The rows of a split.
pub(super) struct Listing {
    folder: PathBuf,
    rows: Vec<Row>,
    pixels: Option<Arc<dyn Pixels>>,
    class_names: Vec<String>,
    /// The kind of each row; none where they have no kinds.
    slices: Vec<Arc<str>>,
    notes: Vec<String>,
}

impl Listing {
    /// Rows whose pictures are files below `folder`; all of them must be there.
    pub(super) fn of_files(folder: &Path, rows: Vec<Row>) -> Result<Self> {
        let mut listing = Self::new(folder, rows, None);
        listing.number_clusters();
        listing.check_files()?;
        Ok(listing)
    }

    fn new(folder: &Path, rows: Vec<Row>, pixels: Option<Arc<dyn Pixels>>) -> Self {
        Self {
            folder: folder.to_owned(),
            rows,
            pixels,
            class_names: Vec::new(),
            slices: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// With what a reader of its numbers should know.
    pub(super) fn with_notes(mut self, notes: Vec<String>) -> Self {
        self.notes = notes;
        self
    }

    /// Rows whose pictures are unpacked.
    pub(super) fn of_pixels(folder: &Path, classes: Vec<usize>, pixels: Arc<dyn Pixels>) -> Self {
        let rows = classes
            .into_iter()
            .enumerate()
            .map(|(index, class)| Row::of_pixels(index, class))
            .collect();
        let mut listing = Self::new(folder, rows, Some(pixels));
        listing.number_clusters();
        listing
    }

    /// With the names of the classes in the order of the labels.
    pub(super) fn with_class_names(mut self, names: Vec<String>) -> Self {
        self.class_names = names;
        self
    }

    /// With the kind of each row; kinds that are not told for all are none.
    pub(super) fn with_slices(mut self, slices: Vec<Arc<str>>) -> Self {
        let told = slices.len() == self.rows.len() && slices.iter().all(|slice| !slice.is_empty());
        self.slices = if told { slices } else { Vec::new() };
        self
    }

    /// Checks that every class is one of `classes`.
    pub(super) fn checked(self, classes: usize) -> Result<Self> {
        for row in &self.rows {
            if let Label::Class(class) = row.label {
                checked_label(&self.folder, &row.id, class as i64, classes)?;
            }
        }
        Ok(self)
    }

    /// Rows that name the same file share a cluster.
    fn number_clusters(&mut self) {
        let mut first: HashMap<&Path, usize> = HashMap::new();
        let clusters: Vec<usize> = self
            .rows
            .iter()
            .enumerate()
            .map(|(index, row)| match &row.picture {
                Picture::File(file) => *first.entry(file).or_insert(index),
                Picture::Pixels(picture) => *picture,
            })
            .collect();
        self.rows
            .iter_mut()
            .zip(clusters)
            .for_each(|(row, cluster)| row.cluster = cluster);
    }

    /// Every file is below the folder and exists; each folder is listed once.
    fn check_files(&self) -> Result<()> {
        let mut folders: HashMap<&Path, HashSet<OsString>> = HashMap::new();
        let mut missing: Vec<(usize, &Path)> = Vec::new();
        for (index, row) in self.rows.iter().enumerate() {
            let Picture::File(file) = &row.picture else {
                continue;
            };
            let leads_out = file
                .components()
                .any(|part| !matches!(part, Component::Normal(_) | Component::CurDir));
            if leads_out || file.to_string_lossy().split('\\').any(|part| part == "..") {
                return Err(Error::data(
                    &self.folder,
                    format!(
                        "{} names the picture {}, outside its folder",
                        row.id,
                        path_text(file)
                    ),
                ));
            }
            let folder = file.parent().unwrap_or(Path::new(""));
            let names = folders
                .entry(folder)
                .or_insert_with(|| names_in(&self.folder.join(folder)));
            if !file.file_name().is_some_and(|name| names.contains(name)) {
                missing.push((index, file));
            }
        }
        let Some((index, file)) = missing.first() else {
            return Ok(());
        };
        let (count, rows, id) = (missing.len(), self.rows.len(), &self.rows[*index].id);
        let reason = format!(
            "lacks {count} of {rows} pictures; the first is {} (row {index}, {id})",
            path_text(file)
        );
        Err(Error::data(&self.folder, reason))
    }
}

fn names_in(folder: &Path) -> HashSet<OsString> {
    fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name())
        .collect()
}

impl Dataset for Listing {
    fn len(&self) -> usize {
        self.rows.len()
    }

    fn id(&self, index: usize) -> String {
        self.rows[index].id.clone()
    }

    fn label(&self, index: usize) -> Label {
        self.rows[index].label.clone()
    }

    fn cluster(&self, index: usize) -> usize {
        self.rows[index].cluster
    }

    fn texts(&self, index: usize) -> usize {
        self.rows[index].texts.len()
    }

    fn slice(&self, index: usize) -> Option<&str> {
        self.slices.get(index).map(|slice| &**slice)
    }

    fn class_names(&self) -> Option<&[String]> {
        Some(self.class_names.as_slice()).filter(|names| !names.is_empty())
    }

    fn notes(&self) -> Vec<String> {
        self.notes.clone()
    }

    fn image_origin(&self, index: usize) -> ImageOrigin {
        match (&self.rows[index].picture, &self.pixels) {
            (Picture::File(file), _) => ImageOrigin::File(self.folder.join(file)),
            (Picture::Pixels(picture), Some(pixels)) => ImageOrigin::Part {
                files: pixels.files(),
                at: *picture as u64,
            },
            (Picture::Pixels(_), None) => ImageOrigin::None,
        }
    }

    fn texts_of(&self, index: usize) -> Result<Vec<String>> {
        Ok(self.rows[index].texts.clone())
    }

    fn get(&self, index: usize) -> Result<Example> {
        let Row {
            id,
            picture,
            texts,
            label,
            ..
        } = self.rows[index].clone();
        let image = match (&picture, &self.pixels) {
            (Picture::File(file), _) => read_limited(&self.folder.join(file), MAX_PICTURE)?,
            (Picture::Pixels(picture), Some(pixels)) => bmp(&pixels.read(*picture)?, pixels.size()),
            (Picture::Pixels(_), None) => {
                return Err(Error::data(&self.folder, format!("{id} has no picture")));
            }
        };
        Ok(Example {
            id,
            image: Some(image),
            texts,
            label,
        })
    }
}

/// Plain pixels as a picture file that costs nothing to decode.
fn bmp(pixels: &[u8], (height, width): (usize, usize)) -> Vec<u8> {
    let kind = if pixels.len() == height * width {
        ExtendedColorType::L8
    } else {
        ExtendedColorType::Rgb8
    };
    let mut file = Vec::with_capacity(pixels.len() + 2048);
    BmpEncoder::new(&mut file)
        .write_image(pixels, width as u32, height as u32, kind)
        .expect("the size is that of the pixels");
    file
}

/// A file's bytes, if it is not larger than `limit`.
pub(super) fn read_limited(path: &Path, limit: u64) -> Result<Vec<u8>> {
    Ok(flava_base::read(path, limit)?)
}

/// A text file.
pub(super) fn read_text(path: &Path) -> Result<String> {
    Ok(flava_base::read_text(path, MAX_TEXT)?)
}

/// A JSON file.
pub(super) fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
    Ok(flava_base::read_json(path, MAX_TEXT)?)
}

/// A file of JSON lines, with the number of each from 1.
pub(super) fn read_json_lines<T: serde::de::DeserializeOwned>(
    path: &Path,
) -> Result<Vec<(usize, T)>> {
    let text = read_text(path)?;
    let lines = text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty());
    let parse = |(line, text): (usize, &str)| {
        let value = flava_base::json_of(text)
            .map_err(|e| Error::data(path, format!("line {}: {e}", line + 1)))?;
        Ok((line + 1, value))
    };
    lines.map(parse).collect()
}

/// Pictures of one size, one after the other in a file or several.
pub(super) struct RawFile {
    path: PathBuf,
    file: File,
    /// Of the first picture.
    offset: u64,
    /// From one picture to the next.
    stride: u64,
    size: (usize, usize),
    /// How a pixel's values are found.
    order: PixelOrder,
}

/// How an archive orders the numbers of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PixelOrder {
    /// All red values row by row, then green, then blue.
    Planes,
    /// All red values column by column, then green, then blue.
    PlanesByColumn,
    /// One grey value for each pixel.
    Grey,
}

impl RawFile {
    /// Opens a file in which `count` pictures begin at `offset`, each `stride` bytes after the
    /// last.
    pub(super) fn open(
        path: &Path,
        (offset, stride): (u64, u64),
        count: usize,
        size: (usize, usize),
        order: PixelOrder,
    ) -> Result<Self> {
        let (file, metadata) = flava_base::open(path)?;
        let length = metadata.len();
        let pixels = Self {
            path: path.to_owned(),
            file,
            offset,
            stride,
            size,
            order,
        };
        let last = stride
            .checked_mul(count.saturating_sub(1) as u64)
            .and_then(|last| last.checked_add(offset));
        let needed = last
            .and_then(|last| last.checked_add(if count > 0 { pixels.bytes() as u64 } else { 0 }))
            .unwrap_or(u64::MAX);
        if length < needed {
            return Err(Error::data(
                path,
                format!("is cut off: {length} bytes, {needed} are needed for {count} pictures"),
            ));
        }
        Ok(pixels)
    }

    fn bytes(&self) -> usize {
        self.size.0 * self.size.1 * if self.order == PixelOrder::Grey { 1 } else { 3 }
    }
}

impl Pixels for RawFile {
    fn size(&self) -> (usize, usize) {
        self.size
    }

    fn files(&self) -> Arc<[PathBuf]> {
        [self.path.clone()].into()
    }

    fn read(&self, index: usize) -> Result<Vec<u8>> {
        let mut raw = vec![0; self.bytes()];
        self.file
            .read_exact_at(&mut raw, self.offset + self.stride * index as u64)
            .map_err(|e| Error::io(&self.path, e))?;
        Ok(interleaved(&raw, self.size, self.order))
    }
}

/// Pictures in memory.
pub(super) struct InMemory {
    /// Where they come from.
    pub(super) files: Arc<[PathBuf]>,
    pub(super) bytes: Vec<u8>,
    pub(super) size: (usize, usize),
    pub(super) order: PixelOrder,
}

impl Pixels for InMemory {
    fn size(&self) -> (usize, usize) {
        self.size
    }

    fn files(&self) -> Arc<[PathBuf]> {
        Arc::clone(&self.files)
    }

    fn read(&self, index: usize) -> Result<Vec<u8>> {
        let step = self.size.0 * self.size.1 * if self.order == PixelOrder::Grey { 1 } else { 3 };
        Ok(interleaved(
            &self.bytes[index * step..(index + 1) * step],
            self.size,
            self.order,
        ))
    }
}

/// The values pixel by pixel.
fn interleaved(raw: &[u8], (height, width): (usize, usize), order: PixelOrder) -> Vec<u8> {
    let plane = height * width;
    let place = |pixel: usize| match order {
        PixelOrder::PlanesByColumn => (pixel % width) * height + pixel / width,
        PixelOrder::Planes | PixelOrder::Grey => pixel,
    };
    match order {
        PixelOrder::Grey => raw.to_vec(),
        _ => (0..plane)
            .flat_map(|pixel| [0, 1, 2].map(|channel| raw[channel * plane + place(pixel)]))
            .collect(),
    }
}
