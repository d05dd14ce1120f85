//! What a file of numbers says of itself: safetensors and numpy's form.

use std::{fs::File, io, os::unix::fs::FileExt};

use flava_base::{NPY_HEAD, npy_start};
use npyz::{DType, NpyHeader, Order};
use safetensors::{Dtype, tensor::Metadata};
use tch::Kind;

/// The tensor that is read of a safetensors file.
const TENSOR: &str = "features";
/// The key of the ids in its metadata.
const IDS: &str = "ids";
/// Largest head of a safetensors file, as its own reader has it.
const MAX_HEAD: u64 = 100_000_000;
/// Bytes that say how long that head is.
const LENGTH: u64 = 8;

/// What is wrong with a file, without its name.
pub(super) type Parsed<T> = std::result::Result<T, String>;

/// Where the numbers of a file are, and of what kind.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) kind: Kind,
    pub(super) shape: Vec<u64>,
    /// The first number's byte.
    pub(super) start: u64,
    /// What the rows are called, where the file says so.
    pub(super) ids: Option<Vec<String>>,
}

impl Header {
    /// The head of a safetensors file of so many bytes.
    pub(super) fn of_safetensors(file: &File, size: u64) -> Parsed<Self> {
        let mut length = [0; LENGTH as usize];
        read_at(file, &mut length, 0)?;
        let length = u64::from_le_bytes(length);
        if length > MAX_HEAD || length > size - LENGTH {
            return Err(format!(
                "has a head of {length} bytes: it is cut off, or no safetensors file"
            ));
        }
        let mut head = vec![0; length as usize];
        read_at(file, &mut head, LENGTH)?;
        let metadata: Metadata =
            serde_json::from_slice(&head).map_err(|e| format!("is no safetensors file: {e}"))?;
        metadata.data_range(LENGTH + length, size)
    }

    /// The head of a file of numpy of so many bytes.
    pub(super) fn of_npy(file: &File, size: u64) -> Parsed<Self> {
        let mut head = vec![0; NPY_HEAD.min(size as usize)];
        read_at(file, &mut head, 0)?;
        let start = npy_start(&head)?;
        // It multiplies the shape out, and may overflow.
        let header = flava_base::guarded(|| NpyHeader::from_reader(&head[..start]));
        let header = header
            .ok_or("has an impossible shape")?
            .map_err(|e| format!("is no file of numpy: {e}"))?;
        if header.uses_pickled_array() {
            return Err(
                "holds pickled objects, which are not read: save an array of numbers".into(),
            );
        }
        let header = Self {
            kind: kind_of_npy(&header.dtype())?,
            shape: header.shape().to_vec(),
            start: start as u64,
            ids: c_order(&header).map(|()| None)?,
        };
        let end = header
            .bytes()
            .and_then(|bytes| bytes.checked_add(header.start));
        match end {
            Some(end) if end == size => Ok(header),
            Some(end) if end < size => Err(format!("has {} bytes too many", size - end)),
            _ => Err(format!("is cut off: its shape is {:?}", header.shape)),
        }
    }

    /// Bytes of all its numbers; None where nothing could hold them.
    fn bytes(&self) -> Option<u64> {
        let element = self.kind.elt_size_in_bytes() as u64;
        let mut sizes = self.shape.iter();
        sizes.try_fold(element, |bytes, size| bytes.checked_mul(*size))
    }
}

/// Of what a safetensors file's head says, what is read.
trait DataRange {
    fn data_range(&self, start: u64, size: u64) -> Parsed<Header>;
}

impl DataRange for Metadata {
    fn data_range(&self, start: u64, size: u64) -> Parsed<Header> {
        let (wanted, have) = (self.data_len() as u64, size - start);
        if wanted != have {
            return Err(format!(
                "is cut off or too long: {wanted} bytes of tensors are announced, {have} are there"
            ));
        }
        let missing = || {
            let names = self.offset_keys().join(", ");
            format!("has no tensor {TENSOR} (but {names})")
        };
        let info = self.info(TENSOR).ok_or_else(missing)?;
        let ids = self.metadata().as_ref().and_then(|told| told.get(IDS));
        let ids = ids.map(|ids| serde_json::from_str(ids));
        Ok(Header {
            kind: kind_of_safetensors(info.dtype)?,
            shape: info.shape.iter().map(|size| *size as u64).collect(),
            start: start + info.data_offsets.0 as u64,
            ids: ids
                .transpose()
                .map_err(|e| format!("the {IDS} of its metadata are no JSON list of texts: {e}"))?,
        })
    }
}

fn read_at(file: &File, bytes: &mut [u8], at: u64) -> Parsed<()> {
    let said = |e: io::Error| match e.kind() {
        io::ErrorKind::UnexpectedEof => "is cut off".to_owned(),
        _ => e.to_string(),
    };
    file.read_exact_at(bytes, at).map_err(said)
}

fn kind_of_safetensors(dtype: Dtype) -> Parsed<Kind> {
    match dtype {
        Dtype::F64 => Ok(Kind::Double),
        Dtype::F32 => Ok(Kind::Float),
        Dtype::F16 => Ok(Kind::Half),
        Dtype::BF16 => Ok(Kind::BFloat16),
        other => Err(not_floating(&format!("{other:?}"))),
    }
}

fn kind_of_npy(dtype: &DType) -> Parsed<Kind> {
    let told = dtype.descr();
    match told.trim_matches('\'') {
        "<f8" => Ok(Kind::Double),
        "<f4" => Ok(Kind::Float),
        "<f2" => Ok(Kind::Half),
        other => Err(not_floating(other)),
    }
}

fn not_floating(kind: &str) -> String {
    format!("holds {kind}: features are f32, f16, bf16 (safetensors alone) or f64, little-endian")
}

fn c_order(header: &NpyHeader) -> Parsed<()> {
    match header.order() {
        Order::C => Ok(()),
        Order::Fortran => Err("is in Fortran's order: save np.ascontiguousarray of it".into()),
    }
}

/// A kind of number as it is written in records.
pub(super) fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Double => "f64",
        Kind::Half => "f16",
        Kind::BFloat16 => "bf16",
        _ => "f32",
    }
}
