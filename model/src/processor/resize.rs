//! Resizing bit for bit as Pillow does it for 8-bit images.
//!
//! Two passes of a separable filter with coefficients in 22-bit fixed point, rounded to bytes in
//! between. Up to version 12 Pillow runs the horizontal pass first; since 13 the vertical one goes
//! first where it shrinks the image much more.
#![allow(unsafe_code, reason = "calls code for AVX2 after asking the processor")]

use serde::{Deserialize, Serialize};

/// Fraction bits of a coefficient: 32 less 8 for the pixel and 2 for overshoot.
const BITS: u32 = 22;
/// Columns that one step of the kernel keeps in registers.
const LANES: usize = 64;

/// An image's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PixelSize {
    /// In pixels.
    pub width: usize,
    /// In pixels.
    pub height: usize,
}

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
            n => Err(format!(
                "resample filter {n} is none of 1 (Lanczos), 2 (bilinear), 3 (bicubic)"
            )),
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
    /// Pillow 13: the vertical pass where the height shrinks by more than twice what the width
    /// does.
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

    fn vertical_first(self, from: PixelSize, to: PixelSize) -> bool {
        let shrink = |from: usize, to: usize| from as i64 - to as i64;
        self == Self::Pillow13
            && to.height < from.height
            && shrink(from.height, to.height) > 2 * shrink(from.width, to.width)
    }
}

/// Along one axis, for each output position the first source position and the fixed-point weights
/// from there on, one list after the other.
struct Taps {
    spans: Vec<Span>,
    weights: Vec<i32>,
}

struct Span {
    first: usize,
    weights: std::ops::Range<usize>,
}

impl Taps {
    fn new(from: usize, to: usize, filter: Filter) -> Self {
        let scale = from as f64 / to as f64;
        let stretch = scale.max(1.0);
        let support = filter.radius() * stretch;
        let inverse = 1.0 / stretch;
        let mut taps = Self {
            spans: Vec::with_capacity(to),
            weights: Vec::with_capacity(to * (2 * support as usize + 3)),
        };
        let mut row = Vec::new();
        for i in 0..to {
            let centre = (i as f64 + 0.5) * scale;
            let first = (centre - support + 0.5).max(0.0) as usize;
            let end = ((centre + support + 0.5) as usize).min(from);
            row.clear();
            row.extend(
                (0..end - first)
                    .map(|j| filter.at((j as f64 + first as f64 - centre + 0.5) * inverse)),
            );
            taps.push(first, &row);
        }
        taps
    }

    /// Adds an output position: its weights, brought to a sum of one.
    fn push(&mut self, first: usize, row: &[f64]) {
        let sum: f64 = row.iter().fold(0.0, |sum, weight| sum + weight);
        let start = self.weights.len();
        self.weights.extend(row.iter().map(|weight| {
            let scaled = if sum == 0.0 { *weight } else { weight / sum } * f64::from(1 << BITS);
            (scaled + if scaled < 0.0 { -0.5 } else { 0.5 }) as i32
        }));
        self.spans.push(Span {
            first,
            weights: start..self.weights.len(),
        });
    }

    fn len(&self) -> usize {
        self.spans.len()
    }

    /// First source position and weights of each output position.
    fn iter(&self) -> impl Iterator<Item = (usize, &[i32])> {
        self.spans
            .iter()
            .map(|span| (span.first, &self.weights[span.weights.clone()]))
    }
}

/// Each output row is a weighted sum of source rows of `width` bytes.
fn combine_rows(source: &[u8], width: usize, taps: &Taps) -> Vec<u8> {
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
fn combine_rows_avx2(source: &[u8], width: usize, taps: &Taps, out: &mut [u8]) {
    combine_rows_into(source, width, taps, out);
}

#[inline(always)]
#[allow(
    clippy::inline_always,
    reason = "it must be compiled into its AVX2 caller"
)]
fn combine_rows_into(source: &[u8], width: usize, taps: &Taps, out: &mut [u8]) {
    for ((first, weights), out) in taps.iter().zip(out.chunks_exact_mut(width)) {
        let rows = &source[first * width..];
        let mut column = 0;
        while column < width {
            let lanes = LANES.min(width - column);
            let mut sums = [1i32 << (BITS - 1); LANES];
            for (row, &weight) in rows.chunks_exact(width).zip(weights) {
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

/// Each pixel of an output row is a weighted sum of pixels of the source row.
fn horizontal<const C: usize>(
    source: &[u8],
    from: PixelSize,
    to: usize,
    filter: Filter,
) -> Vec<u8> {
    let (taps, mut out) = (
        Taps::new(from.width, to, filter),
        vec![0; to * from.height * C],
    );
    #[cfg(target_arch = "x86_64")]
    if C == 3 && is_x86_feature_detected!("avx2") {
        // SAFETY: the processor was just asked.
        unsafe { horizontal_rgb_avx2(source, from.width, &taps, &mut out) };
        return out;
    }
    let rows = source.chunks_exact(from.width * C);
    for (row, out) in rows.zip(out.chunks_exact_mut(to * C)) {
        combine_pixels::<C>(row, &taps, out);
    }
    out
}

fn combine_pixels<const C: usize>(row: &[u8], taps: &Taps, out: &mut [u8]) {
    for ((first, weights), out) in taps.iter().zip(out.chunks_exact_mut(C)) {
        let mut sums = [1i32 << (BITS - 1); C];
        for (pixel, &weight) in row[first * C..].chunks_exact(C).zip(weights) {
            for (sum, &value) in sums.iter_mut().zip(pixel) {
                *sum = sum.wrapping_add(i32::from(value) * weight);
            }
        }
        for (out, sum) in out.iter_mut().zip(sums) {
            *out = (sum >> BITS).clamp(0, 255) as u8;
        }
    }
}

/// Bytes that are read at once for two RGB pixels.
const PAIR_BYTES: usize = 8;

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn horizontal_rgb_avx2(source: &[u8], width: usize, taps: &Taps, out: &mut [u8]) {
    let height = out.len() / taps.len() / 3;
    let weights: Vec<[i32; 4]> = taps.weights.iter().map(|&w| [w; 4]).collect();
    for (y, out) in out.chunks_exact_mut(taps.len() * 3).enumerate() {
        // Eight bytes are read where six are needed: the last row, and those of one or two pixels,
        // get some more.
        let (row, padded);
        if y + 1 < height && width > 2 {
            row = &source[y * width * 3..];
        } else {
            padded = [&source[y * width * 3..], &[0; PAIR_BYTES]].concat();
            row = &padded;
        }
        for (span, out) in taps.spans.iter().zip(out.as_chunks_mut::<3>().0) {
            *out = combine_rgb_avx2(&row[span.first * 3..], &weights[span.weights.clone()]);
        }
    }
}

/// One output pixel from the pixels at the start of `pixels`, which holds eight bytes more than
/// they need: two pixels a step, in the lanes red, green, blue, unused.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
#[inline]
#[allow(
    clippy::cast_ptr_alignment,
    reason = "the loads are the unaligned ones"
)]
fn combine_rgb_avx2(pixels: &[u8], weights: &[[i32; 4]]) -> [u8; 3] {
    use std::arch::x86_64::{
        __m128i, __m256i, _mm_add_epi32, _mm_cvtepu8_epi32, _mm_cvtsi64_si128, _mm_cvtsi128_si32,
        _mm_loadu_si128, _mm_mullo_epi32, _mm_packus_epi16, _mm_packus_epi32, _mm_set1_epi32,
        _mm_setr_epi8, _mm_shuffle_epi8, _mm_srai_epi32, _mm256_add_epi32, _mm256_castsi256_si128,
        _mm256_cvtepu8_epi32, _mm256_extracti128_si256, _mm256_loadu_si256, _mm256_mullo_epi32,
        _mm256_setzero_si256,
    };
    let bytes = |pixel: usize| -> __m128i {
        let eight = pixels[pixel * 3..pixel * 3 + PAIR_BYTES]
            .try_into()
            .expect("eight bytes");
        _mm_cvtsi64_si128(i64::from_le_bytes(eight))
    };
    let spread = _mm_setr_epi8(0, 1, 2, -1, 3, 4, 5, -1, -1, -1, -1, -1, -1, -1, -1, -1);
    let (pairs, single) = weights.as_chunks::<2>();
    let mut sums = _mm256_setzero_si256();
    for (i, pair) in pairs.iter().enumerate() {
        let values = _mm256_cvtepu8_epi32(_mm_shuffle_epi8(bytes(2 * i), spread));
        // SAFETY: a pair of weights is eight i32, and this load needs no alignment.
        let weights = unsafe { _mm256_loadu_si256(pair.as_ptr().cast::<__m256i>()) };
        sums = _mm256_add_epi32(sums, _mm256_mullo_epi32(values, weights));
    }
    let mut sum = _mm_add_epi32(
        _mm256_castsi256_si128(sums),
        _mm256_extracti128_si256(sums, 1),
    );
    if let [weight] = single {
        // SAFETY: a weight is four i32, and this load needs no alignment.
        let weight = unsafe { _mm_loadu_si128(weight.as_ptr().cast::<__m128i>()) };
        sum = _mm_add_epi32(
            sum,
            _mm_mullo_epi32(_mm_cvtepu8_epi32(bytes(2 * pairs.len())), weight),
        );
    }
    let rounded = _mm_srai_epi32(
        _mm_add_epi32(sum, _mm_set1_epi32(1 << (BITS - 1))),
        BITS as i32,
    );
    let packed = _mm_packus_epi32(rounded, rounded);
    let [red, green, blue, _] = _mm_cvtsi128_si32(_mm_packus_epi16(packed, packed)).to_le_bytes();
    [red, green, blue]
}

/// `source`, rows of pixels of `C` (1 to 4) interleaved bytes, from one size to another.
///
/// # Panics
/// If a size is zero or `source` is not `from`'s.
pub fn resize<const C: usize>(
    source: &[u8],
    from: PixelSize,
    to: PixelSize,
    filter: Filter,
    order: PassOrder,
) -> Vec<u8> {
    let empty = |size: PixelSize| size.width == 0 || size.height == 0;
    assert!(!empty(from) && !empty(to), "an empty image");
    let bytes = from.width * from.height * C;
    assert_eq!(source.len(), bytes, "the source has another size");
    let vertical = |source: &[u8], width: usize| {
        let taps = Taps::new(from.height, to.height, filter);
        combine_rows(source, width * C, &taps)
    };
    let between = PixelSize {
        height: to.height,
        ..from
    };
    match (from.width == to.width, from.height == to.height) {
        (true, true) => source.to_vec(),
        (true, false) => vertical(source, from.width),
        (false, true) => horizontal::<C>(source, from, to.width, filter),
        (false, false) if order.vertical_first(from, to) => {
            horizontal::<C>(&vertical(source, from.width), between, to.width, filter)
        }
        (false, false) => vertical(&horizontal::<C>(source, from, to.width, filter), to.width),
    }
}
