//! Tensors on their way: copies, and rows from the host to a device.
#![allow(
    unsafe_code,
    reason = "rows are written where a tensor keeps its numbers, and the shim takes and gives raw tensors"
)]

use std::ffi::c_int;

use rayon::prelude::*;
use tch::{Device, Kind, Tensor};
use torch_sys::C_tensor;

use super::onednn::call;
use crate::{Error, Result};

unsafe extern "C" {
    fn flava_pinned(numbers: i64, out: *mut *mut C_tensor) -> c_int;
}

/// A copy that shares no memory with `tensor`.
pub fn copied(tensor: &Tensor) -> Result<Tensor> {
    Ok(tensor.f_to_device_(tensor.device(), tensor.kind(), false, true)?)
}

/// Rows of one length, one below the other, on `device` as `kind`: \[rows, length\].
///
/// To a GPU they go by page-locked memory, and the call does not wait until they are there: what is
/// asked of the GPU next comes after them.
pub fn stack_rows(rows: &[&[f32]], device: Device, kind: Kind) -> Result<Tensor> {
    let length = rows.first().map_or(0, |row| row.len());
    if rows.iter().any(|row| row.len() != length) {
        return Err(Error::Input("rows of several lengths in one batch".into()));
    }
    let numbers = (rows.len() * length) as i64;
    let stacked = if device.is_cuda() {
        // SAFETY: the shim stores a new tensor and returns 0, or neither.
        call(|out| unsafe { flava_pinned(numbers, out) })?
    } else {
        Tensor::f_empty([numbers], (Kind::Float, Device::Cpu))?
    };
    // SAFETY: so many contiguous numbers of f32 that nothing else refers to yet.
    let room = unsafe {
        std::slice::from_raw_parts_mut(stacked.data_ptr().cast::<f32>(), numbers as usize)
    };
    if device.is_cuda() {
        let parts = room.par_chunks_mut(length.max(1)).zip(rows);
        parts.for_each(|(part, row)| part.copy_from_slice(row));
    } else {
        let parts = room.chunks_mut(length.max(1)).zip(rows);
        parts.for_each(|(part, row)| part.copy_from_slice(row));
    }
    let there = stacked.f_to_device_(device, Kind::Float, true, false)?;
    Ok(there
        .f_to_kind(kind)?
        .f_view([rows.len() as i64, length as i64])?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_stacked_and_uneven_ones_refused() {
        let (a, b) = ([1.0f32, 2.0, 3.0], [4.0f32, 5.0, 6.0]);
        let stacked = stack_rows(&[&a, &b], Device::Cpu, Kind::Float).unwrap();
        assert_eq!(stacked, Tensor::from_slice2(&[a, b]));
        assert!(stack_rows(&[&a, &b[..2]], Device::Cpu, Kind::Float).is_err());
        let copy = copied(&stacked).unwrap();
        let _changed = stacked.get(0).fill_(0.0);
        assert_eq!(copy.double_value(&[0, 2]), 3.0);
    }
}
