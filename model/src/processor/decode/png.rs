//! PNG as Pillow reads it: checksums of the chunks before the image data count, those of the data
//! do not, and an end is not needed. Only the chunks that Pillow's pixels depend on are passed on
//! to the decoder.

use image::ImageFormat;

use super::{
    decoded_image::{DecodedImage, Outcome},
    other::other,
};

/// Bytes that every PNG begins with.
const SIGNATURE: usize = 8;
/// Length, name and checksum of a chunk.
const AROUND: usize = 12;

/// Where in the file a chunk stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Position {
    BeforeData,
    Data,
    AfterData,
}

pub(super) fn png(bytes: &[u8]) -> Outcome<DecodedImage> {
    let mut prelude = Prelude {
        plain: bytes[..SIGNATURE.min(bytes.len())].to_vec(),
        head: &[],
    };
    let (mut at, mut data, mut position) = (SIGNATURE, Vec::new(), Position::BeforeData);
    while let Some(&[a, b, c, d, ref kind @ ..]) = bytes.get(at..at.saturating_add(8)) {
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        if !is_name(kind) {
            if position == Position::BeforeData {
                return Err("a chunk of it has no name".into());
            }
            break;
        }
        let rest = &bytes[at + 8..];
        if kind == b"IDAT" && position != Position::AfterData {
            position = Position::Data;
            data.extend(&rest[..length.min(rest.len())]); // of data that is cut off the decoder says so
        } else {
            if position == Position::Data {
                position = Position::AfterData;
            }
            if kind == b"IEND" {
                break;
            }
            let body = rest.get(..length).ok_or("it is cut off")?;
            if position == Position::BeforeData {
                let told = rest.get(length..length + 4).ok_or("it is cut off")?;
                prelude.add(kind, body, told)?;
            }
        }
        at = at.saturating_add(length).saturating_add(AROUND);
    }
    if data.is_empty() {
        return Err("it has no image data".into());
    }
    let mut plain = prelude.plain;
    plain.extend(chunk(b"IDAT", &data));
    plain.extend(chunk(b"IEND", &[]));
    other(&plain, ImageFormat::Png)
}

fn is_name(kind: &[u8]) -> bool {
    let legal = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    kind.iter().all(legal)
}

/// The chunks before the image data.
struct Prelude<'a> {
    /// Those that are passed on, after the signature.
    plain: Vec<u8>,
    /// The body of `IHDR`.
    head: &'a [u8],
}

impl<'a> Prelude<'a> {
    /// Looks at a chunk with the checksum that the file tells.
    fn add(&mut self, kind: &[u8], body: &'a [u8], told: &[u8]) -> Outcome<()> {
        if checksum(kind, body).to_be_bytes() != told {
            return Err("a checksum of it is wrong".into());
        }
        match kind {
            b"IHDR" => {
                self.head = body;
                self.plain.extend(chunk(kind, body));
            }
            // The palette of colour type 3; of others it is a suggestion.
            b"PLTE" if self.head.get(9) == Some(&3) => self.plain.extend(chunk(kind, body)),
            b"fcTL" if body.get(4..12) != self.head.get(..8) => {
                return Err("its first frame is not the whole image".into());
            }
            _ => {}
        }
        Ok(())
    }
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
