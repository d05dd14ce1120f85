//! PBM, PGM and PPM as Pillow reads them: values are scaled to eight bits with halves to the even
//! number, grey of more bits to sixteen and then cut at 255.

use super::decoded_image::{DecodedImage, Outcome, checked_size, whole};

/// Longest number of a header.
const LONGEST: usize = 10;

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn next(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    /// The next word and the byte that ends it; comments go to the end of their line.
    fn word(&mut self) -> Outcome<Vec<u8>> {
        let mut word = Vec::new();
        while let Some(byte) = self.next() {
            if byte == b'#' {
                while self
                    .next()
                    .is_some_and(|byte| byte != b'\n' && byte != b'\r')
                {}
            } else if byte.is_ascii_whitespace() || byte == 0x0b {
                if !word.is_empty() {
                    return Ok(word);
                }
            } else {
                word.push(byte);
                if word.len() > LONGEST {
                    return Err("a number of it is too long".into());
                }
            }
        }
        if word.is_empty() {
            Err("it is cut off".into())
        } else {
            Ok(word)
        }
    }

    fn number(&mut self) -> Outcome<u32> {
        let word = self.word()?;
        std::str::from_utf8(&word)
            .ok()
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| "a number of it is none".to_owned())
    }
}

pub(super) fn pnm(bytes: &[u8]) -> Outcome<DecodedImage> {
    let kind = match bytes.get(..2) {
        Some([b'P', kind @ b'1'..=b'6']) => *kind,
        _ => return Err("this kind of PNM is not read".into()),
    };
    let mut reader = Reader { bytes, at: 2 };
    let (width, height) = (reader.number()?, reader.number()?);
    let (width, height) = checked_size(width.into(), height.into())?;
    let plain = kind <= b'3';
    if matches!(kind, b'1' | b'4') {
        let bits = if plain {
            plain_bits(&mut reader, width * height)?
        } else {
            packed_bits(&reader, width, height)?
        };
        let grey = |black: bool| [if black { 0 } else { 255 }; 3];
        return whole(width, height, bits.into_iter().flat_map(grey).collect());
    }
    let highest = reader.number()?;
    if !(1..65536).contains(&highest) {
        return Err(format!("its highest value is {highest}"));
    }
    let channels = if matches!(kind, b'3' | b'6') { 3 } else { 1 };
    let count = width * height * channels;
    let values = if plain {
        plain_values(&mut reader, count, highest)?
    } else {
        binary_values(&reader, count, highest)?
    };
    whole(width, height, scaled(&values, highest, channels))
}

/// RGB of values up to `highest`, of one channel or three.
fn scaled(values: &[u32], highest: u32, channels: usize) -> Vec<u8> {
    // Grey of more than eight bits becomes Pillow's mode I, which is cut and not scaled down.
    let top = if channels == 1 && highest > 255 {
        65535.0
    } else {
        255.0
    };
    let scaled = |value: &u32| {
        let value = if f64::from(highest) == top {
            f64::from(*value)
        } else {
            (f64::from(*value) / f64::from(highest) * top).round_ties_even()
        };
        value.min(top).min(255.0) as u8
    };
    let bytes = values.iter().map(scaled);
    if channels == 1 {
        bytes.flat_map(|value| [value; 3]).collect()
    } else {
        bytes.collect()
    }
}

fn plain_bits(reader: &mut Reader, count: usize) -> Outcome<Vec<bool>> {
    let mut bits = Vec::new();
    while bits.len() < count {
        match reader.next().ok_or("it is cut off")? {
            b'0' => bits.push(false),
            b'1' => bits.push(true),
            b'#' => {
                while reader
                    .next()
                    .is_some_and(|byte| byte != b'\n' && byte != b'\r')
                {}
            }
            byte if byte.is_ascii_whitespace() => {}
            _ => return Err("a bit of it is neither 0 nor 1".into()),
        }
    }
    Ok(bits)
}

fn packed_bits(reader: &Reader, width: usize, height: usize) -> Outcome<Vec<bool>> {
    let row = width.div_ceil(8);
    let data = reader
        .bytes
        .get(reader.at..)
        .and_then(|rest| rest.get(..row * height))
        .ok_or("it is cut off")?;
    let bits = |row: &[u8]| {
        (0..width)
            .map(|x| row[x / 8] & (128 >> (x % 8)) != 0)
            .collect::<Vec<_>>()
    };
    Ok(data.chunks_exact(row).flat_map(bits).collect())
}

fn plain_values(reader: &mut Reader, count: usize, highest: u32) -> Outcome<Vec<u32>> {
    let mut values = Vec::new();
    for _ in 0..count {
        let value = reader.number()?;
        if value > highest {
            return Err(format!("a value of it is {value}, above {highest}"));
        }
        values.push(value);
    }
    Ok(values)
}

fn binary_values(reader: &Reader, count: usize, highest: u32) -> Outcome<Vec<u32>> {
    let rest = reader.bytes.get(reader.at..).unwrap_or_default();
    let cut = || "it is cut off".to_owned();
    if highest > 255 {
        let data = rest.get(..count * 2).ok_or_else(cut)?;
        return Ok(data
            .as_chunks::<2>()
            .0
            .iter()
            .map(|pair| u16::from_be_bytes(*pair).into())
            .collect());
    }
    Ok(rest
        .get(..count)
        .ok_or_else(cut)?
        .iter()
        .map(|byte| u32::from(*byte))
        .collect())
}
