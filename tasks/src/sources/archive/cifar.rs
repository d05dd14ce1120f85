//! CIFAR: the binary version, or the Python version, whose pickles are read without running any.

use std::{
    borrow::Cow,
    path::{Path, PathBuf},
    sync::Arc,
};

use flava_base::pickle::{self, Id, Object, Pickle, Value};

use super::{
    super::{
        listing::Listing,
        raw_images::{ImageSize, InMemory, PixelOrder},
        reading::read_limited,
    },
    pixels::MAX_FILE,
    positions::trains,
};
use crate::{Error, Result};

/// Side of an image.
const SIDE: usize = 32;
/// Bytes of an image.
const TINY: usize = 3 * SIDE * SIDE;

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cifar {
    Ten,
    Hundred,
}

/// The folders and files of a split.
struct Batches {
    folders: [&'static str; 2],
    /// Of the binary version.
    binary: Vec<String>,
    /// Of the Python version.
    python: Vec<String>,
}

impl Cifar {
    fn batches(self, split: &str, training: bool) -> Batches {
        let ten = ["cifar-10-batches-bin", "cifar-10-batches-py"];
        match (self, training) {
            (Self::Ten, true) => Batches {
                folders: ten,
                binary: (1..=5).map(|i| format!("data_batch_{i}.bin")).collect(),
                python: (1..=5).map(|i| format!("data_batch_{i}")).collect(),
            },
            (Self::Ten, false) => Batches {
                folders: ten,
                binary: vec!["test_batch.bin".into()],
                python: vec!["test_batch".into()],
            },
            (Self::Hundred, _) => Batches {
                folders: ["cifar-100-binary", "cifar-100-python"],
                binary: vec![format!("{split}.bin")],
                python: vec![split.to_owned()],
            },
        }
    }
}

impl Batches {
    /// The files of these names, all in one folder, if they are there.
    fn find(&self, root: &Path, names: &[String]) -> Option<Vec<PathBuf>> {
        let below = self.folders.iter().map(|folder| root.join(folder));
        let mut folders = below.chain([root.to_owned()]);
        let folder = folders.find(|folder| names.iter().all(|name| folder.join(name).is_file()))?;
        Some(names.iter().map(|name| folder.join(name)).collect())
    }
}

/// What was read of a split's files.
#[derive(Default)]
struct Tiny {
    bytes: Vec<u8>,
    classes: Vec<usize>,
}

/// The binary version (`data_batch_1.bin`, `train.bin`) or the Python version (pickles, read
/// without running any).
pub(super) fn cifar(root: &Path, split: &str, which: Cifar) -> Result<Listing> {
    let batches = which.batches(split, trains(root, split)?);
    let mut tiny = Tiny::default();
    let files = if let Some(files) = batches.find(root, &batches.binary) {
        files
            .iter()
            .try_for_each(|file| tiny.add_binary(file, which))?;
        files
    } else if let Some(files) = batches.find(root, &batches.python) {
        files
            .iter()
            .try_for_each(|file| tiny.add_python(file, which))?;
        files
    } else {
        let (binary, python) = (batches.binary.join(", "), batches.python.join(", "));
        return Err(Error::data(
            root,
            format!("has neither {binary} nor {python}"),
        ));
    };
    let pixels = InMemory {
        files: files.into(),
        bytes: tiny.bytes,
        size: ImageSize {
            height: SIDE,
            width: SIDE,
        },
        order: PixelOrder::Planes,
    };
    Ok(Listing::of_pixels(root, tiny.classes, Arc::new(pixels)))
}

impl Tiny {
    /// A label (CIFAR-100: the coarse one, then the fine one) and the image, again and again.
    fn add_binary(&mut self, path: &Path, which: Cifar) -> Result<()> {
        let labels = if which == Cifar::Ten { 1 } else { 2 };
        let file = read_limited(path, MAX_FILE)?;
        if file.is_empty() || file.len() % (labels + TINY) != 0 {
            let bytes = file.len();
            let reason = format!("is cut off: {bytes} bytes are no whole number of images");
            return Err(Error::data(path, reason));
        }
        for row in file.chunks_exact(labels + TINY) {
            self.classes.push(usize::from(row[labels - 1]));
            self.bytes.extend_from_slice(&row[labels..]);
        }
        Ok(())
    }

    fn add_python(&mut self, path: &Path, which: Cifar) -> Result<()> {
        let file = read_limited(path, MAX_FILE)?;
        self.add_pickle(&file, which)
            .map_err(|reason| Error::data(path, reason))
    }

    fn add_pickle(&mut self, file: &[u8], which: Cifar) -> std::result::Result<(), String> {
        let key = match which {
            Cifar::Ten => "labels",
            Cifar::Hundred => "fine_labels",
        };
        // Any class may be mentioned, since none is used: only arrays of bytes mean anything here.
        let content = pickle::load(file, &|_| Ok(()))?;
        let labels = entry(&content, key);
        let labels = labels.and_then(|labels| content.ints(labels));
        let rows = labels.as_ref().map_or(0, Vec::len);
        let data = entry(&content, "data");
        let pixels = data.and_then(|data| array_bytes(&content, data, [rows, TINY]));
        let (Some(pixels), Some(labels)) = (pixels, labels) else {
            return Err(format!(
                "is no batch of CIFAR: it has no data row by row, or no {key}"
            ));
        };
        if pixels.len() != labels.len() * TINY {
            let (bytes, labels) = (pixels.len(), labels.len());
            return Err(format!("has {bytes} bytes of images and {labels} labels"));
        }
        for label in labels {
            let class = usize::try_from(label).map_err(|_| format!("the label {label} is none"))?;
            self.classes.push(class);
        }
        self.bytes.extend_from_slice(&pixels);
        Ok(())
    }
}

/// What the dictionary that a pickle is holds under `key`, which may be a text or bytes.
fn entry(pickle: &Pickle<'_>, key: &str) -> Option<Id> {
    let Value::Dict(pairs) = pickle.get(pickle.top()) else {
        return None;
    };
    let is_key = |id| content_bytes(pickle, id).is_some_and(|bytes| *bytes == *key.as_bytes());
    let pair = pairs.iter().find(|&&(name, _)| is_key(name));
    pair.map(|&(_, value)| value)
}

/// The bytes of a numpy array of unsigned bytes of this shape, row by row: what was set on it is
/// version, shape, type, whether it is stored column by column, content.
fn array_bytes<'a>(pickle: &Pickle<'a>, id: Id, shape: [usize; 2]) -> Option<Cow<'a, [u8]>> {
    let Value::Object(array) = pickle.get(id) else {
        return None;
    };
    let &[_, sizes, dtype, by_columns, content] = pickle.items(array.state?)? else {
        return None;
    };
    let by_rows = matches!(pickle.get(by_columns), Value::Int(0) | Value::Bool(false));
    let wanted = shape.map(|size| size as i64);
    let fits = by_rows && is_u8(pickle, dtype) && pickle.ints(sizes)? == wanted;
    fits.then(|| content_bytes(pickle, content)).flatten()
}

/// `dtype('u1', ...)`.
fn is_u8(pickle: &Pickle<'_>, id: Id) -> bool {
    let Value::Object(dtype) = pickle.get(id) else {
        return false;
    };
    let arguments = pickle.arguments(dtype);
    let first = arguments.first().and_then(|&first| pickle.text(first));
    first == Some("u1")
}

/// Bytes as they are, or as `_codecs.encode(text, 'latin1')`, which is how Python 3 writes them at
/// protocol 2: a UTF-8 text of characters below 256.
fn content_bytes<'a>(pickle: &Pickle<'a>, id: Id) -> Option<Cow<'a, [u8]>> {
    match pickle.get(id) {
        Value::Bytes(bytes) => Some(Cow::Borrowed(bytes)),
        Value::Object(call) if is_latin1(pickle, call) => {
            let text = pickle.text(*pickle.arguments(call).first()?)?;
            let bytes: Option<Vec<u8>> = text
                .chars()
                .map(|c| u8::try_from(u32::from(c)).ok())
                .collect();
            bytes.map(Cow::Owned)
        }
        _ => None,
    }
}

fn is_latin1(pickle: &Pickle<'_>, call: &Object) -> bool {
    let arguments = pickle.arguments(call);
    let codec = arguments.get(1).and_then(|&codec| pickle.text(codec));
    pickle.function(call) == "_codecs.encode" && codec == Some("latin1")
}
