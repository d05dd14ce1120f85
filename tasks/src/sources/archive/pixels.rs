//! Archives that hold pictures as plain numbers: PCAM, STL10, MNIST, CIFAR.

use std::{
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    super::{
        guarded,
        listing::{InMemory, Listing, PixelOrder, Pixels, RawFile, read_limited, read_text},
    },
    inner, pickle, trains,
};
use crate::{Error, Result};

/// Largest file that is read as a whole: MNIST's and CIFAR's.
const MAX_FILE: u64 = 512 << 20;
/// Bytes that a part of an HDF5 file may unpack to at once.
const MAX_READ: usize = 64 << 20;
/// Most patches of one file; PCAM has 262,144.
const MAX_PATCHES: u64 = 1 << 20;
/// Height, width and channels of a patch of PCAM.
const PATCH: [u64; 3] = [96, 96, 3];

/// The classes of a file of single bytes; `first` is what the first class is called.
fn classes_of(path: &Path, bytes: &[u8], first: u8) -> Result<Vec<usize>> {
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

fn same_count(path: &Path, pictures: usize, labels: usize) -> Result<()> {
    let reason = || {
        Error::data(
            path,
            format!("has {pictures} pictures, and there are {labels} labels"),
        )
    };
    if pictures == labels {
        Ok(())
    } else {
        Err(reason())
    }
}

/// `train_X.bin` of 96x96 pixels, channel by channel and column by column; `train_y.bin` of classes
/// from 1.
pub(super) fn stl10(root: &Path, split: &str) -> Result<Listing> {
    const SIDE: usize = 96;
    const BYTES: u64 = (3 * SIDE * SIDE) as u64;
    let root = &inner(root, &["stl10_binary"], "test_X.bin");
    let (pictures, labels) = (
        root.join(format!("{split}_X.bin")),
        root.join(format!("{split}_y.bin")),
    );
    let classes = classes_of(&labels, &read_limited(&labels, MAX_FILE)?, 1)?;
    let size = std::fs::metadata(&pictures)
        .map_err(|e| Error::io(&pictures, e))?
        .len();
    if size % BYTES != 0 {
        return Err(Error::data(
            &pictures,
            format!("is cut off: {size} bytes are no whole number of pictures"),
        ));
    }
    same_count(&pictures, (size / BYTES) as usize, classes.len())?;
    let pixels = RawFile::open(
        &pictures,
        (0, BYTES),
        classes.len(),
        (SIDE, SIDE),
        PixelOrder::PlanesByColumn,
    )?;
    let names = root.join("class_names.txt");
    let names = if names.exists() {
        read_text(&names)?.lines().map(str::to_owned).collect()
    } else {
        Vec::new()
    };
    Ok(Listing::of_pixels(&pictures, classes, Arc::new(pixels)).with_class_names(names))
}

/// The idx files of MNIST, plain or gzipped.
pub(super) fn mnist(root: &Path, split: &str) -> Result<Listing> {
    let part = if trains(root, split)? {
        "train"
    } else {
        "t10k"
    };
    let (images, (sizes, bytes)) = idx(root, &format!("{part}-images-idx3-ubyte"), 3)?;
    let (labels, (_, classes)) = idx(root, &format!("{part}-labels-idx1-ubyte"), 1)?;
    let classes = classes_of(&labels, &classes, 0)?;
    same_count(&images, sizes[0], classes.len())?;
    let pixels = InMemory {
        files: [images.clone()].into(),
        bytes,
        size: (sizes[1], sizes[2]),
        order: PixelOrder::Grey,
    };
    Ok(Listing::of_pixels(&images, classes, Arc::new(pixels)))
}

/// A file's path, the dimensions of its array, and its content.
type Idx = (PathBuf, (Vec<usize>, Vec<u8>));

/// An idx file of bytes.
fn idx(root: &Path, name: &str, dimensions: usize) -> Result<Idx> {
    let folder = ["", "raw", "MNIST/raw"]
        .iter()
        .map(|below| root.join(below));
    let files = folder.flat_map(|folder| {
        [
            folder.join(name),
            folder.join(format!("{name}.gz")),
            folder.join(name.replace("-idx", ".idx")),
        ]
    });
    let files: Vec<PathBuf> = files.collect();
    let path = files
        .iter()
        .find(|file| file.exists())
        .ok_or_else(|| Error::data(root, format!("has no {name}")))?;
    let mut bytes = read_limited(path, MAX_FILE)?;
    if bytes.starts_with(&[0x1f, 0x8b]) {
        let mut unpacked = Vec::new();
        flate2::read::GzDecoder::new(bytes.as_slice())
            .take(MAX_FILE)
            .read_to_end(&mut unpacked)
            .map_err(|e| Error::io(path, e))?;
        bytes = unpacked;
    }
    let header = 4 + 4 * dimensions;
    if bytes.len() < header || bytes[..4] != [0, 0, 8, dimensions as u8] {
        return Err(Error::data(
            path,
            format!("is no idx file of bytes with {dimensions} dimensions"),
        ));
    }
    let size = |i: usize| u32::from_be_bytes([0, 1, 2, 3].map(|b| bytes[4 + 4 * i + b])) as usize;
    let sizes: Vec<usize> = (0..dimensions).map(size).collect();
    let needed = sizes
        .iter()
        .try_fold(1usize, |product, size| product.checked_mul(*size));
    if needed != Some(bytes.len() - header) {
        return Err(Error::data(
            path,
            format!("is cut off: {sizes:?} and {} bytes", bytes.len() - header),
        ));
    }
    Ok((path.clone(), (sizes, bytes.split_off(header))))
}

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cifar {
    Ten,
    Hundred,
}

/// The binary version (`data_batch_1.bin`, `train.bin`) or the Python version (pickles, read
/// without running any).
pub(super) fn cifar(root: &Path, split: &str, which: Cifar) -> Result<Listing> {
    let (below, binary, python): (&[&str], Vec<String>, Vec<String>) =
        match (which, trains(root, split)?) {
            (Cifar::Ten, true) => (
                &["cifar-10-batches-bin", "cifar-10-batches-py"],
                (1..=5).map(|i| format!("data_batch_{i}.bin")).collect(),
                (1..=5).map(|i| format!("data_batch_{i}")).collect(),
            ),
            (Cifar::Ten, _) => (
                &["cifar-10-batches-bin", "cifar-10-batches-py"],
                vec!["test_batch.bin".into()],
                vec!["test_batch".into()],
            ),
            (Cifar::Hundred, _) => (
                &["cifar-100-binary", "cifar-100-python"],
                vec![format!("{split}.bin")],
                vec![split.to_owned()],
            ),
        };
    let folders: Vec<PathBuf> = below
        .iter()
        .map(|folder| root.join(folder))
        .chain([root.to_owned()])
        .collect();
    let find = |names: &[String]| {
        let folder = folders
            .iter()
            .find(|folder| names.iter().all(|name| folder.join(name).is_file()))?;
        Some(
            names
                .iter()
                .map(|name| folder.join(name))
                .collect::<Vec<PathBuf>>(),
        )
    };
    let (mut bytes, mut classes) = (Vec::new(), Vec::new());
    let files: Arc<[PathBuf]> = if let Some(files) = find(&binary) {
        files
            .iter()
            .try_for_each(|file| cifar_binary(file, which, &mut bytes, &mut classes))?;
        files.into()
    } else if let Some(files) = find(&python) {
        files
            .iter()
            .try_for_each(|file| cifar_python(file, which, &mut bytes, &mut classes))?;
        files.into()
    } else {
        return Err(Error::data(
            root,
            format!(
                "has neither {} nor {}",
                binary.join(", "),
                python.join(", ")
            ),
        ));
    };
    Ok(Listing::of_pixels(
        root,
        classes,
        Arc::new(InMemory {
            files,
            bytes,
            size: (32, 32),
            order: PixelOrder::Planes,
        }),
    ))
}

/// Bytes of a picture of CIFAR.
const TINY: usize = 3 * 32 * 32;

/// A label (CIFAR-100: the coarse one, then the fine one) and the picture, again and again.
fn cifar_binary(
    path: &Path,
    which: Cifar,
    bytes: &mut Vec<u8>,
    classes: &mut Vec<usize>,
) -> Result<()> {
    let labels = if which == Cifar::Ten { 1 } else { 2 };
    let file = read_limited(path, MAX_FILE)?;
    if file.is_empty() || file.len() % (labels + TINY) != 0 {
        return Err(Error::data(
            path,
            format!(
                "is cut off: {} bytes are no whole number of pictures",
                file.len()
            ),
        ));
    }
    for row in file.chunks_exact(labels + TINY) {
        classes.push(usize::from(row[labels - 1]));
        bytes.extend_from_slice(&row[labels..]);
    }
    Ok(())
}

fn cifar_python(
    path: &Path,
    which: Cifar,
    bytes: &mut Vec<u8>,
    classes: &mut Vec<usize>,
) -> Result<()> {
    let key = if which == Cifar::Ten {
        "labels"
    } else {
        "fine_labels"
    };
    let broken = |reason: String| Error::data(path, reason);
    let content = pickle::read(&read_limited(path, MAX_FILE)?).map_err(broken)?;
    let labels = content.entry(key).and_then(pickle::Value::integers);
    let rows = labels.as_ref().map_or(0, Vec::len);
    let (Some(pixels), Some(labels)) = (
        content
            .entry("data")
            .and_then(|data| data.array_bytes(&[rows, TINY])),
        labels,
    ) else {
        return Err(broken(format!(
            "is no batch of CIFAR: it has no data row by row, or no {key}"
        )));
    };
    if pixels.len() != labels.len() * TINY {
        return Err(broken(format!(
            "has {} bytes of pictures and {} labels",
            pixels.len(),
            labels.len()
        )));
    }
    for label in labels {
        classes.push(
            usize::try_from(label).map_err(|_| broken(format!("the label {label} is none")))?,
        );
    }
    bytes.extend_from_slice(pixels);
    Ok(())
}

/// One of PCAM's HDF5 files of patches.
struct Patches {
    path: PathBuf,
    file: hdf5_reader::Hdf5File,
}

impl Pixels for Patches {
    fn size(&self) -> (usize, usize) {
        (PATCH[0] as usize, PATCH[1] as usize)
    }

    fn files(&self) -> Arc<[PathBuf]> {
        [self.path.clone()].into()
    }

    fn read(&self, index: usize) -> Result<Vec<u8>> {
        let row = index as u64;
        guarded(&self.path, || {
            slice(
                &self.path,
                &self.file,
                "x",
                &[(row, row + 1), (0, PATCH[0]), (0, PATCH[1]), (0, PATCH[2])],
            )
        })
    }
}

/// A part of a data set of bytes.
fn slice(
    path: &Path,
    file: &hdf5_reader::Hdf5File,
    name: &str,
    ranges: &[(u64, u64)],
) -> Result<Vec<u8>> {
    let element = |(start, end): &(u64, u64)| hdf5_reader::SliceInfoElem::Slice {
        start: *start,
        end: *end,
        step: 1,
    };
    let selection = hdf5_reader::SliceInfo {
        selections: ranges.iter().map(element).collect(),
    };
    let values = file
        .dataset(&format!("/{name}"))
        .and_then(|set| set.read_slice::<u8>(&selection))
        .map_err(|e| Error::data(path, e))?;
    Ok(values.into_iter().collect())
}

/// `camelyonpatch_level_2_split_train_x.h5` and `.._y.h5`.
pub(super) fn pcam(root: &Path, split: &str) -> Result<Listing> {
    let root = &inner(root, &["pcam"], "camelyonpatch_level_2_split_test_x.h5");
    let open = |what: &str| -> Result<(PathBuf, hdf5_reader::Hdf5File, Vec<u64>)> {
        let path = root.join(format!("camelyonpatch_level_2_split_{split}_{what}.h5"));
        flava_base::open(&path)?;
        let options = hdf5_reader::OpenOptions::default().with_max_read_bytes(MAX_READ);
        let open = || {
            hdf5_reader::Hdf5File::open_with_options(&path, options)
                .map_err(|e| Error::data(&path, format!("is no HDF5 file: {e}")))
        };
        let file = guarded(&path, open)?;
        let shape = guarded(&path, || {
            Ok(file
                .dataset(&format!("/{what}"))
                .map_err(|e| Error::data(&path, e))?
                .shape()
                .to_vec())
        })?;
        Ok((path, file, shape))
    };
    let (path, file, shape) = open("x")?;
    if shape.len() != 4 || shape[1..] != PATCH {
        return Err(Error::data(
            &path,
            format!("holds an array of {shape:?}, not of pictures of {PATCH:?}"),
        ));
    }
    if shape[0] > MAX_PATCHES {
        return Err(Error::data(
            &path,
            format!("holds {} pictures, more than {MAX_PATCHES}", shape[0]),
        ));
    }
    let (labels_path, labels, labels_shape) = open("y")?;
    let labels_in_all = labels_shape
        .iter()
        .try_fold(1u64, |count, size| count.checked_mul(*size));
    if labels_in_all != Some(shape[0]) {
        return Err(Error::data(
            &labels_path,
            format!(
                "holds an array of {labels_shape:?} for {} pictures",
                shape[0]
            ),
        ));
    }
    let ranges: Vec<(u64, u64)> = labels_shape.iter().map(|size| (0, *size)).collect();
    let classes = guarded(&labels_path, || slice(&labels_path, &labels, "y", &ranges))?;
    let classes = classes_of(&labels_path, &classes, 0)?;
    Ok(Listing::of_pixels(
        &path.clone(),
        classes,
        Arc::new(Patches { path, file }),
    ))
}
