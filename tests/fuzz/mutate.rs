//! Ways in which files go bad.

use rand::{Rng, rngs::StdRng};

/// Numbers that lengths and offsets are replaced with.
const LENGTHS: [u64; 12] = [
    0,
    1,
    65_535,
    1 << 24,
    0x1000_0000,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_fff0,
    1 << 40,
    u64::MAX >> 1,
    u64::MAX - 7,
    u64::MAX,
];
const NUMBERS: [&str; 13] = [
    "-1",
    "0",
    "1e9",
    "9223372036854775807",
    "18446744073709551616",
    "1e308",
    "1e999",
    "NaN",
    "0.5",
    "1e-300",
    "-0",
    "4294967296",
    "-Infinity",
];
const SYNTAX: [(&str, &str); 12] = [
    ("\"", "'"),
    ("{", "["),
    ("[", "{"),
    (":", ","),
    (",", ",,"),
    ("=", "=="),
    ("]", "]]"),
    ("}", ""),
    ("true", "false"),
    ("null", "0"),
    ("false", "null"),
    ("\"", "\"\\u0000"),
];
const TOKENS: [&str; 11] = [
    "\u{1b}[2J",
    "\u{202e}",
    "\0",
    "../",
    "/etc/passwd",
    "[[[[[[[[",
    "{{{{{{{{",
    "\"\"",
    "é",
    "\r\n",
    "=cmd|' /C calc'!A0",
];

/// The bytes with one to four faults in them; files of text suffer those of text too.
pub fn mutate(rng: &mut StdRng, whole: &[u8], text: bool) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    let faults = if rng.random_bool(0.6) {
        1
    } else {
        rng.random_range(2..5)
    };
    for _ in 0..faults {
        if bytes.is_empty() {
            bytes.push(rng.random());
        }
        if text && rng.random_bool(0.4) {
            spoil_text(rng, &mut bytes);
        } else {
            spoil_bytes(rng, &mut bytes);
        }
    }
    bytes
}

/// A place, more often near the ends, where headers and indices are.
fn position(rng: &mut StdRng, length: usize) -> usize {
    match rng.random_range(0..4) {
        0 => rng.random_range(0..length.min(512)),
        1 => length - 1 - rng.random_range(0..length.min(512)),
        _ => rng.random_range(0..length),
    }
}

/// A stretch of at most so many bytes.
fn stretch(rng: &mut StdRng, length: usize, most: usize) -> std::ops::Range<usize> {
    let from = position(rng, length);
    from..length.min(from + rng.random_range(1..=most))
}

fn spoil_bytes(rng: &mut StdRng, bytes: &mut Vec<u8>) {
    let length = bytes.len();
    let at = position(rng, length);
    match rng.random_range(0..10) {
        0 => bytes[at] ^= 1 << rng.random_range(0..8),
        1 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff, rng.random()][rng.random_range(0..6)],
        2 => bytes.truncate(at),
        3 => {
            let copy = bytes[stretch(rng, length, 64)].to_vec();
            bytes.splice(at..at, copy);
        }
        4 => drop(bytes.drain(stretch(rng, length, 256))),
        5 => bytes[stretch(rng, length, 4096)].fill(0),
        6 | 7 => {
            let width = [2, 4, 4, 8][rng.random_range(0..4)];
            let number = if rng.random_bool(0.2) {
                length as u64 + rng.random_range(0..2)
            } else {
                LENGTHS[rng.random_range(0..LENGTHS.len())]
            };
            let at = if rng.random_bool(0.5) {
                at - at % width
            } else {
                at
            };
            let number = if rng.random_bool(0.5) {
                number.to_le_bytes()
            } else {
                (number << (8 * (8 - width))).to_be_bytes()
            };
            for (byte, new) in bytes[at..].iter_mut().zip(&number[..width]) {
                *byte = *new;
            }
        }
        8 => {
            let noise: Vec<u8> = (0..rng.random_range(1..64)).map(|_| rng.random()).collect();
            bytes.splice(at..at, noise);
        }
        _ => {
            let copy = bytes[stretch(rng, length, 512)].to_vec();
            let to = length.min(at + copy.len());
            bytes[at..to].copy_from_slice(&copy[..to - at]);
        }
    }
}

fn spoil_text(rng: &mut StdRng, bytes: &mut Vec<u8>) {
    let mut text = String::from_utf8_lossy(bytes).into_owned();
    match rng.random_range(0..4) {
        0 => {
            let is_number = |c: char| c.is_ascii_digit() || c == '.';
            let numbers: Vec<_> = text
                .match_indices(|c: char| c.is_ascii_digit())
                .map(|(at, _)| at)
                .collect();
            if !numbers.is_empty() {
                let from = numbers[rng.random_range(0..numbers.len())];
                let to = text[from..]
                    .find(|c| !is_number(c))
                    .map_or(text.len(), |width| from + width);
                text.replace_range(from..to, NUMBERS[rng.random_range(0..NUMBERS.len())]);
            }
        }
        1 => {
            let mut lines: Vec<&str> = text.split('\n').collect();
            let (a, b) = (
                rng.random_range(0..lines.len()),
                rng.random_range(0..lines.len()),
            );
            match rng.random_range(0..3) {
                0 => lines.insert(a, lines[b]),
                1 => drop(lines.remove(a)),
                _ => lines.swap(a, b),
            }
            text = lines.join("\n");
        }
        2 => {
            let (from, to) = SYNTAX[rng.random_range(0..SYNTAX.len())];
            let found: Vec<usize> = text.match_indices(from).map(|(at, _)| at).collect();
            if !found.is_empty() {
                let at = found[rng.random_range(0..found.len())];
                text.replace_range(at..at + from.len(), to);
            }
        }
        _ => {
            let at = position(rng, text.len().max(1));
            let at = (0..=at.min(text.len()))
                .rev()
                .find(|&at| text.is_char_boundary(at))
                .unwrap_or(0);
            text.insert_str(at, TOKENS[rng.random_range(0..TOKENS.len())]);
        }
    }
    *bytes = text.into_bytes();
}
