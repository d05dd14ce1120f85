//! Formats that the `image` crate decodes, and its pixels as Pillow converts them.

use std::io::Cursor;

use image::{DynamicImage, ExtendedColorType, ImageDecoder, ImageFormat, ImageReader};

use super::decoded_image::{DecodedImage, Outcome, checked_size, whole};

pub(super) fn other(bytes: &[u8], format: ImageFormat) -> Outcome<DecodedImage> {
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
