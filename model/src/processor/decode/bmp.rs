//! BMP as Pillow reads it: its own way through run lengths, and of pixels with fewer than eight
//! bits a channel whole numbers cut down.

use image::ImageFormat;

use super::{
    decoded_image::{DecodedImage, Outcome, checked_size, whole},
    other::other,
};

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

    /// Colours of the palette.
    fn colours(&self) -> usize {
        match self.word(46) as usize {
            0 => 1 << self.bits(),
            told => told.min(256),
        }
    }

    /// Where the palette begins.
    fn palette(&self) -> usize {
        FILE_HEADER + self.size() as usize
    }

    /// Where the pixels begin.
    fn pixels(&self) -> usize {
        match self.word(10) as usize {
            start if start == self.palette() => start + 4 * self.colours(),
            start => start,
        }
    }

    /// The palette's colour of an index, black where it has none.
    fn colour(&self, index: u8) -> [u8; 3] {
        let at = self.palette() + 4 * usize::from(index);
        let bgr = self.0.get(at..at + 3);
        bgr.filter(|_| usize::from(index) < self.colours())
            .map_or([0; 3], |bgr| [bgr[2], bgr[1], bgr[0]])
    }
}

pub(super) fn bmp(bytes: &[u8]) -> Outcome<DecodedImage> {
    let header = Header(bytes);
    let (bits, compression) = (header.bits(), header.compression());
    let masks = header.masks();
    let read = match (compression, bits) {
        (RLE8, 8) => return run_lengths(&header, false),
        (RLE4, 4) => return run_lengths(&header, true),
        (RLE8 | RLE4, _) | (_, 2) => false,
        (MASKS, 32) => MASKS_32.contains(&masks),
        (MASKS, 16) => MASKS_16.contains(&masks),
        _ => true,
    };
    if !read {
        return Err("this layout of bits is not read".into());
    }
    if compression == MASKS && masks == [0; 3] {
        // Without masks, pixels are what they are without the field too.
        let mut plain = bytes.to_vec();
        plain[30..34].fill(0);
        return other(&plain, ImageFormat::Bmp);
    }
    let mut image = other(bytes, ImageFormat::Bmp)?;
    if bits == 16 {
        let told = compression == MASKS;
        cut_down(&mut image, if told { masks } else { MASKS_16[1] });
    }
    Ok(image)
}

/// Values of as many bits as the masks have, brought to eight bits as Pillow does it.
fn cut_down(image: &mut DecodedImage, masks: [u32; 3]) {
    let highest = masks.map(|mask| (1u32 << mask.count_ones().clamp(1, 8)) - 1);
    for pixel in image.rgb.chunks_exact_mut(3) {
        for (value, highest) in pixel.iter_mut().zip(highest) {
            *value = ((u32::from(*value) * highest + 127) / 255 * 255 / highest) as u8;
        }
    }
}

fn run_lengths(header: &Header, four_bits: bool) -> Outcome<DecodedImage> {
    let (width, tall) = (header.word(18) as i32, header.word(22) as i32);
    let (width, height) = checked_size(
        u64::try_from(width).unwrap_or(0),
        tall.unsigned_abs().into(),
    )?;
    let runs = Runs {
        bytes: header.0,
        at: header.pixels(),
        four_bits,
        width,
        full: width * height,
        out: Vec::new(),
        x: 0,
    };
    let indices = runs.unpacked()?;
    let table: Vec<[u8; 3]> = (0..=255).map(|index| header.colour(index)).collect();
    let mut rows: Vec<&[u8]> = indices.chunks_exact(width).collect();
    if tall >= 0 {
        rows.reverse();
    }
    let pixels = rows.into_iter().flatten();
    let rgb = pixels.flat_map(|index| table[usize::from(*index)]);
    whole(width, height, rgb.collect())
}

/// Run lengths on their way to indices of the palette, the file's first row first; gaps are index
/// 0.
struct Runs<'a> {
    bytes: &'a [u8],
    /// The place in the file.
    at: usize,
    four_bits: bool,
    width: usize,
    /// Indices of the whole image.
    full: usize,
    out: Vec<u8>,
    /// The place in the row, as Pillow counts it.
    x: usize,
}

impl Runs<'_> {
    fn unpacked(mut self) -> Outcome<Vec<u8>> {
        while self.out.len() < self.full && self.step().is_some() {}
        if self.out.len() < self.full {
            return Err("it is cut off".into());
        }
        self.out.truncate(self.full);
        Ok(self.out)
    }

    /// Follows the next two bytes; None at the end of the image or the file.
    fn step(&mut self) -> Option<()> {
        match self.pair()? {
            [0, 0] => {
                // At the start of a row there is nothing to end.
                let end = self.out.len().next_multiple_of(self.width);
                self.out.resize(end, 0);
                self.x = 0;
            }
            [0, 1] => return None,
            [0, 2] => {
                let [right, up] = self.pair()?.map(usize::from);
                let end = self.out.len() + right + up * self.width;
                self.out.resize(self.full.min(end), 0);
                self.x = self.out.len() % self.width;
            }
            [0, count] => self.plain(count.into())?,
            [count, byte] => self.run(count.into(), byte),
        }
        Some(())
    }

    fn pair(&mut self) -> Option<[u8; 2]> {
        let pair = *self.bytes.get(self.at..)?.first_chunk::<2>()?;
        self.at += 2;
        Some(pair)
    }

    /// Indices that stand in the file one after the other.
    fn plain(&mut self, count: usize) -> Option<()> {
        let kept = count.min(self.full - self.out.len());
        let size = if self.four_bits {
            kept.div_ceil(2)
        } else {
            kept
        };
        let data = self.bytes.get(self.at..self.at + size)?;
        self.at += size;
        if self.four_bits {
            let halves = data.iter().flat_map(|byte| [byte >> 4, byte & 15]);
            self.out.extend(halves.take(kept));
        } else {
            self.out.extend(data);
        }
        self.x += count;
        self.at += self.at % 2; // by the place in the file, as Pillow has it
        Some(())
    }

    /// The same index, or the same two in turn, within the row.
    fn run(&mut self, count: usize, byte: u8) {
        let count = count.min(self.width.saturating_sub(self.x));
        let four_bits = self.four_bits;
        let value = |i: usize| match (four_bits, i % 2) {
            (false, _) => byte,
            (true, 0) => byte >> 4,
            (true, _) => byte & 15,
        };
        self.out.extend((0..count).map(value));
        self.x += count;
    }
}
