//! PCAM: patches of 96x96 pixels and their labels in HDF5 files.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use hdf5_reader::{Hdf5File, OpenOptions, SliceInfo, SliceInfoElem};

use super::{
    super::{
        listing::Listing,
        raw_images::{ImageSize, Pixels},
        reading::guarded,
    },
    pixels::classes_of,
    positions::inner,
};
use crate::{Error, Result};

/// Bytes that a part of an HDF5 file may unpack to at once.
const MAX_READ: usize = 64 << 20;
/// Most patches of one file; PCAM has 262,144.
const MAX_PATCHES: u64 = 1 << 20;
/// Height, width and channels of a patch.
const PATCH: [u64; 3] = [96, 96, 3];

/// An HDF5 file with one array of bytes.
struct ArrayFile {
    path: PathBuf,
    file: Hdf5File,
    /// What the array is called.
    name: &'static str,
    shape: Vec<u64>,
}

impl ArrayFile {
    fn open(path: PathBuf, name: &'static str) -> Result<Self> {
        flava_base::open(&path)?;
        let options = OpenOptions::default().with_max_read_bytes(MAX_READ);
        let file = guarded(&path, || {
            Hdf5File::open_with_options(&path, options)
                .map_err(|e| Error::data(&path, format!("is no HDF5 file: {e}")))
        })?;
        let shape = guarded(&path, || {
            let set = file.dataset(&format!("/{name}"));
            let set = set.map_err(|e| Error::data(&path, e))?;
            Ok(set.shape().to_vec())
        })?;
        Ok(Self {
            path,
            file,
            name,
            shape,
        })
    }

    /// A part of the array.
    fn slice(&self, ranges: &[(u64, u64)]) -> Result<Vec<u8>> {
        let element = |(start, end): &(u64, u64)| SliceInfoElem::Slice {
            start: *start,
            end: *end,
            step: 1,
        };
        let selection = SliceInfo {
            selections: ranges.iter().map(element).collect(),
        };
        guarded(&self.path, || {
            let values = self
                .file
                .dataset(&format!("/{}", self.name))
                .and_then(|set| set.read_slice::<u8>(&selection))
                .map_err(|e| Error::data(&self.path, e))?;
            Ok(values.into_iter().collect())
        })
    }

    fn wrong(&self, reason: String) -> Error {
        Error::data(&self.path, reason)
    }
}

/// The file of patches.
struct Patches(ArrayFile);

impl Patches {
    fn new(file: ArrayFile) -> Result<Self> {
        let shape = &file.shape;
        if shape.len() != 4 || shape[1..] != PATCH {
            let reason = format!("holds an array of {shape:?}, not of images of {PATCH:?}");
            return Err(file.wrong(reason));
        }
        if shape[0] > MAX_PATCHES {
            let reason = format!("holds {} images, more than {MAX_PATCHES}", shape[0]);
            return Err(file.wrong(reason));
        }
        Ok(Self(file))
    }

    fn count(&self) -> u64 {
        self.0.shape[0]
    }
}

impl Pixels for Patches {
    fn size(&self) -> ImageSize {
        ImageSize {
            height: PATCH[0] as usize,
            width: PATCH[1] as usize,
        }
    }

    fn files(&self) -> Arc<[PathBuf]> {
        [self.0.path.clone()].into()
    }

    fn read(&self, index: usize) -> Result<Vec<u8>> {
        let row = index as u64;
        let [height, width, channels] = PATCH;
        self.0
            .slice(&[(row, row + 1), (0, height), (0, width), (0, channels)])
    }
}

/// `camelyonpatch_level_2_split_train_x.h5` and `.._y.h5`.
pub(super) fn pcam(root: &Path, split: &str) -> Result<Listing> {
    let root = &inner(root, &["pcam"], "camelyonpatch_level_2_split_test_x.h5");
    let open = |name: &'static str| {
        let file = format!("camelyonpatch_level_2_split_{split}_{name}.h5");
        ArrayFile::open(root.join(file), name)
    };
    let patches = Patches::new(open("x")?)?;
    let labels = open("y")?;
    let classes = classes_of(&labels.path, &all_labels(&labels, patches.count())?, 0)?;
    let path = patches.0.path.clone();
    Ok(Listing::of_pixels(&path, classes, Arc::new(patches)))
}

/// The labels of so many patches.
fn all_labels(labels: &ArrayFile, patches: u64) -> Result<Vec<u8>> {
    let shape = &labels.shape;
    let in_all = shape
        .iter()
        .try_fold(1u64, |count, size| count.checked_mul(*size));
    if in_all != Some(patches) {
        let reason = format!("holds an array of {shape:?} for {patches} images");
        return Err(labels.wrong(reason));
    }
    let ranges: Vec<(u64, u64)> = shape.iter().map(|size| (0, *size)).collect();
    labels.slice(&ranges)
}
