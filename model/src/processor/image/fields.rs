//! Values that files write in several forms.

use serde::{Deserialize, Serialize};

/// A (height, width) as files write it: an integer, a pair or an object.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "RawSize")]
pub(super) struct NamedSize {
    pub(super) height: usize,
    pub(super) width: usize,
}

#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "a size is an integer, a pair [height, width] or {\"height\": .., \"width\": ..}"
)]
pub(super) enum RawSize {
    Side(usize),
    Pair([usize; 2]),
    Named { height: usize, width: usize },
}

impl From<RawSize> for NamedSize {
    fn from(raw: RawSize) -> Self {
        match raw {
            RawSize::Side(side) => Self {
                height: side,
                width: side,
            },
            RawSize::Pair([height, width]) | RawSize::Named { height, width } => {
                Self { height, width }
            }
        }
    }
}

impl NamedSize {
    /// (height, width).
    pub(super) fn pair(self) -> (usize, usize) {
        (self.height, self.width)
    }
}

/// A number for each channel, or one for all of them.
pub(super) fn moments<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> std::result::Result<[f32; 3], D::Error> {
    #[derive(Deserialize)]
    #[serde(
        untagged,
        expecting = "a mean or deviation is a number, or a list of three"
    )]
    enum Moments {
        One(f32),
        Each([f32; 3]),
    }
    Ok(match Moments::deserialize(deserializer)? {
        Moments::One(all) => [all; 3],
        Moments::Each(each) => each,
    })
}
