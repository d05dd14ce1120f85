//! A TIFF's samples, eight bits each.

use std::io::{Read, Seek};

use tiff::decoder::{
    Decoder, DecodingResult,
    DecodingResult::{F32, I16, I32, U8, U16, U32},
};

use super::layout::{FLOAT, Layout, SIGNED, UNSIGNED};
use crate::processor::decode::decoded_image::Outcome;

/// All samples, eight bits each: of wider ones what Pillow keeps.
pub(super) fn samples<R: Read + Seek>(
    file: &mut Decoder<R>,
    layout: &Layout,
    width: usize,
    height: usize,
) -> Outcome<Vec<u8>> {
    let mut raw = U8(Vec::new());
    let told = file
        .read_image_to_buffer(&mut raw)
        .map_err(|e| e.to_string())?;
    if raw.as_buffer(0).byte_len() < told.complete_len {
        return Err("it is too large".into());
    }
    let values = narrowed(raw, layout, width * layout.samples)?;
    if values.len() < width * height * layout.samples {
        Err("it is cut off".into())
    } else {
        Ok(values)
    }
}

/// `row` is the number of samples of a row.
fn narrowed(raw: DecodingResult, layout: &Layout, row: usize) -> Outcome<Vec<u8>> {
    let alone = layout.samples == 1;
    Ok(match (raw, layout.format) {
        (U8(values), UNSIGNED) if layout.depth < 8 => unpacked(&values, row, layout.depth)?,
        (U8(values), UNSIGNED) => values,
        (U16(values), UNSIGNED) if alone => each(&values, |v| v.min(255) as u8),
        (U16(values), UNSIGNED) => each(&values, |v| (v >> 8) as u8),
        (I16(values), SIGNED) if alone => each(&values, |v| v.clamp(0, 255) as u8),
        (I32(values), SIGNED) if alone => each(&values, |v| v.clamp(0, 255) as u8),
        (U32(values), UNSIGNED) if alone && layout.little => {
            each(&values, |v| (v as i32).clamp(0, 255) as u8)
        }
        (F32(values), FLOAT) if alone => each(&values, |v| v as u8), // towards zero, at most 255
        _ => return Err("samples of this kind are not read".into()),
    })
}

fn each<T: Copy>(values: &[T], narrow: impl Fn(T) -> u8) -> Vec<u8> {
    values.iter().map(|value| narrow(*value)).collect()
}

/// Values of fewer than eight bits; a row begins with a byte.
fn unpacked(bytes: &[u8], row: usize, depth: u16) -> Outcome<Vec<u8>> {
    let depth = usize::from(depth);
    let stride = (row * depth).div_ceil(8);
    let mask = (1u8 << depth) - 1;
    let value = |row: &[u8], i: usize| (row[i * depth / 8] >> (8 - depth - i * depth % 8)) & mask;
    if stride == 0 {
        return Err("it has no samples".into());
    }
    Ok(bytes
        .chunks_exact(stride)
        .flat_map(|line| (0..row).map(|i| value(line, i)).collect::<Vec<_>>())
        .collect())
}
