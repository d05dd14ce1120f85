//! TIFF as Pillow reads it. The decoder is given every file as a grey one, so that it passes
//! samples on as they are; what they mean is decided here. Orientation is followed, as by Pillow's
//! plugin for TIFF (and no other).

use std::io::{Cursor, Read, Seek};
use tiff::{
    decoder::{ChunkType, Decoder, DecodingResult, Limits},
    tags::Tag,
};

use super::{MAX_PIXELS, Outcome, Picture, checked_size, cmyk_to_rgb, whole};

const PHOTOMETRIC: u16 = 262;
/// None, LZW, Deflate in both spellings, run lengths, and fax of group 4: what is decoded without
/// loss.
const COMPRESSIONS: [u16; 6] = [1, 4, 5, 8, 32773, 32946];
/// What a sample beyond the colours is: unspecified, alpha that was multiplied in, alpha.
const UNSPECIFIED: u16 = 0;
const MULTIPLIED: u16 = 1;
const ALPHA: u16 = 2;
/// Whether whole numbers are signed, or are floats.
const UNSIGNED: u16 = 1;
const SIGNED: u16 = 2;
const FLOAT: u16 = 3;

/// How samples are stored.
struct Layout {
    photometric: u16,
    samples: usize,
    depth: u16,
    format: u16,
    extra: Vec<u16>,
    little: bool,
}

pub(super) fn tiff(bytes: &[u8]) -> Outcome<Picture> {
    let mut grey = bytes.to_vec();
    let photometric =
        as_grey(&mut grey).ok_or("its directory is cut off, or names no colour model")?;
    let mut limits = Limits::default();
    limits.decoding_buffer_size = MAX_PIXELS as usize * 8;
    limits.intermediate_buffer_size = grey.len().max(1 << 20);
    let mut file = Decoder::new(Cursor::new(&grey))
        .map_err(|e| e.to_string())?
        .with_limits(limits);
    let (width, height) = file.dimensions().map_err(|e| e.to_string())?;
    let (width, height) = checked_size(width.into(), height.into())?;
    if !COMPRESSIONS.contains(&one(&mut file, Tag::Compression, 1)?) {
        return Err("this compression of TIFF is not read".into());
    }
    if one(&mut file, Tag::FillOrder, 1)? != 1 {
        return Err("bits in reverse order are not read".into());
    }
    if file.get_chunk_type() == ChunkType::Tile {
        let (wide, high) = file.chunk_dimensions();
        checked_size(wide.into(), high.into())?;
    }
    let layout = layout(&mut file, photometric, bytes.starts_with(b"II"))?;
    let orientation = list(&mut file, Tag::Orientation)?
        .first()
        .copied()
        .unwrap_or(1);
    let planes = one(&mut file, Tag::PlanarConfiguration, 1)? == 2 && layout.samples > 1;
    let map = if photometric == 3 {
        list(&mut file, Tag::ColorMap)?
    } else {
        Vec::new()
    };
    if planes && file.get_chunk_type() == ChunkType::Tile {
        return Err("tiles of planes are not read".into());
    }
    let mut values = samples(&mut file, &layout, (width, height))?;
    if planes {
        let plane = width * height;
        values = (0..plane * layout.samples)
            .map(|i| values[i % layout.samples * plane + i / layout.samples])
            .collect();
    }
    let rgb = colours(&layout, &values, &map).ok_or("this kind of TIFF is not read")?;
    Ok(turned(whole(width, height, rgb)?, orientation))
}

fn one<R: Read + Seek>(file: &mut Decoder<R>, tag: Tag, default: u16) -> Outcome<u16> {
    Ok(file
        .find_tag_unsigned::<u16>(tag)
        .map_err(|e| e.to_string())?
        .unwrap_or(default))
}

fn list<R: Read + Seek>(file: &mut Decoder<R>, tag: Tag) -> Outcome<Vec<u16>> {
    Ok(file
        .find_tag_unsigned_vec::<u16>(tag)
        .map_err(|e| e.to_string())?
        .unwrap_or_default())
}

fn layout<R: Read + Seek>(
    file: &mut Decoder<R>,
    photometric: u16,
    little: bool,
) -> Outcome<Layout> {
    let same = |values: &[u16], default: u16| match values {
        [] => Ok(default),
        [first, rest @ ..] if rest.iter().all(|other| other == first) => Ok(*first),
        _ => Err("samples of different kinds are not read".to_owned()),
    };
    let depth = same(&list(file, Tag::BitsPerSample)?, 1)?;
    let format = same(&list(file, Tag::SampleFormat)?, UNSIGNED)?;
    let samples = usize::from(one(file, Tag::SamplesPerPixel, 1)?);
    if samples == 0 || !matches!(depth, 1 | 2 | 4 | 8 | 16 | 32) {
        return Err(format!("{samples} samples of {depth} bits are not read"));
    }
    Ok(Layout {
        photometric,
        samples,
        depth,
        format,
        extra: list(file, Tag::ExtraSamples)?,
        little,
    })
}

/// All samples, eight bits each: of wider ones what Pillow keeps.
fn samples<R: Read + Seek>(
    file: &mut Decoder<R>,
    layout: &Layout,
    (width, height): (usize, usize),
) -> Outcome<Vec<u8>> {
    let mut raw = DecodingResult::U8(Vec::new());
    let told = file
        .read_image_to_buffer(&mut raw)
        .map_err(|e| e.to_string())?;
    if raw.as_buffer(0).byte_len() < told.complete_len {
        return Err("it is too large".into());
    }
    let alone = layout.samples == 1;
    let values: Vec<u8> = match (raw, layout.format) {
        (DecodingResult::U8(values), UNSIGNED) if layout.depth < 8 => {
            unpacked(&values, width * layout.samples, layout.depth)?
        }
        (DecodingResult::U8(values), UNSIGNED) => values,
        (DecodingResult::U16(values), UNSIGNED) if alone => {
            values.iter().map(|v| (*v).min(255) as u8).collect()
        }
        (DecodingResult::U16(values), UNSIGNED) => values.iter().map(|v| (v >> 8) as u8).collect(),
        (DecodingResult::I16(values), SIGNED) if alone => {
            values.iter().map(|v| (*v).clamp(0, 255) as u8).collect()
        }
        (DecodingResult::I32(values), SIGNED) if alone => {
            values.iter().map(|v| (*v).clamp(0, 255) as u8).collect()
        }
        (DecodingResult::U32(values), UNSIGNED) if alone && layout.little => values
            .iter()
            .map(|v| (*v as i32).clamp(0, 255) as u8)
            .collect(),
        (DecodingResult::F32(values), FLOAT) if alone => values.iter().map(|v| *v as u8).collect(), // towards zero, at most 255
        _ => return Err("samples of this kind are not read".into()),
    };
    if values.len() < width * height * layout.samples {
        Err("it is cut off".into())
    } else {
        Ok(values)
    }
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

/// The pixels of samples, by what Pillow makes of their layout; None of layouts that it, or we, do
/// not read.
fn colours(layout: &Layout, values: &[u8], map: &[u16]) -> Option<Vec<u8>> {
    let Layout {
        photometric,
        samples,
        depth,
        format,
        ref extra,
        little,
    } = *layout;
    let pixels = values.chunks_exact(samples);
    let highest = ((1u16 << depth.min(8)) - 1) as u8;
    let grey = |value: u8| value * (255 / highest);
    let plain = |alpha: u16| matches!(alpha, UNSPECIFIED | ALPHA);
    let rest_unspecified = |from: usize| {
        extra
            .get(from..)
            .is_some_and(|rest| rest.iter().all(|kind| *kind == UNSPECIFIED))
    };
    match (photometric, samples, depth) {
        (0, 1, 1 | 2 | 4 | 8) if extra.is_empty() && format == UNSIGNED => {
            Some(pixels.flat_map(|p| [255 - grey(p[0]); 3]).collect())
        }
        // Pillow does not turn these round.
        (0, 1, 16) if extra.is_empty() && little && format == UNSIGNED => {
            Some(pixels.flat_map(|p| [p[0]; 3]).collect())
        }
        (0, 1, 32) if extra.is_empty() && format == FLOAT => {
            Some(pixels.flat_map(|p| [p[0]; 3]).collect())
        }
        (1, 1, _) if extra.is_empty() => Some(pixels.flat_map(|p| [grey(p[0]); 3]).collect()),
        (1, 2, 8) if extra.len() == 1 && plain(extra[0]) => {
            Some(pixels.flat_map(|p| [p[0]; 3]).collect())
        }
        (2, 3, 8 | 16) if extra.is_empty() => Some(values.to_vec()),
        (2, 4, 8 | 16)
            if extra.is_empty() || (extra.len() == 1 && (plain(extra[0]) || extra[0] == 999)) =>
        {
            Some(pixels.flat_map(|p| [p[0], p[1], p[2]]).collect())
        }
        (2, 4, 8 | 16) if extra == &[MULTIPLIED] => Some(pixels.flat_map(divided).collect()),
        (2, _, 8)
            if samples > 4
                && extra.first().is_some_and(|first| plain(*first))
                && rest_unspecified(1) =>
        {
            Some(pixels.flat_map(|p| [p[0], p[1], p[2]]).collect())
        }
        (2, _, 8) if samples > 4 && extra.first() == Some(&MULTIPLIED) && rest_unspecified(1) => {
            Some(pixels.flat_map(divided).collect())
        }
        (3, 1, 1 | 2 | 4 | 8) if extra.is_empty() => {
            Some(pixels.flat_map(|p| of_map(map, p[0])).collect())
        }
        (3, 2, 8) if extra.len() == 1 && plain(extra[0]) => {
            Some(pixels.flat_map(|p| of_map(map, p[0])).collect())
        }
        (5, 4, 8 | 16) if extra.is_empty() => Some(
            pixels
                .flat_map(|p| cmyk_to_rgb([p[0], p[1], p[2], p[3]]))
                .collect(),
        ),
        (5, _, 8) if samples > 4 && rest_unspecified(0) => Some(
            pixels
                .flat_map(|p| cmyk_to_rgb([p[0], p[1], p[2], p[3]]))
                .collect(),
        ),
        _ => None,
    }
}

/// Colours that alpha was multiplied into, divided by it.
fn divided(pixel: &[u8]) -> [u8; 3] {
    let of = |value: u8| match pixel[3] {
        0 => 0,
        255 => value,
        alpha => (u32::from(value) * 255 / u32::from(alpha)).min(255) as u8,
    };
    [of(pixel[0]), of(pixel[1]), of(pixel[2])]
}

fn of_map(map: &[u16], index: u8) -> [u8; 3] {
    let colours = map.len() / 3;
    [0, 1, 2].map(|c| {
        map.get(c * colours + usize::from(index))
            .filter(|_| usize::from(index) < colours)
            .map_or(0, |v| (v >> 8) as u8)
    })
}

/// The picture as its orientation has it (1 to 8, as in the tag).
fn turned(picture: Picture, orientation: u16) -> Picture {
    if !(2..=8).contains(&orientation) {
        return picture;
    }
    let (w, h) = (picture.width, picture.height);
    let (width, height) = if orientation >= 5 { (h, w) } else { (w, h) };
    let from = |x: usize, y: usize| match orientation {
        2 => (w - 1 - x, y),
        3 => (w - 1 - x, h - 1 - y),
        4 => (x, h - 1 - y),
        5 => (y, x),
        6 => (y, h - 1 - x),
        7 => (w - 1 - y, h - 1 - x),
        _ => (w - 1 - y, x),
    };
    let mut rgb = Vec::with_capacity(picture.rgb.len());
    for y in 0..height {
        for x in 0..width {
            let (x, y) = from(x, y);
            rgb.extend_from_slice(&picture.rgb[(y * w + x) * 3..][..3]);
        }
    }
    Picture { width, height, rgb }
}

/// Says that black is zero, and gives what was said before; None where that cannot be said in
/// place.
fn as_grey(bytes: &mut [u8]) -> Option<u16> {
    let little = bytes.starts_with(b"II");
    let big_tiff = bytes.get(2..4)? == if little { [43, 0] } else { [0, 43] };
    let number = |at: usize, size: usize| -> Option<u64> {
        let part = bytes.get(at..at.checked_add(size)?)?;
        let fold = |sum: u64, byte: &u8| (sum << 8) | u64::from(*byte);
        Some(if little {
            part.iter().rev().fold(0, fold)
        } else {
            part.iter().fold(0, fold)
        })
    };
    let (start, count_size, entry_size, value_at) = if big_tiff {
        (number(8, 8)?, 8, 20, 12)
    } else {
        (number(4, 4)?, 2, 12, 8)
    };
    let start = usize::try_from(start).ok()?;
    let count = number(start, count_size)?.min(4096) as usize;
    let first = start + count_size;
    let entry = (0..count)
        .map(|i| first + i * entry_size)
        .find(|&at| number(at, 2) == Some(PHOTOMETRIC.into()))?;
    // One SHORT, which stands in the entry itself.
    let short = number(entry + 2, 2)? == 3 && number(entry + 4, if big_tiff { 8 } else { 4 })? == 1;
    let before = number(entry + value_at, 2).filter(|_| short)? as u16;
    let grey: [u8; 2] = if little {
        1u16.to_le_bytes()
    } else {
        1u16.to_be_bytes()
    };
    bytes[entry + value_at..entry + value_at + 2].copy_from_slice(&grey);
    Some(before)
}
