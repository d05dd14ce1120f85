//! Image files to RGB bytes, as Pillow's `convert("RGB")` gives them.
//!
//! Kept from Pillow: alpha is dropped, not blended; 16-bit grey is cut at 255 while 16-bit colour
//! keeps its high byte; CMYK JPEGs are taken as inverted; a GIF's first frame alone, transparent
//! pixels in their palette's colour. TIFF's orientation is followed, EXIF's of other formats is
//! not. JPEGs are decoded by mozjpeg, whose bytes are libjpeg-turbo's and so Pillow's. What is not
//! read as Pillow reads it is refused.

mod bmp;
mod decoded_image;
mod gif;
mod jpeg;
mod other;
mod png;
mod pnm;
mod tiff;

use image::ImageFormat;

use crate::{Error, Result};

pub use decoded_image::DecodedImage;
use decoded_image::Outcome;

/// How a `BigTIFF` of little-endian numbers begins; Pillow reads no other.
const BIG_TIFF: &[u8] = b"II+\0";

/// Decodes a JPEG, PNG, WebP, GIF, BMP, TIFF or PPM file. Whatever is in it, the answer is a
/// image or an error.
pub fn decode(bytes: &[u8]) -> Result<DecodedImage> {
    if let Some(what) = flava_base::impostor(bytes) {
        return Err(Error::Image(what.into()));
    }
    let unknown = || Error::Image("is no image of a known format".into());
    let format = if bytes.starts_with(BIG_TIFF) {
        ImageFormat::Tiff
    } else {
        image::guess_format(bytes).map_err(|_| unknown())?
    };
    let image = guarded(bytes, format);
    let name = format.extensions_str()[0];
    image.map_err(|reason| Error::Image(format!("broken {name} image: {reason}")))
}

/// What is said of a decoder that panicked.
const GAVE_UP: &str = "the decoder gave up";

/// libjpeg reports errors by unwinding out of its C code, with its words; no other decoder is free
/// of mistakes.
fn guarded(bytes: &[u8], format: ImageFormat) -> Outcome<DecodedImage> {
    let caught = std::panic::AssertUnwindSafe(|| decode_format(bytes, format));
    let decoded = flava_base::guarded(|| std::panic::catch_unwind(caught));
    let panic = match decoded.unwrap_or_else(|| Err(Box::new(()))) {
        Ok(image) => return image,
        Err(panic) => panic,
    };
    let said = panic.downcast_ref::<String>();
    let said = said.filter(|_| format == ImageFormat::Jpeg);
    Err(said.cloned().unwrap_or_else(|| GAVE_UP.into()))
}

fn decode_format(bytes: &[u8], format: ImageFormat) -> Outcome<DecodedImage> {
    match format {
        ImageFormat::Jpeg => jpeg::jpeg(bytes),
        ImageFormat::Gif => gif::gif(bytes),
        ImageFormat::Tiff => tiff::tiff(bytes),
        ImageFormat::Bmp => bmp::bmp(bytes),
        ImageFormat::Png => png::png(bytes),
        ImageFormat::Pnm => pnm::pnm(bytes),
        ImageFormat::WebP => other::other(bytes, format),
        _ => Err("this format is not read".into()),
    }
}
