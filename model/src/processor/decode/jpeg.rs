//! JPEG by mozjpeg; four components are inks, taken as inverted.

use std::{
    cell::Cell,
    io::{self, BufRead, Read},
};

use mozjpeg::ColorSpace;

use super::decoded_image::{DecodedImage, Outcome, checked_size, cmyk_to_rgb, whole};

pub(super) fn jpeg(bytes: &[u8]) -> Outcome<DecodedImage> {
    let ended = Cell::new(false);
    let reader = Whole {
        rest: bytes,
        ended: &ended,
    };
    let decoder = mozjpeg::Decompress::new_reader(reader).map_err(|e| e.to_string())?;
    let (width, height) = checked_size(decoder.width() as u64, decoder.height() as u64)?;
    let pixels = if decoder.components().len() == 4 {
        let started = decoder.to_colorspace(ColorSpace::JCS_CMYK);
        let mut started = started.map_err(|e| e.to_string())?;
        let cmyk: Vec<[u8; 4]> = started.read_scanlines().map_err(|e| e.to_string())?;
        let inks = cmyk.iter().map(|&[c, m, y, k]| [!c, !m, !y, !k]);
        inks.flat_map(cmyk_to_rgb).collect()
    } else {
        let started = decoder.to_colorspace(ColorSpace::JCS_RGB);
        let mut started = started.map_err(|e| e.to_string())?;
        let rgb: Vec<[u8; 3]> = started.read_scanlines().map_err(|e| e.to_string())?;
        rgb.into_flattened()
    };
    if ended.get() {
        return Err("it is cut off".into());
    }
    whole(width, height, pixels)
}

/// Bytes that remember whether more was asked for than there is: libjpeg fills what is cut off with
/// grey and goes on.
struct Whole<'a> {
    rest: &'a [u8],
    ended: &'a Cell<bool>,
}

impl BufRead for Whole<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.ended.set(self.ended.get() || self.rest.is_empty());
        Ok(self.rest)
    }

    fn consume(&mut self, count: usize) {
        self.rest = &self.rest[count.min(self.rest.len())..];
    }
}

impl Read for Whole<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.rest.read(buffer)
    }
}
