//! From an image to the numbers that a network reads.

use std::borrow::Cow;

use flava_base::hex;
use sha2::{Digest, Sha256};

use crate::processor::{DecodedImage, Filter, PassOrder, PixelSize, resize};

/// (height, width).
type Size = (usize, usize);

fn pixels((height, width): Size) -> PixelSize {
    PixelSize { width, height }
}

/// How one of the two images is made from the original.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageTransform {
    /// Resized to this (height, width), whatever the aspect ratio; None leaves the size.
    pub size: Option<Size>,
    /// Filter of the resizing.
    pub filter: Filter,
    /// Cut out of the middle, with black where the image is smaller; None leaves the size.
    pub crop: Option<Size>,
    /// Factor from bytes to floats; None leaves 0 to 255.
    pub rescale: Option<f64>,
    /// Subtracted per channel, and divided by.
    pub normalize: Option<([f32; 3], [f32; 3])>,
    /// DALL-E's logit-Laplace mapping, 0.8 x + 0.1.
    pub map_pixels: bool,
    /// Which pass of the resizing runs first.
    pub order: PassOrder,
}

impl ImageTransform {
    /// Channels-first pixels of `image`, \[3, height, width\] flattened, and their (height,
    /// width).
    pub fn apply(&self, image: &DecodedImage) -> (Vec<f32>, Size) {
        let mut size = (image.height, image.width);
        let mut rgb = Cow::Borrowed(image.rgb.as_slice());
        if let Some(to) = self.size {
            let (from, to_size) = (pixels(size), pixels(to));
            rgb = resize::<3>(&rgb, from, to_size, self.filter, self.order).into();
            size = to;
        }
        if let Some(crop) = self.crop.filter(|&crop| crop != size) {
            rgb = centre_crop(&rgb, size, crop).into();
            size = crop;
        }
        let tables = [0, 1, 2].map(|channel| self.table(channel));
        let (rows, count) = (rgb.as_chunks::<3>().0, size.0 * size.1);
        let mut pixels = Vec::with_capacity(count * 3);
        for (channel, table) in tables.iter().enumerate() {
            pixels.extend(rows.iter().map(|rgb| table[usize::from(rgb[channel])]));
        }
        (pixels, size)
    }

    /// The value of each byte: rescaled in f64 and stored as f32, then normalised in f32, as numpy
    /// does it there.
    fn table(&self, channel: usize) -> [f32; 256] {
        std::array::from_fn(|byte| {
            let mut value = self
                .rescale
                .map_or(byte as f32, |factor| (byte as f64 * factor) as f32);
            if let Some((mean, std)) = self.normalize {
                value = (value - mean[channel]) / std[channel];
            }
            if self.map_pixels {
                0.8 * value + 0.1
            } else {
                value
            }
        })
    }

    /// The (height, width) of every image it makes; None where it depends on the original.
    pub fn output_size(&self) -> Option<(usize, usize)> {
        self.crop.or(self.size)
    }

    /// Names everything that decides the pixels, such as `224x224-bicubic-pillow13-1f0c9a2b`.
    pub fn id(&self) -> String {
        let digest = Sha256::digest(format!("{self:?}"));
        let hash = hex(&digest[..4]);
        let size = self
            .output_size()
            .map_or("any".to_owned(), |(h, w)| format!("{h}x{w}"));
        let filter = format!("{:?}", self.filter).to_lowercase();
        format!("{size}-{filter}-{}-{hash}", self.order.name())
    }
}

fn centre_crop(rgb: &[u8], (height, width): Size, crop: Size) -> Vec<u8> {
    let mut out = vec![0; crop.0 * crop.1 * 3];
    let (top, left) = (crop_start(height, crop.0), crop_start(width, crop.1));
    // Where a place in the crop lies in the image.
    let inside = |at: usize, start: i64, have: usize| {
        let at = usize::try_from(at as i64 + start).ok();
        at.filter(|&at| at < have)
    };
    for y in 0..crop.0 {
        let Some(from) = inside(y, top, height) else {
            continue;
        };
        for x in 0..crop.1 {
            if let Some(at) = inside(x, left, width) {
                let (to, from) = ((y * crop.1 + x) * 3, (from * width + at) * 3);
                out[to..to + 3].copy_from_slice(&rgb[from..from + 3]);
            }
        }
    }
    out
}

/// Where the crop starts in the image, negative where it reaches beyond it (transformers rounds a
/// larger crop up).
fn crop_start(have: usize, want: usize) -> i64 {
    if have >= want {
        ((have - want) / 2) as i64
    } else {
        -((want - have).div_ceil(2) as i64)
    }
}
