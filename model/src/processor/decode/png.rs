//! PNG as Pillow reads it: checksums of the chunks before the image data count, those of the data
//! do not, and an end is not needed. Only the chunks that Pillow's pixels depend on are passed on
//! to the decoder.

use image::ImageFormat;

use super::{Outcome, Picture, other};

/// Bytes that every PNG begins with.
const SIGNATURE: usize = 8;
/// Length, name and checksum of a chunk.
const AROUND: usize = 12;

/// Where in the file a chunk stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    BeforeData,
    Data,
    AfterData,
}

pub(super) fn png(bytes: &[u8]) -> Outcome<Picture> {
    let mut plain = bytes[..SIGNATURE.min(bytes.len())].to_vec();
    let (mut at, mut data, mut part) = (SIGNATURE, Vec::new(), Part::BeforeData);
    let mut head: &[u8] = &[];
    while let Some(&[a, b, c, d, ref kind @ ..]) = bytes.get(at..at.saturating_add(8)) {
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        if !kind
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
        {
            if part == Part::BeforeData {
                return Err("a chunk of it has no name".into());
            }
            break;
        }
        let rest = &bytes[at + 8..];
        if kind == b"IDAT" && part != Part::AfterData {
            part = Part::Data;
            data.extend(&rest[..length.min(rest.len())]); // of data that is cut off the decoder says so
        } else {
            if part == Part::Data {
                part = Part::AfterData;
            }
            if kind == b"IEND" {
                break;
            }
            let body = rest.get(..length).ok_or("it is cut off")?;
            if part == Part::BeforeData {
                let told = rest.get(length..length + 4).ok_or("it is cut off")?;
                if checksum(kind, body).to_be_bytes() != told {
                    return Err("a checksum of it is wrong".into());
                }
                match kind {
                    b"IHDR" => {
                        head = body;
                        plain.extend(chunk(kind, body));
                    }
                    // The palette of colour type 3; of others it is a suggestion.
                    b"PLTE" if head.get(9) == Some(&3) => plain.extend(chunk(kind, body)),
                    b"fcTL" if body.get(4..12) != head.get(..8) => {
                        return Err("its first frame is not the whole picture".into());
                    }
                    _ => {}
                }
            }
        }
        at = at.saturating_add(length).saturating_add(AROUND);
    }
    if data.is_empty() {
        return Err("it has no image data".into());
    }
    plain.extend(chunk(b"IDAT", &data));
    plain.extend(chunk(b"IEND", &[]));
    other(&plain, ImageFormat::Png)
}

fn chunk(kind: &[u8], body: &[u8]) -> Vec<u8> {
    [
        &(body.len() as u32).to_be_bytes()[..],
        kind,
        body,
        &checksum(kind, body).to_be_bytes(),
    ]
    .concat()
}

fn checksum(kind: &[u8], body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(kind);
    hasher.update(body);
    hasher.finalize()
}
