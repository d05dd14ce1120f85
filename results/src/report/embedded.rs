//! Images inside the file: as text, each once, and no more of them than there is room for.

use std::collections::HashMap;

use sha2::{Digest, Sha256};

/// The largest image that is believed to be of 96 pixels.
const LARGEST: usize = 64 << 10;
const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// What became of an image.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Embedding {
    /// It is to be put here, under this id.
    Here(ImageText),
    /// It is in the file already, under this id.
    Before(String),
    /// There is no room, or it is no image.
    None,
}

/// An image as text and its id.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ImageText {
    pub(super) id: String,
    pub(super) uri: String,
}

/// The images that are in the file.
#[derive(Debug, Default)]
pub(super) struct Embedded {
    ids: HashMap<[u8; 32], String>,
    bytes: usize,
}

impl Embedded {
    /// Takes an image up, if it is one and there is room.
    pub(super) fn embed(&mut self, image: &[u8], most: usize) -> Embedding {
        let Some(kind) = kind(image).filter(|_| image.len() <= LARGEST) else {
            return Embedding::None;
        };
        let digest: [u8; 32] = Sha256::digest(image).into();
        if let Some(id) = self.ids.get(&digest) {
            return Embedding::Before(id.clone());
        }
        let uri = format!("data:{kind};base64,{}", base64(image));
        if self.bytes + uri.len() > most {
            return Embedding::None;
        }
        self.bytes += uri.len();
        let id = format!("image-{}", self.ids.len() + 1);
        self.ids.insert(digest, id.clone());
        Embedding::Here(ImageText { id, uri })
    }
}

fn kind(image: &[u8]) -> Option<&'static str> {
    let webp = image.starts_with(b"RIFF") && image.get(8..12) == Some(b"WEBP");
    match image {
        [0xff, 0xd8, 0xff, ..] => Some("image/jpeg"),
        [0x89, b'P', b'N', b'G', ..] => Some("image/png"),
        _ => webp.then_some("image/webp"),
    }
}

/// Bytes as letters (RFC 4648).
pub(super) fn base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let byte = |index: usize| u32::from(three.get(index).copied().unwrap_or(0));
        let bits = (byte(0) << 16) | (byte(1) << 8) | byte(2);
        for place in 0..4usize {
            if place > three.len() {
                text.push('=');
            } else {
                let letter = (bits >> (18 - 6 * place)) & 63;
                text.push(char::from(LETTERS[letter as usize]));
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_written_as_the_standard_has_it() {
        let cases = [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foobar", "Zm9vYmFy"),
        ];
        for (bytes, text) in cases {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }

    #[test]
    fn an_image_is_embedded_once_and_only_where_there_is_room() {
        let mut embedded = Embedded::default();
        let image = [0xff, 0xd8, 0xff, 0];
        let Embedding::Here(first) = embedded.embed(&image, 100) else {
            panic!("the first stays");
        };
        assert_eq!(first.uri, "data:image/jpeg;base64,/9j/AA==");
        assert_eq!(embedded.embed(&image, 100), Embedding::Before(first.id));
        assert_eq!(embedded.embed(b"\x89PNG and more", 40), Embedding::None);
        assert_eq!(embedded.embed(b"<svg onload=x>", 9999), Embedding::None);
    }
}
