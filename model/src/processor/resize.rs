//! Resizing bit for bit as Pillow does it for 8-bit pictures.
//!
//! Two passes of a separable filter with coefficients in 22-bit fixed point, rounded to bytes in between. Up to version
//! 12 Pillow runs the horizontal pass first; since 13 the vertical one goes first where it shrinks the picture much more.
#![allow(unsafe_code, reason = "calls the same safe code compiled for AVX2 after asking the processor")]

use serde::{Deserialize, Serialize};

/// Fraction bits of a coefficient: 32 less 8 for the pixel and 2 for overshoot.
const BITS: u32 = 22;
/// Columns that one step of the kernel keeps in registers.
const LANES: usize = 64;

/// Resampling filter, in files by PIL's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub enum Filter {
    /// Triangle of radius 1.
    Bilinear,
    /// Cubic of radius 2, a = -0.5.
    Bicubic,
    /// Windowed sinc of radius 3.
    Lanczos,
}

impl Filter {
    fn radius(self) -> f64 {
        match self {
            Self::Bilinear => 1.0,
            Self::Bicubic => 2.0,
            Self::Lanczos => 3.0,
        }
    }

    fn at(self, x: f64) -> f64 {
        let a = x.abs();
        match self {
            Self::Bilinear => (1.0 - a).max(0.0),
            Self::Bicubic if a < 1.0 => (1.5 * a - 2.5) * a * a + 1.0,
            Self::Bicubic if a < 2.0 => (((a - 5.0) * a + 8.0) * a - 4.0) * -0.5,
            Self::Bicubic => 0.0,
            Self::Lanczos if (-3.0..3.0).contains(&x) => sinc(x) * sinc(x / 3.0),
            Self::Lanczos => 0.0,
        }
    }
}

impl TryFrom<u8> for Filter {
    type Error = String;

    fn try_from(number: u8) -> Result<Self, String> {
        match number {
            1 => Ok(Self::Lanczos),
            2 => Ok(Self::Bilinear),
            3 => Ok(Self::Bicubic),
            n => Err(format!("resample filter {n} is none of 1 (Lanczos), 2 (bilinear), 3 (bicubic)")),
        }
    }
}

impl From<Filter> for u8 {
    fn from(filter: Filter) -> Self {
        match filter {
            Filter::Lanczos => 1,
            Filter::Bilinear => 2,
            Filter::Bicubic => 3,
        }
    }
}

fn sinc(x: f64) -> f64 {
    let x = x * std::f64::consts::PI;
    if x == 0.0 { 1.0 } else { x.sin() / x }
}

/// Which pass runs first; part of a transform's identity, since the bytes differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PassOrder {
    /// Pillow up to 12: always the horizontal pass.
    Pillow12,
    /// Pillow 13: the vertical pass where the height shrinks by more than twice what the width does.
    #[default]
    Pillow13,
}

impl PassOrder {
    /// As it appears in a transform's id.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pillow12 => "pillow12",
            Self::Pillow13 => "pillow13",
        }
    }

    fn vertical_first(self, from: (usize, usize), to: (usize, usize)) -> bool {
        let shrink = |from: usize, to: usize| from as i64 - to as i64;
        self == Self::Pillow13 && to.1 < from.1 && shrink(from.1, to.1) > 2 * shrink(from.0, to.0)
    }
}

/// For one output position: the first source position and the fixed-point weights from there on.
struct Taps {
    first: usize,
    weights: Vec<i32>,
}

/// The taps of every output position along one axis.
fn taps(from: usize, to: usize, filter: Filter) -> Vec<Taps> {
    let scale = from as f64 / to as f64;
    let stretch = scale.max(1.0);
    let support = filter.radius() * stretch;
    let inverse = 1.0 / stretch;
    let taps_of = |i: usize| {
        let centre = (i as f64 + 0.5) * scale;
        let first = (centre - support + 0.5).max(0.0) as usize;
        let end = ((centre + support + 0.5) as usize).min(from);
        let weights: Vec<f64> = (0..end - first).map(|j| filter.at((j as f64 + first as f64 - centre + 0.5) * inverse)).collect();
        let mut sum = 0.0;
        for weight in &weights {
            sum += weight;
        }
        let fixed = |w: &f64| {
            let scaled = if sum == 0.0 { *w } else { w / sum } * f64::from(1 << BITS);
            (scaled + if scaled < 0.0 { -0.5 } else { 0.5 }) as i32
        };
        Taps { first, weights: weights.iter().map(fixed).collect() }
    };
    (0..to).map(taps_of).collect()
}

/// Each output row is a weighted sum of source rows of `width` bytes.
fn combine_rows(source: &[u8], width: usize, taps: &[Taps]) -> Vec<u8> {
    let mut out = vec![0; width * taps.len()];
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        // SAFETY: the processor was just asked.
        unsafe { combine_rows_avx2(source, width, taps, &mut out) };
        return out;
    }
    combine_rows_into(source, width, taps, &mut out);
    out
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn combine_rows_avx2(source: &[u8], width: usize, taps: &[Taps], out: &mut [u8]) {
    combine_rows_into(source, width, taps, out);
}

#[inline(always)]
#[allow(clippy::inline_always, reason = "it must be compiled into its AVX2 caller")]
fn combine_rows_into(source: &[u8], width: usize, taps: &[Taps], out: &mut [u8]) {
    for (taps, out) in taps.iter().zip(out.chunks_exact_mut(width)) {
        let rows = &source[taps.first * width..];
        let mut column = 0;
        while column < width {
            let lanes = LANES.min(width - column);
            let mut sums = [1i32 << (BITS - 1); LANES];
            for (row, &weight) in rows.chunks_exact(width).zip(&taps.weights) {
                let pixels = &row[column..column + lanes];
                if let Ok(pixels) = <&[u8; LANES]>::try_from(pixels) {
                    for (sum, &pixel) in sums.iter_mut().zip(pixels) {
                        *sum = sum.wrapping_add(i32::from(pixel) * weight);
                    }
                } else {
                    for (sum, &pixel) in sums.iter_mut().zip(pixels) {
                        *sum = sum.wrapping_add(i32::from(pixel) * weight);
                    }
                }
            }
            for (out, &sum) in out[column..column + lanes].iter_mut().zip(&sums) {
                *out = (sum >> BITS).clamp(0, 255) as u8;
            }
            column += lanes;
        }
    }
}

/// Rows of pixels to columns of pixels, in tiles that stay in the nearest cache.
fn transpose<const C: usize>(source: &[u8], width: usize, height: usize) -> Vec<u8> {
    const TILE: usize = 32;
    let mut out = vec![0; source.len()];
    for top in (0..height).step_by(TILE) {
        for left in (0..width).step_by(TILE) {
            for x in left..(left + TILE).min(width) {
                for y in top..(top + TILE).min(height) {
                    let (from, to) = ((y * width + x) * C, (x * height + y) * C);
                    out[to..to + C].copy_from_slice(&source[from..from + C]);
                }
            }
        }
    }
    out
}

fn horizontal<const C: usize>(source: &[u8], (width, height): (usize, usize), to: usize, filter: Filter) -> Vec<u8> {
    let columns = transpose::<C>(source, width, height);
    transpose::<C>(&combine_rows(&columns, height * C, &taps(width, to, filter)), height, to)
}

/// `source`, rows of pixels of `C` interleaved bytes, from size (width, height) to size `to`.
///
/// # Panics
/// If a size is zero or `source` is not `from`'s.
pub fn resize<const C: usize>(source: &[u8], from: (usize, usize), to: (usize, usize), filter: Filter, order: PassOrder) -> Vec<u8> {
    assert!(from.0 > 0 && from.1 > 0 && to.0 > 0 && to.1 > 0, "an empty picture");
    assert_eq!(source.len(), from.0 * from.1 * C, "the source has another size");
    let vertical = |source: &[u8], width: usize| combine_rows(source, width * C, &taps(from.1, to.1, filter));
    match (from.0 == to.0, from.1 == to.1) {
        (true, true) => source.to_vec(),
        (true, false) => vertical(source, from.0),
        (false, true) => horizontal::<C>(source, from, to.0, filter),
        (false, false) if order.vertical_first(from, to) => horizontal::<C>(&vertical(source, from.0), (from.0, to.1), to.0, filter),
        (false, false) => vertical(&horizontal::<C>(source, from, to.0, filter), to.0),
    }
}
