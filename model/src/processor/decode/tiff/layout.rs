//! How a TIFF's samples are stored, by its tags.

use std::io::{Read, Seek};

use tiff::{decoder::Decoder, tags::Tag};

use crate::processor::decode::decoded_image::Outcome;

/// Whether whole numbers are signed, or are floats.
pub(super) const UNSIGNED: u16 = 1;
pub(super) const SIGNED: u16 = 2;
pub(super) const FLOAT: u16 = 3;

/// How samples are stored.
pub(super) struct Layout {
    pub(super) photometric: u16,
    pub(super) samples: usize,
    pub(super) depth: u16,
    pub(super) format: u16,
    pub(super) extra: Vec<u16>,
    pub(super) little: bool,
}

impl Layout {
    pub(super) fn read<R: Read + Seek>(
        file: &mut Decoder<R>,
        photometric: u16,
        little: bool,
    ) -> Outcome<Self> {
        let same = |values: &[u16], default: u16| match values {
            [] => Ok(default),
            [first, rest @ ..] if rest.iter().all(|other| other == first) => Ok(*first),
            _ => Err("samples of different kinds are not read".to_owned()),
        };
        let depth = same(&list(file, Tag::BitsPerSample)?, 1)?;
        let format = same(&list(file, Tag::SampleFormat)?, UNSIGNED)?;
        let samples = usize::from(one(file, Tag::SamplesPerPixel, 1)?);
        if samples == 0 || !matches!(depth, 1 | 2 | 4 | 8 | 16 | 32) {
            return Err(format!("{samples} samples of {depth} bits are not read"));
        }
        Ok(Self {
            photometric,
            samples,
            depth,
            format,
            extra: list(file, Tag::ExtraSamples)?,
            little,
        })
    }
}

pub(super) fn one<R: Read + Seek>(file: &mut Decoder<R>, tag: Tag, default: u16) -> Outcome<u16> {
    Ok(file
        .find_tag_unsigned::<u16>(tag)
        .map_err(|e| e.to_string())?
        .unwrap_or(default))
}

pub(super) fn list<R: Read + Seek>(file: &mut Decoder<R>, tag: Tag) -> Outcome<Vec<u16>> {
    Ok(file
        .find_tag_unsigned_vec::<u16>(tag)
        .map_err(|e| e.to_string())?
        .unwrap_or_default())
}
