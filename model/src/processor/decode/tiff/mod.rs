//! TIFF as Pillow reads it. The decoder is given every file as a grey one, so that it passes
//! samples on as they are; what they mean is decided here. Orientation is followed, as by Pillow's
//! plugin for TIFF (and no other).

mod colours;
mod grey;
mod layout;
mod samples;

use std::io::{Cursor, Read, Seek};

use tiff::{
    decoder::{ChunkType, Decoder, Limits},
    tags::Tag,
};

use super::decoded_image::{DecodedImage, MAX_PIXELS, Outcome, checked_size, whole};
use colours::colours;
use grey::as_grey;
use layout::{Layout, list, one};
use samples::samples;

/// None, LZW, Deflate in both spellings, run lengths, and fax of group 4: what is decoded without
/// loss.
const COMPRESSIONS: [u16; 6] = [1, 4, 5, 8, 32773, 32946];

pub(super) fn tiff(bytes: &[u8]) -> Outcome<DecodedImage> {
    let mut grey = bytes.to_vec();
    let photometric =
        as_grey(&mut grey).ok_or("its directory is cut off, or names no colour model")?;
    let mut limits = Limits::default();
    limits.decoding_buffer_size = MAX_PIXELS as usize * 8;
    limits.intermediate_buffer_size = grey.len().max(1 << 20);
    let file = Decoder::new(Cursor::new(&grey)).map_err(|e| e.to_string())?;
    let mut file = file.with_limits(limits);
    let (width, height) = file.dimensions().map_err(|e| e.to_string())?;
    let (width, height) = checked_size(width.into(), height.into())?;
    check(&mut file)?;
    let layout = Layout::read(&mut file, photometric, bytes.starts_with(b"II"))?;
    let orientation = list(&mut file, Tag::Orientation)?;
    let planes = one(&mut file, Tag::PlanarConfiguration, 1)? == 2 && layout.samples > 1;
    let map = if photometric == 3 {
        list(&mut file, Tag::ColorMap)?
    } else {
        Vec::new()
    };
    if planes && file.get_chunk_type() == ChunkType::Tile {
        return Err("tiles of planes are not read".into());
    }
    let mut values = samples(&mut file, &layout, width, height)?;
    if planes {
        let plane = width * height;
        values = (0..plane * layout.samples)
            .map(|i| values[i % layout.samples * plane + i / layout.samples])
            .collect();
    }
    let rgb = colours(&layout, &values, &map).ok_or("this kind of TIFF is not read")?;
    let orientation = orientation.first().copied().unwrap_or(1);
    Ok(turned(whole(width, height, rgb)?, orientation))
}

/// Refuses what is decoded otherwise than by Pillow, or into too much memory.
fn check<R: Read + Seek>(file: &mut Decoder<R>) -> Outcome<()> {
    if !COMPRESSIONS.contains(&one(file, Tag::Compression, 1)?) {
        return Err("this compression of TIFF is not read".into());
    }
    if one(file, Tag::FillOrder, 1)? != 1 {
        return Err("bits in reverse order are not read".into());
    }
    if file.get_chunk_type() == ChunkType::Tile {
        let (wide, high) = file.chunk_dimensions();
        checked_size(wide.into(), high.into())?;
    }
    Ok(())
}

/// The image as its orientation has it (1 to 8, as in the tag).
fn turned(image: DecodedImage, orientation: u16) -> DecodedImage {
    if !(2..=8).contains(&orientation) {
        return image;
    }
    let (w, h) = (image.width, image.height);
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
    let mut rgb = Vec::with_capacity(image.rgb.len());
    for y in 0..height {
        for x in 0..width {
            let (x, y) = from(x, y);
            rgb.extend_from_slice(&image.rgb[(y * w + x) * 3..][..3]);
        }
    }
    DecodedImage { width, height, rgb }
}
