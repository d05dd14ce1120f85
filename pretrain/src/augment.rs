//! Random views of images: crops for joint training (torchmultimodal's), and DINO's (its paper's
//! appendix A, after BYOL).

use flava_model::processor::{DecodedImage, Filter, PassOrder, PixelSize, resize};
use image::{RgbImage, imageops};
use rand::{Rng, seq::SliceRandom};
use serde::{Deserialize, Serialize};

/// Crops that are tried before the whole image is taken (torchvision).
const TRIES: usize = 10;

/// A random part of an image.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Crop {
    /// Smallest and largest share of the image's area.
    pub scale: [f64; 2],
    /// Smallest and largest ratio of width to height; drawn on a logarithmic scale.
    #[serde(default = "three_to_four")]
    pub ratio: [f64; 2],
    /// How often it is mirrored.
    #[serde(default)]
    pub flip: f64,
}

fn three_to_four() -> [f64; 2] {
    [3.0 / 4.0, 4.0 / 3.0]
}

impl Crop {
    /// A part of `image` in its own resolution.
    pub fn apply(&self, image: &DecodedImage, rng: &mut impl Rng) -> DecodedImage {
        let (left, top, width, height) = self.rectangle(image.width, image.height, rng);
        let flip = rng.random::<f64>() < self.flip;
        let mut rgb = Vec::with_capacity(width * height * 3);
        for y in top..top + height {
            let row = &image.rgb[(y * image.width + left) * 3..][..width * 3];
            if flip {
                row.as_chunks::<3>()
                    .0
                    .iter()
                    .rev()
                    .for_each(|pixel| rgb.extend_from_slice(pixel));
            } else {
                rgb.extend_from_slice(row);
            }
        }
        DecodedImage { width, height, rgb }
    }

    /// Left, top, width and height, as torchvision's `RandomResizedCrop` draws them.
    fn rectangle(
        &self,
        width: usize,
        height: usize,
        rng: &mut impl Rng,
    ) -> (usize, usize, usize, usize) {
        let area = (width * height) as f64;
        let ratios = self.ratio.map(f64::ln);
        for _ in 0..TRIES {
            let target = area * between(self.scale, rng);
            let ratio = between(ratios, rng).exp();
            let w = (target * ratio).sqrt().round() as usize;
            let h = (target / ratio).sqrt().round() as usize;
            if (1..=width).contains(&w) && (1..=height).contains(&h) {
                let left = rng.random_range(0..=width - w);
                let top = rng.random_range(0..=height - h);
                return (left, top, w, h);
            }
        }
        let (w, h) = self.largest(width, height);
        ((width - w) / 2, (height - h) / 2, w, h)
    }

    /// The size of the largest part whose ratio is allowed.
    fn largest(&self, width: usize, height: usize) -> (usize, usize) {
        let [narrowest, widest] = self.ratio;
        let ratio = width as f64 / height as f64;
        if ratio < narrowest {
            let h = (width as f64 / narrowest).round() as usize;
            (width, h.clamp(1, height))
        } else if ratio > widest {
            let w = (height as f64 * widest).round() as usize;
            (w.clamp(1, width), height)
        } else {
            (width, height)
        }
    }
}

fn between([low, high]: [f64; 2], rng: &mut impl Rng) -> f64 {
    low + rng.random::<f64>() * (high - low)
}

/// How colours and sharpness of DINO's views are changed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Colours {
    /// How often brightness, contrast, saturation and hue are.
    pub jitter: f64,
    /// How far the first three, as a share.
    pub strength: f64,
    /// How far saturation and hue, as shares.
    pub saturation: f64,
    /// Of the circle of hues.
    pub hue: f64,
    /// How often colour is taken away.
    pub grey: f64,
}

impl Default for Colours {
    /// DINO's.
    fn default() -> Self {
        Self {
            jitter: 0.8,
            strength: 0.4,
            saturation: 0.2,
            hue: 0.1,
            grey: 0.2,
        }
    }
}

/// How a view is drawn.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The part of the image.
    pub crop: &'a Crop,
    /// Side in pixels.
    pub side: usize,
    /// How colours are changed.
    pub colours: &'a Colours,
    /// How often it is blurred.
    pub blur: f64,
    /// Smallest and largest standard deviation of the blur, in pixels.
    pub sigma: [f64; 2],
    /// How often bright tones are inverted.
    pub solarize: f64,
}

impl View<'_> {
    /// A view of an image.
    pub fn apply(&self, image: &DecodedImage, rng: &mut impl Rng) -> DecodedImage {
        let (side, colours) = (self.side, self.colours);
        let part = self.crop.apply(image, rng);
        let mut rgb = resized(&part, side);
        if rng.random::<f64>() < colours.jitter {
            jitter(&mut rgb, colours, rng);
        }
        if rng.random::<f64>() < colours.grey {
            for pixel in rgb.as_chunks_mut::<3>().0 {
                *pixel = [grey(*pixel) as u8; 3];
            }
        }
        if rng.random::<f64>() < self.blur {
            rgb = blurred(rgb, side, between(self.sigma, rng));
        }
        if rng.random::<f64>() < self.solarize {
            solarize(&mut rgb);
        }
        let (width, height) = (side, side);
        DecodedImage { width, height, rgb }
    }
}

/// An image's pixels in a square of `side` pixels.
fn resized(image: &DecodedImage, side: usize) -> Vec<u8> {
    let from = PixelSize {
        width: image.width,
        height: image.height,
    };
    let to = PixelSize {
        width: side,
        height: side,
    };
    let order = PassOrder::default();
    resize::<3>(&image.rgb, from, to, Filter::Bicubic, order)
}

/// A square image blurred with standard deviation `sigma`.
fn blurred(rgb: Vec<u8>, side: usize, sigma: f64) -> Vec<u8> {
    let sharp = RgbImage::from_raw(side as u32, side as u32, rgb.clone());
    match sharp.filter(|_| sigma > 0.05) {
        Some(sharp) => imageops::blur(&sharp, sigma as f32).into_raw(),
        None => rgb,
    }
}

/// Inverts bright tones.
fn solarize(rgb: &mut [u8]) {
    for value in rgb.iter_mut().filter(|value| **value >= 128) {
        *value = 255 - *value;
    }
}

/// Rec. 601's luma.
fn grey([r, g, b]: [u8; 3]) -> f32 {
    0.299 * f32::from(r) + 0.587 * f32::from(g) + 0.114 * f32::from(b)
}

/// Changes of colours that were drawn.
struct Jitter {
    brightness: f32,
    contrast: f32,
    saturation: f32,
    hue: f32,
}

impl Jitter {
    fn sample(colours: &Colours, rng: &mut impl Rng) -> Self {
        let mut around =
            |strength: f64| between([(1.0 - strength).max(0.0), 1.0 + strength], rng) as f32;
        Self {
            brightness: around(colours.strength),
            contrast: around(colours.strength),
            saturation: around(colours.saturation),
            hue: between([-colours.hue, colours.hue], rng) as f32,
        }
    }

    fn brighten(&self, pixels: &mut [[u8; 3]]) {
        for value in pixels.as_flattened_mut() {
            *value = (f32::from(*value) * self.brightness) as u8;
        }
    }

    fn change_contrast(&self, pixels: &mut [[u8; 3]]) {
        let greys = pixels.iter().map(|pixel| f64::from(grey(*pixel)));
        let mean = greys.sum::<f64>() / pixels.len().max(1) as f64;
        for value in pixels.as_flattened_mut() {
            *value = mix(f32::from(*value), mean as f32, self.contrast);
        }
    }

    fn saturate(&self, pixels: &mut [[u8; 3]]) {
        for pixel in pixels {
            let grey = grey(*pixel);
            *pixel = pixel.map(|value| mix(f32::from(value), grey, self.saturation));
        }
    }

    fn turn(&self, pixels: &mut [[u8; 3]]) {
        for pixel in pixels {
            *pixel = turned(*pixel, self.hue);
        }
    }
}

/// The four changes in random order, as torchvision's `ColorJitter` makes them.
fn jitter(rgb: &mut [u8], colours: &Colours, rng: &mut impl Rng) {
    let jitter = Jitter::sample(colours, rng);
    let mut order = [0, 1, 2, 3];
    order.shuffle(rng);
    let pixels = rgb.as_chunks_mut::<3>().0;
    for change in order {
        match change {
            0 => jitter.brighten(pixels),
            1 => jitter.change_contrast(pixels),
            2 => jitter.saturate(pixels),
            _ => jitter.turn(pixels),
        }
    }
}

/// `value` at `share` and `other` at the rest; shares over one lead away from `other`.
fn mix(value: f32, other: f32, share: f32) -> u8 {
    (value * share + other * (1.0 - share)) as u8 // `as` keeps within 0 to 255
}

/// The hue moved on by a share of the circle.
fn turned(pixel: [u8; 3], by: f32) -> [u8; 3] {
    let [r, g, b] = pixel.map(|value| f32::from(value) / 255.0);
    let (high, low) = (r.max(g).max(b), r.min(g).min(b));
    let chroma = high - low;
    if chroma == 0.0 {
        return pixel;
    }
    let sixth = if high == r {
        ((g - b) / chroma).rem_euclid(6.0)
    } else if high == g {
        (b - r) / chroma + 2.0
    } else {
        (r - g) / chroma + 4.0
    };
    let sixth = (sixth + by * 6.0).rem_euclid(6.0);
    // Of hue h, each channel is `high` less chroma times a trapezoid of (n + h) mod 6.
    let channel = |n: f32| {
        let k = (n + sixth).rem_euclid(6.0);
        (255.0 * (high - chroma * k.min(4.0 - k).clamp(0.0, 1.0))).round() as u8
    };
    [channel(5.0), channel(3.0), channel(1.0)]
}

#[cfg(test)]
mod tests {
    use flava_base::stream;

    use super::*;

    fn image() -> DecodedImage {
        let rgb = (0..40 * 30)
            .flat_map(|i| [(i % 40 * 6) as u8, (i / 40 * 8) as u8, 90])
            .collect();
        DecodedImage {
            width: 40,
            height: 30,
            rgb,
        }
    }

    #[test]
    fn crops_have_the_areas_and_ratios_asked_for() {
        let crop = Crop {
            scale: [0.2, 0.5],
            ratio: three_to_four(),
            flip: 0.5,
        };
        let mut rng = stream(0, "crops");
        let mut flipped = 0;
        for _ in 0..500 {
            let part = crop.apply(&image(), &mut rng);
            let (share, ratio) = (
                (part.width * part.height) as f64 / 1200.0,
                part.width as f64 / part.height as f64,
            );
            assert!(
                (0.17..0.55).contains(&share) && (0.65..1.5).contains(&ratio),
                "{share} {ratio}"
            );
            assert_eq!(part.rgb.len(), part.width * part.height * 3);
            flipped += usize::from(part.rgb[0] > part.rgb[3]);
        }
        assert!((200..300).contains(&flipped), "{flipped}");
        let whole = Crop {
            scale: [1.0, 1.0],
            ratio: [4.0 / 3.0, 4.0 / 3.0],
            flip: 0.0,
        };
        assert_eq!(whole.apply(&image(), &mut rng).rgb, image().rgb);
        let narrow = DecodedImage {
            width: 1,
            height: 9,
            rgb: vec![7; 27],
        };
        assert_eq!(crop.apply(&narrow, &mut rng).width, 1);
    }

    #[test]
    fn hues_turn_and_come_back() {
        assert_eq!(turned([255, 0, 0], 1.0 / 3.0), [0, 255, 0]);
        assert_eq!(turned([10, 200, 90], 0.0), [10, 200, 90]);
        assert_eq!(turned([50, 50, 50], 0.4), [50, 50, 50]);
        let there = turned([120, 30, 210], 0.25);
        let back = turned(there, -0.25);
        assert!(
            back.iter()
                .zip([120, 30, 210])
                .all(|(a, b)| a.abs_diff(b) <= 1),
            "{there:?} {back:?}"
        );
    }
}
