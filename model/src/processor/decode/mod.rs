//! Picture files to RGB bytes, as Pillow's `convert("RGB")` gives them.
//!
//! Kept from Pillow: alpha is dropped, not blended; 16-bit grey is cut at 255 while 16-bit colour
//! keeps its high byte; CMYK JPEGs are taken as inverted; a GIF's first frame alone, transparent
//! pixels in their palette's colour. TIFF's orientation is followed, EXIF's of other formats is
//! not. JPEGs are decoded by mozjpeg, whose bytes are libjpeg-turbo's and so Pillow's. What is not
//! read as Pillow reads it is refused.

mod bmp;
mod gif;
mod png;
mod pnm;
mod tiff;

use std::{
    cell::Cell,
    io::{self, BufRead, Cursor, Read},
};

use image::{DynamicImage, ExtendedColorType, ImageDecoder, ImageFormat, ImageReader};

use crate::{Error, Result};

/// Most pixels of a picture, Pillow's own bound against decompression bombs.
const MAX_PIXELS: u64 = 178_956_970;
/// Longest side: resizing keeps a weight for each pixel of a row or column that it reads.
const MAX_SIDE: u64 = 1_000_000;
/// How a `BigTIFF` of little-endian numbers begins; Pillow reads no other.
const BIG_TIFF: &[u8] = b"II+\0";

/// An RGB picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// In pixels.
    pub width: usize,
    /// In pixels.
    pub height: usize,
    /// Rows of pixels, three bytes each.
    pub rgb: Vec<u8>,
}

/// Decodes a JPEG, PNG, WebP, GIF, BMP, TIFF or PPM file. Whatever is in it, the answer is a
/// picture or an error.
pub fn decode(bytes: &[u8]) -> Result<Picture> {
    if let Some(what) = flava_base::impostor(bytes) {
        return Err(Error::Image(what.into()));
    }
    let unknown = || Error::Image("is no picture of a known format".into());
    let format = if bytes.starts_with(BIG_TIFF) {
        ImageFormat::Tiff
    } else {
        image::guess_format(bytes).map_err(|_| unknown())?
    };
    // libjpeg reports errors by unwinding out of its C code, with its words; no other decoder is
    // free of mistakes.
    let said = |panic: Box<dyn std::any::Any + Send>| {
        panic
            .downcast_ref::<String>()
            .cloned()
            .unwrap_or_else(|| GAVE_UP.into())
    };
    let caught = std::panic::AssertUnwindSafe(|| decode_format(bytes, format));
    let decoded = flava_base::guarded(|| std::panic::catch_unwind(caught))
        .unwrap_or_else(|| Err(Box::new(())));
    let picture = match decoded {
        Ok(picture) => picture,
        Err(panic) if format == ImageFormat::Jpeg => Err(said(panic)),
        Err(_) => Err(GAVE_UP.into()),
    };
    let name = format.extensions_str()[0];
    picture.map_err(|reason| Error::Image(format!("broken {name} picture: {reason}")))
}

/// What is said of a decoder that panicked.
const GAVE_UP: &str = "the decoder gave up";

type Outcome<T> = std::result::Result<T, String>;

fn decode_format(bytes: &[u8], format: ImageFormat) -> Outcome<Picture> {
    match format {
        ImageFormat::Jpeg => jpeg(bytes),
        ImageFormat::Gif => gif::gif(bytes),
        ImageFormat::Tiff => tiff::tiff(bytes),
        ImageFormat::Bmp => bmp::bmp(bytes),
        ImageFormat::Png => png::png(bytes),
        ImageFormat::Pnm => pnm::pnm(bytes),
        ImageFormat::WebP => other(bytes, format),
        _ => Err("this format is not read".into()),
    }
}

fn checked_size(width: u64, height: u64) -> Outcome<(usize, usize)> {
    match width.checked_mul(height) {
        Some(0) => Err(format!("it has {width}x{height} pixels")),
        _ if width.max(height) > MAX_SIDE => Err(format!(
            "it has a side of {} pixels, more than {MAX_SIDE}",
            width.max(height)
        )),
        Some(pixels) if pixels <= MAX_PIXELS => Ok((width as usize, height as usize)),
        _ => Err(format!(
            "it claims {width}x{height} pixels, more than {MAX_PIXELS}"
        )),
    }
}

fn jpeg(bytes: &[u8]) -> Outcome<Picture> {
    let ended = Cell::new(false);
    let reader = Whole {
        rest: bytes,
        ended: &ended,
    };
    let decoder = mozjpeg::Decompress::new_reader(reader).map_err(|e| e.to_string())?;
    let (width, height) = checked_size(decoder.width() as u64, decoder.height() as u64)?;
    let components = decoder.components().len();
    let space = if components == 4 {
        mozjpeg::ColorSpace::JCS_CMYK
    } else {
        mozjpeg::ColorSpace::JCS_RGB
    };
    let mut started = decoder.to_colorspace(space).map_err(|e| e.to_string())?;
    let pixels: Vec<u8> = if components == 4 {
        let cmyk: Vec<[u8; 4]> = started.read_scanlines().map_err(|e| e.to_string())?;
        cmyk.iter()
            .flat_map(|&[c, m, y, k]| cmyk_to_rgb([!c, !m, !y, !k]))
            .collect()
    } else {
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

/// The conversion of Pillow: black scales what the other inks leave.
fn cmyk_to_rgb([c, m, y, k]: [u8; 4]) -> [u8; 3] {
    let light = 255 - u32::from(k);
    [c, m, y].map(|ink| {
        let product = u32::from(ink) * light + 128;
        (light - (((product >> 8) + product) >> 8)) as u8
    })
}

fn whole(width: usize, height: usize, rgb: Vec<u8>) -> Outcome<Picture> {
    if rgb.len() == width * height * 3 {
        Ok(Picture { width, height, rgb })
    } else {
        Err("it is cut off".into())
    }
}

fn other(bytes: &[u8], format: ImageFormat) -> Outcome<Picture> {
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.no_limits(); // the size is checked below, before anything is decoded
    let decoder = reader.into_decoder().map_err(|e| e.to_string())?;
    let (width, height) = decoder.dimensions();
    checked_size(width.into(), height.into())?;
    let original = decoder.original_color_type();
    let image = DynamicImage::from_decoder(decoder).map_err(|e| e.to_string())?;
    whole(width as usize, height as usize, rgb(image, original)?)
}

fn rgb(image: DynamicImage, original: ExtendedColorType) -> Outcome<Vec<u8>> {
    Ok(match image {
        DynamicImage::ImageRgb8(image) => image.into_raw(),
        DynamicImage::ImageRgba8(image) => {
            image.pixels().flat_map(|p| [p[0], p[1], p[2]]).collect()
        }
        DynamicImage::ImageLuma8(image) => image.pixels().flat_map(|p| [p[0]; 3]).collect(),
        DynamicImage::ImageLumaA8(image) => image.pixels().flat_map(|p| [p[0]; 3]).collect(),
        DynamicImage::ImageLuma16(image) => image
            .pixels()
            .flat_map(|p| [p[0].min(255) as u8; 3])
            .collect(),
        DynamicImage::ImageLumaA16(image) => image
            .pixels()
            .flat_map(|p| [(p[0] >> 8) as u8; 3])
            .collect(),
        DynamicImage::ImageRgb16(image) => {
            image.into_raw().iter().map(|v| (v >> 8) as u8).collect()
        }
        DynamicImage::ImageRgba16(image) => image
            .pixels()
            .flat_map(|p| [p[0], p[1], p[2]].map(|v| (v >> 8) as u8))
            .collect(),
        _ => return Err(format!("pixels of kind {original:?} are not read")),
    })
}
