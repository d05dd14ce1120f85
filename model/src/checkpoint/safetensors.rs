//! safetensors files: a length, a JSON header, raw tensors. The header is checked before anything
//! is read.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use memmap2::Mmap;
use safetensors::{Dtype, SafeTensors};
use tch::Kind;

use super::file::{CheckpointTensor, contiguous};
use crate::{Error, Result};

/// The tensors of the file `path`, mapped as `map`.
pub(super) fn read(path: &Path, map: &Arc<Mmap>) -> Result<BTreeMap<String, CheckpointTensor>> {
    let file = SafeTensors::deserialize(map)
        .map_err(|e| Error::file(path, format!("is no safetensors file: {e}")))?;
    let tensor = |(name, view): (String, safetensors::tensor::TensorView)| {
        let kind = kind(view.dtype()).ok_or_else(|| {
            Error::file(
                path,
                format!("{name} is {:?}, which is not read", view.dtype()),
            )
        })?;
        let start = view.data().as_ptr() as usize - map.as_ptr() as usize;
        let size: Vec<i64> = view.shape().iter().map(|&s| s as i64).collect();
        let stride = contiguous(&size);
        Ok((
            name,
            CheckpointTensor {
                map: Arc::clone(map),
                kind,
                size,
                stride,
                range: start..start + view.data().len(),
            },
        ))
    };
    file.tensors().into_iter().map(tensor).collect()
}

fn kind(dtype: Dtype) -> Option<Kind> {
    Some(match dtype {
        Dtype::F64 => Kind::Double,
        Dtype::F32 => Kind::Float,
        Dtype::F16 => Kind::Half,
        Dtype::BF16 => Kind::BFloat16,
        Dtype::I64 => Kind::Int64,
        Dtype::I32 => Kind::Int,
        Dtype::I16 => Kind::Int16,
        Dtype::I8 => Kind::Int8,
        Dtype::U8 => Kind::Uint8,
        Dtype::BOOL => Kind::Bool,
        _ => return None,
    })
}
