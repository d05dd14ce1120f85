//! Images that an archive holds as plain numbers, in a file or in memory.

use std::{
    fs::File,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use image::{ExtendedColorType, ImageEncoder, ImageResult, codecs::bmp::BmpEncoder};

use crate::{Error, Result};

/// How large an image is, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ImageSize {
    pub(super) height: usize,
    pub(super) width: usize,
}

impl ImageSize {
    fn pixels(self) -> usize {
        self.height * self.width
    }
}

/// Images that an archive holds as plain numbers.
pub(super) trait Pixels: Send + Sync {
    /// Height and width.
    fn size(&self) -> ImageSize;

    /// The files that they are in.
    fn files(&self) -> Arc<[PathBuf]>;

    /// An image's bytes: row by row, each pixel red, green, blue, or one grey value.
    fn read(&self, index: usize) -> Result<Vec<u8>>;
}

/// Plain pixels as an image file that costs nothing to decode.
pub(super) fn bmp(pixels: &[u8], size: ImageSize) -> ImageResult<Vec<u8>> {
    let kind = if pixels.len() == size.pixels() {
        ExtendedColorType::L8
    } else {
        ExtendedColorType::Rgb8
    };
    let mut file = Vec::with_capacity(pixels.len() + 2048);
    let encoder = BmpEncoder::new(&mut file);
    encoder.write_image(pixels, size.width as u32, size.height as u32, kind)?;
    Ok(file)
}

/// How an archive orders the numbers of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PixelOrder {
    /// All red values row by row, then green, then blue.
    Planes,
    /// All red values column by column, then green, then blue.
    PlanesByColumn,
    /// One grey value for each pixel.
    Grey,
}

impl PixelOrder {
    /// How many numbers an image has.
    fn values(self, size: ImageSize) -> usize {
        size.pixels() * if self == Self::Grey { 1 } else { 3 }
    }
}

/// Where a file holds its images, all of one size.
#[derive(Clone, Copy, Debug)]
pub(super) struct RawLayout {
    /// Of the first image.
    pub(super) offset: u64,
    /// From one image to the next.
    pub(super) stride: u64,
    pub(super) size: ImageSize,
    /// How a pixel's values are found.
    pub(super) order: PixelOrder,
}

impl RawLayout {
    /// Numbers of one image.
    fn values(&self) -> usize {
        self.order.values(self.size)
    }

    /// Bytes that a file of `count` images has at least; the largest number where it cannot be
    /// told.
    fn bytes(&self, count: usize) -> u64 {
        let last = self
            .stride
            .checked_mul(count.saturating_sub(1) as u64)
            .and_then(|last| last.checked_add(self.offset));
        last.and_then(|last| last.checked_add(if count > 0 { self.values() as u64 } else { 0 }))
            .unwrap_or(u64::MAX)
    }
}

/// Images of one size, one after the other in a file.
pub(super) struct RawFile {
    path: PathBuf,
    file: File,
    layout: RawLayout,
}

impl RawFile {
    /// Opens a file in which `count` images lie.
    pub(super) fn open(path: &Path, layout: RawLayout, count: usize) -> Result<Self> {
        let (file, metadata) = flava_base::open(path)?;
        let (length, needed) = (metadata.len(), layout.bytes(count));
        if length < needed {
            return Err(Error::data(
                path,
                format!("is cut off: {length} bytes, {needed} are needed for {count} images"),
            ));
        }
        Ok(Self {
            path: path.to_owned(),
            file,
            layout,
        })
    }
}

impl Pixels for RawFile {
    fn size(&self) -> ImageSize {
        self.layout.size
    }

    fn files(&self) -> Arc<[PathBuf]> {
        [self.path.clone()].into()
    }

    fn read(&self, index: usize) -> Result<Vec<u8>> {
        let RawLayout {
            offset,
            stride,
            size,
            order,
        } = self.layout;
        let mut raw = vec![0; self.layout.values()];
        self.file
            .read_exact_at(&mut raw, offset + stride * index as u64)
            .map_err(|e| Error::io(&self.path, e))?;
        Ok(interleaved(&raw, size, order))
    }
}

/// Images in memory.
pub(super) struct InMemory {
    /// Where they come from.
    pub(super) files: Arc<[PathBuf]>,
    pub(super) bytes: Vec<u8>,
    pub(super) size: ImageSize,
    pub(super) order: PixelOrder,
}

impl Pixels for InMemory {
    fn size(&self) -> ImageSize {
        self.size
    }

    fn files(&self) -> Arc<[PathBuf]> {
        Arc::clone(&self.files)
    }

    fn read(&self, index: usize) -> Result<Vec<u8>> {
        let step = self.order.values(self.size);
        let raw = &self.bytes[index * step..(index + 1) * step];
        Ok(interleaved(raw, self.size, self.order))
    }
}

/// The values pixel by pixel.
fn interleaved(raw: &[u8], size: ImageSize, order: PixelOrder) -> Vec<u8> {
    let (height, width, plane) = (size.height, size.width, size.pixels());
    let position = |pixel: usize| match order {
        PixelOrder::PlanesByColumn => (pixel % width) * height + pixel / width,
        PixelOrder::Planes | PixelOrder::Grey => pixel,
    };
    match order {
        PixelOrder::Grey => raw.to_vec(),
        _ => (0..plane)
            .flat_map(|pixel| [0, 1, 2].map(|channel| raw[channel * plane + position(pixel)]))
            .collect(),
    }
}
