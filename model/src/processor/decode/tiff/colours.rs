//! What a TIFF's samples mean.

use super::layout::{FLOAT, Layout, UNSIGNED};
use crate::processor::decode::decoded_image::cmyk_to_rgb;

/// What a sample beyond the colours is: unspecified, alpha that was multiplied in, alpha.
const UNSPECIFIED: u16 = 0;
const MULTIPLIED: u16 = 1;
const ALPHA: u16 = 2;

/// The pixels of samples, by what Pillow makes of their layout; None of layouts that it, or we, do
/// not read.
pub(super) fn colours(layout: &Layout, values: &[u8], map: &[u16]) -> Option<Vec<u8>> {
    match layout.photometric {
        0 => white_is_zero(layout, values),
        1 => black_is_zero(layout, values),
        2 => rgb(layout, values),
        3 => of_palette(layout, values, map),
        5 => of_inks(layout, values),
        _ => None,
    }
}

impl Layout {
    /// A value of fewer bits, scaled to eight.
    fn grey(&self, value: u8) -> u8 {
        let highest = ((1u16 << self.depth.min(8)) - 1) as u8;
        value * (255 / highest)
    }

    /// Whether the only further sample is one that is dropped.
    fn has_plain_alpha(&self) -> bool {
        self.extra.len() == 1 && is_plain(self.extra[0])
    }

    /// Whether nothing is said of further samples from this one on.
    fn rest_unspecified(&self, from: usize) -> bool {
        let rest = self.extra.get(from..);
        rest.is_some_and(|rest| rest.iter().all(|kind| *kind == UNSPECIFIED))
    }

    fn pixels(&self, values: &[u8], colour: impl Fn(&[u8]) -> [u8; 3]) -> Vec<u8> {
        let pixels = values.chunks_exact(self.samples);
        pixels.flat_map(colour).collect()
    }
}

fn is_plain(alpha: u16) -> bool {
    matches!(alpha, UNSPECIFIED | ALPHA)
}

fn white_is_zero(layout: &Layout, values: &[u8]) -> Option<Vec<u8>> {
    if layout.samples != 1 || !layout.extra.is_empty() {
        return None;
    }
    match (layout.depth, layout.format) {
        (1 | 2 | 4 | 8, UNSIGNED) => Some(layout.pixels(values, |p| [255 - layout.grey(p[0]); 3])),
        // Pillow does not turn these round.
        (16, UNSIGNED) if layout.little => Some(layout.pixels(values, |p| [p[0]; 3])),
        (32, FLOAT) => Some(layout.pixels(values, |p| [p[0]; 3])),
        _ => None,
    }
}

fn black_is_zero(layout: &Layout, values: &[u8]) -> Option<Vec<u8>> {
    match (layout.samples, layout.depth) {
        (1, _) if layout.extra.is_empty() => {
            Some(layout.pixels(values, |p| [layout.grey(p[0]); 3]))
        }
        (2, 8) if layout.has_plain_alpha() => Some(layout.pixels(values, |p| [p[0]; 3])),
        _ => None,
    }
}

fn rgb(layout: &Layout, values: &[u8]) -> Option<Vec<u8>> {
    let first = |p: &[u8]| [p[0], p[1], p[2]];
    let further = layout.samples > 4 && layout.rest_unspecified(1);
    match (layout.samples, layout.depth, layout.extra.as_slice()) {
        (3, 8 | 16, []) => Some(values.to_vec()),
        (4, 8 | 16, [] | [UNSPECIFIED | ALPHA | 999]) => Some(layout.pixels(values, first)),
        (4, 8 | 16, [MULTIPLIED]) => Some(layout.pixels(values, divided)),
        (_, 8, [UNSPECIFIED | ALPHA, ..]) if further => Some(layout.pixels(values, first)),
        (_, 8, [MULTIPLIED, ..]) if further => Some(layout.pixels(values, divided)),
        _ => None,
    }
}

fn of_palette(layout: &Layout, values: &[u8], map: &[u16]) -> Option<Vec<u8>> {
    let read = match (layout.samples, layout.depth) {
        (1, 1 | 2 | 4 | 8) => layout.extra.is_empty(),
        (2, 8) => layout.has_plain_alpha(),
        _ => false,
    };
    if !read {
        return None;
    }
    Some(layout.pixels(values, |p| of_map(map, p[0])))
}

fn of_inks(layout: &Layout, values: &[u8]) -> Option<Vec<u8>> {
    let read = match (layout.samples, layout.depth) {
        (4, 8 | 16) if layout.extra.is_empty() => true,
        (samples, 8) => samples > 4 && layout.rest_unspecified(0),
        _ => false,
    };
    if !read {
        return None;
    }
    Some(layout.pixels(values, |p| cmyk_to_rgb([p[0], p[1], p[2], p[3]])))
}

/// Colours that alpha was multiplied into, divided by it.
fn divided(pixel: &[u8]) -> [u8; 3] {
    let of = |value: u8| match pixel[3] {
        0 => 0,
        255 => value,
        alpha => (u32::from(value) * 255 / u32::from(alpha)).min(255) as u8,
    };
    [of(pixel[0]), of(pixel[1]), of(pixel[2])]
}

fn of_map(map: &[u16], index: u8) -> [u8; 3] {
    let colours = map.len() / 3;
    [0, 1, 2].map(|c| {
        map.get(c * colours + usize::from(index))
            .filter(|_| usize::from(index) < colours)
            .map_or(0, |v| (v >> 8) as u8)
    })
}
