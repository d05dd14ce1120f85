//! Archives that hold images as plain numbers: STL10 and MNIST.

use std::{
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    super::{
        listing::Listing,
        raw_images::{ImageSize, InMemory, PixelOrder, RawFile, RawLayout},
        reading::{read_limited, read_text},
    },
    positions::{inner, trains},
};
use crate::{Error, Result};

/// Largest file that is read as a whole: MNIST's and CIFAR's.
pub(super) const MAX_FILE: u64 = 512 << 20;

/// The classes of a file of single bytes; `first` is what the first class is called.
pub(super) fn classes_of(path: &Path, bytes: &[u8], first: u8) -> Result<Vec<usize>> {
    let class = |(row, byte): (usize, &u8)| {
        let class = byte.checked_sub(first).map(usize::from);
        class.ok_or_else(|| {
            Error::data(
                path,
                format!("row {row}: label {byte} is none; they begin with {first}"),
            )
        })
    };
    bytes.iter().enumerate().map(class).collect()
}

fn same_count(path: &Path, images: usize, labels: usize) -> Result<()> {
    if images == labels {
        return Ok(());
    }
    let reason = format!("has {images} images, and there are {labels} labels");
    Err(Error::data(path, reason))
}

/// `train_X.bin` of 96x96 pixels, channel by channel and column by column; `train_y.bin` of classes
/// from 1.
pub(super) fn stl10(root: &Path, split: &str) -> Result<Listing> {
    let root = &inner(root, &["stl10_binary"], "test_X.bin");
    let images = root.join(format!("{split}_X.bin"));
    let labels = root.join(format!("{split}_y.bin"));
    let classes = classes_of(&labels, &read_limited(&labels, MAX_FILE)?, 1)?;
    let pixels = stl10_images(&images, classes.len())?;
    let names = root.join("class_names.txt");
    let names = if names.exists() {
        read_text(&names)?.lines().map(str::to_owned).collect()
    } else {
        Vec::new()
    };
    Ok(Listing::of_pixels(&images, classes, Arc::new(pixels)).with_class_names(names))
}

/// A file of images of STL10, one for each of `labels` labels.
fn stl10_images(path: &Path, labels: usize) -> Result<RawFile> {
    const SIDE: usize = 96;
    const BYTES: u64 = (3 * SIDE * SIDE) as u64;
    let metadata = std::fs::metadata(path).map_err(|e| Error::io(path, e))?;
    let bytes = metadata.len();
    if bytes % BYTES != 0 {
        let reason = format!("is cut off: {bytes} bytes are no whole number of images");
        return Err(Error::data(path, reason));
    }
    same_count(path, (bytes / BYTES) as usize, labels)?;
    let layout = RawLayout {
        offset: 0,
        stride: BYTES,
        size: ImageSize {
            height: SIDE,
            width: SIDE,
        },
        order: PixelOrder::PlanesByColumn,
    };
    RawFile::open(path, layout, labels)
}

/// The idx files of MNIST, plain or gzipped.
pub(super) fn mnist(root: &Path, split: &str) -> Result<Listing> {
    let training = trains(root, split)?;
    let part = if training { "train" } else { "t10k" };
    let images = Idx::open(root, &format!("{part}-images-idx3-ubyte"), 3)?;
    let labels = Idx::open(root, &format!("{part}-labels-idx1-ubyte"), 1)?;
    let classes = classes_of(&labels.path, &labels.values, 0)?;
    same_count(&images.path, images.sizes[0], classes.len())?;
    let pixels = InMemory {
        files: [images.path.clone()].into(),
        bytes: images.values,
        size: ImageSize {
            height: images.sizes[1],
            width: images.sizes[2],
        },
        order: PixelOrder::Grey,
    };
    Ok(Listing::of_pixels(&images.path, classes, Arc::new(pixels)))
}

/// An idx file of bytes: the dimensions of its array, and its content.
struct Idx {
    path: PathBuf,
    sizes: Vec<usize>,
    values: Vec<u8>,
}

impl Idx {
    fn open(root: &Path, name: &str, dimensions: usize) -> Result<Self> {
        let path = idx_file(root, name)?;
        let mut bytes = unpacked(&path)?;
        let sizes = idx_sizes(&bytes, dimensions).map_err(|reason| Error::data(&path, reason))?;
        let values = bytes.split_off(idx_header(dimensions));
        Ok(Self {
            path,
            sizes,
            values,
        })
    }
}

/// Where an idx file is, by one of the names that it has in copies.
fn idx_file(root: &Path, name: &str) -> Result<PathBuf> {
    let names = [
        name.to_owned(),
        format!("{name}.gz"),
        name.replace("-idx", ".idx"),
    ];
    for below in ["", "raw", "MNIST/raw"] {
        let mut files = names.iter().map(|name| root.join(below).join(name));
        if let Some(file) = files.find(|file| file.exists()) {
            return Ok(file);
        }
    }
    Err(Error::data(root, format!("has no {name}")))
}

/// A file's bytes, unpacked where it is gzipped.
fn unpacked(path: &Path) -> Result<Vec<u8>> {
    let bytes = read_limited(path, MAX_FILE)?;
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return Ok(bytes);
    }
    let mut unpacked = Vec::new();
    flate2::read::GzDecoder::new(bytes.as_slice())
        .take(MAX_FILE)
        .read_to_end(&mut unpacked)
        .map_err(|e| Error::io(path, e))?;
    Ok(unpacked)
}

/// Bytes of the header of an idx file.
fn idx_header(dimensions: usize) -> usize {
    4 + 4 * dimensions
}

/// The dimensions of the array of an idx file, which has no more and no less than it.
fn idx_sizes(bytes: &[u8], dimensions: usize) -> std::result::Result<Vec<usize>, String> {
    let header = idx_header(dimensions);
    if bytes.len() < header || bytes[..4] != [0, 0, 8, dimensions as u8] {
        return Err(format!(
            "is no idx file of bytes with {dimensions} dimensions"
        ));
    }
    let size = |i: usize| u32::from_be_bytes([0, 1, 2, 3].map(|b| bytes[4 + 4 * i + b])) as usize;
    let sizes: Vec<usize> = (0..dimensions).map(size).collect();
    let needed = sizes
        .iter()
        .try_fold(1usize, |product, size| product.checked_mul(*size));
    let there = bytes.len() - header;
    if needed != Some(there) {
        return Err(format!("is cut off: {sizes:?} and {there} bytes"));
    }
    Ok(sizes)
}
