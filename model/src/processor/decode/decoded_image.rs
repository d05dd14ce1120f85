//! What all formats come to: an image of a bounded size, or a reason against the file.

/// Most pixels of an image, Pillow's own bound against decompression bombs.
pub(super) const MAX_PIXELS: u64 = 178_956_970;
/// Longest side: resizing keeps a weight for each pixel of a row or column that it reads.
const MAX_SIDE: u64 = 1_000_000;

/// An RGB image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodedImage {
    /// In pixels.
    pub width: usize,
    /// In pixels.
    pub height: usize,
    /// Rows of pixels, three bytes each.
    pub rgb: Vec<u8>,
}

pub(super) type Outcome<T> = std::result::Result<T, String>;

pub(super) fn checked_size(width: u64, height: u64) -> Outcome<(usize, usize)> {
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

pub(super) fn whole(width: usize, height: usize, rgb: Vec<u8>) -> Outcome<DecodedImage> {
    if rgb.len() == width * height * 3 {
        Ok(DecodedImage { width, height, rgb })
    } else {
        Err("it is cut off".into())
    }
}

/// The conversion of Pillow: black scales what the other inks leave.
pub(super) fn cmyk_to_rgb([c, m, y, k]: [u8; 4]) -> [u8; 3] {
    let light = 255 - u32::from(k);
    [c, m, y].map(|ink| {
        let product = u32::from(ink) * light + 128;
        (light - (((product >> 8) + product) >> 8)) as u8
    })
}
