//! BMP as Pillow reads it: its own way through run lengths, and of pixels with fewer than eight
//! bits a channel whole numbers cut down.

use image::ImageFormat;

use super::{Outcome, Picture, checked_size, other, whole};

/// Bytes before the header that says how large it is.
const FILE_HEADER: usize = 14;
/// Sizes of the headers that have a field for compression.
const LONG_HEADER: u32 = 40;
/// Compressions: run lengths of 8 and of 4 bits, and masks.
const RLE8: u32 = 1;
const RLE4: u32 = 2;
const MASKS: u32 = 3;
/// Masks of 32-bit and of 16-bit pixels that Pillow knows.
const MASKS_32: [[u32; 3]; 6] = [
    [0xff_0000, 0xff00, 0xff],
    [0xff00_0000, 0xff_0000, 0xff00],
    [0xff, 0xff00, 0xff_0000],
    [0xff00, 0xff_0000, 0xff00_0000],
    [0xff00_0000, 0xff00, 0xff],
    [0, 0, 0],
];
const MASKS_16: [[u32; 3]; 2] = [[0xf800, 0x7e0, 0x1f], [0x7c00, 0x3e0, 0x1f]];

struct Header<'a>(&'a [u8]);

impl Header<'_> {
    fn word(&self, at: usize) -> u32 {
        self.0
            .get(at..at + 4)
            .map_or(0, |b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
    }

    fn size(&self) -> u32 {
        self.word(FILE_HEADER)
    }

    fn bits(&self) -> u32 {
        let at = if self.size() >= LONG_HEADER { 28 } else { 24 };
        self.word(at) & 0xffff
    }

    fn compression(&self) -> u32 {
        if self.size() >= LONG_HEADER {
            self.word(30)
        } else {
            0
        }
    }

    fn masks(&self) -> [u32; 3] {
        [54, 58, 62].map(|at| self.word(at))
    }
}

pub(super) fn bmp(bytes: &[u8]) -> Outcome<Picture> {
    let header = Header(bytes);
    let (bits, compression) = (header.bits(), header.compression());
    match (compression, bits) {
        (RLE8, 8) => return run_lengths(&header, false),
        (RLE4, 4) => return run_lengths(&header, true),
        (RLE8 | RLE4, _) | (_, 2) => return Err("this layout of bits is not read".into()),
        (MASKS, 32) if !MASKS_32.contains(&header.masks()) => {
            return Err("this layout of bits is not read".into());
        }
        (MASKS, 16) if !MASKS_16.contains(&header.masks()) => {
            return Err("this layout of bits is not read".into());
        }
        _ => {}
    }
    if compression == MASKS && header.masks() == [0; 3] {
        // Without masks, pixels are what they are without the field too.
        let mut plain = bytes.to_vec();
        plain[30..34].fill(0);
        return other(&plain, ImageFormat::Bmp);
    }
    let mut picture = other(bytes, ImageFormat::Bmp)?;
    if bits == 16 {
        let masks = if compression == MASKS {
            header.masks()
        } else {
            MASKS_16[1]
        };
        let highest = masks.map(|mask| (1u32 << mask.count_ones().clamp(1, 8)) - 1);
        for pixel in picture.rgb.chunks_exact_mut(3) {
            for (value, highest) in pixel.iter_mut().zip(highest) {
                *value = ((u32::from(*value) * highest + 127) / 255 * 255 / highest) as u8;
            }
        }
    }
    Ok(picture)
}

fn run_lengths(header: &Header, four_bits: bool) -> Outcome<Picture> {
    let (width, tall) = (header.word(18) as i32, header.word(22) as i32);
    let (width, height) = checked_size(
        u64::try_from(width).unwrap_or(0),
        tall.unsigned_abs().into(),
    )?;
    let size = header.size() as usize;
    let told = header.word(46) as usize;
    let colours = if told == 0 {
        1 << header.bits()
    } else {
        told.min(256)
    };
    let palette = FILE_HEADER + size;
    let mut start = header.word(10) as usize;
    if start == palette {
        start += 4 * colours;
    }
    let indices = unpacked(header.0, start, (width, height), four_bits)?;
    let colour = |index: u8| {
        let at = palette + 4 * usize::from(index);
        let rest = header
            .0
            .get(at..at + 3)
            .filter(|_| usize::from(index) < colours);
        rest.map_or([0; 3], |bgr| [bgr[2], bgr[1], bgr[0]])
    };
    let table: Vec<[u8; 3]> = (0..=255).map(colour).collect();
    let rows: Vec<&[u8]> = indices.chunks_exact(width).collect();
    let pixel = |index: &u8| table[usize::from(*index)];
    let rgb = if tall < 0 {
        rows.iter()
            .flat_map(|row| row.iter().flat_map(pixel))
            .collect()
    } else {
        rows.iter()
            .rev()
            .flat_map(|row| row.iter().flat_map(pixel))
            .collect()
    };
    whole(width, height, rgb)
}

/// Indices of the palette, the file's first row first; gaps are index 0.
fn unpacked(
    bytes: &[u8],
    start: usize,
    (width, height): (usize, usize),
    four_bits: bool,
) -> Outcome<Vec<u8>> {
    let (mut out, mut at, mut x, full) = (Vec::new(), start, 0usize, width * height);
    let pair = |at: usize| {
        bytes
            .get(at..at.saturating_add(2))
            .map(|two| (two[0], two[1]))
    };
    while out.len() < full {
        let Some((count, byte)) = pair(at) else { break };
        at += 2;
        match (count, byte) {
            (0, 0) => {
                // At the start of a row there is nothing to end.
                out.resize(out.len().next_multiple_of(width), 0);
                x = 0;
            }
            (0, 1) => break,
            (0, 2) => {
                let Some((right, up)) = pair(at) else { break };
                at += 2;
                out.resize(
                    full.min(out.len() + usize::from(right) + usize::from(up) * width),
                    0,
                );
                x = out.len() % width;
            }
            (0, count) => {
                let kept = usize::from(count).min(full - out.len());
                let size = if four_bits { kept.div_ceil(2) } else { kept };
                let Some(data) = bytes.get(at..at + size) else {
                    break;
                };
                at += size;
                if four_bits {
                    out.extend(
                        data.iter()
                            .flat_map(|byte| [byte >> 4, byte & 15])
                            .take(kept),
                    );
                } else {
                    out.extend(data);
                }
                x += usize::from(count);
                at += at % 2; // by the place in the file, as Pillow has it
            }
            (count, byte) => {
                let count = usize::from(count).min(width.saturating_sub(x));
                let value = |i: usize| match (four_bits, i % 2) {
                    (false, _) => byte,
                    (true, 0) => byte >> 4,
                    (true, _) => byte & 15,
                };
                out.extend((0..count).map(value));
                x += count;
            }
        }
    }
    if out.len() < full {
        return Err("it is cut off".into());
    }
    out.truncate(full);
    Ok(out)
}
