//! The states of the model that a task reads, by name.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Which of the three encoders.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Tower {
    /// Of images.
    Image,
    /// Of texts.
    Text,
    /// Over both.
    Multimodal,
}

impl Tower {
    /// As it is written in files and records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Text => "text",
            Self::Multimodal => "multimodal",
        }
    }
}

/// What is read of an encoder's output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Tap {
    /// The CLS state after the final norm, neither pooled nor projected.
    Cls,
    /// The mean of the other states after the final norm: of all patches, or of all tokens that are
    /// no padding.
    Mean,
    /// What transformers calls `pooler_output`: a dense layer and tanh over the CLS state.
    Pooler,
    /// The embedding: the CLS state projected and of unit length. Images and texts alone have
    /// one.
    Embedding,
    /// The CLS state after block N (from 1), before the final norm.
    Layer(u8),
}

/// The states that a probe or a head reads, such as `image_cls`, `text_mean` or
/// `multimodal_layer4`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Feature {
    /// Whose.
    pub tower: Tower,
    /// What of it.
    pub tap: Tap,
}

impl Feature {
    /// CLS of the image encoder: what the paper probes.
    pub const IMAGE_CLS: Self = Self {
        tower: Tower::Image,
        tap: Tap::Cls,
    };
    /// The image embedding.
    pub const IMAGE_EMBEDDING: Self = Self {
        tower: Tower::Image,
        tap: Tap::Embedding,
    };
    /// CLS of the multimodal encoder.
    pub const MULTIMODAL_CLS: Self = Self {
        tower: Tower::Multimodal,
        tap: Tap::Cls,
    };
    /// CLS of the text encoder.
    pub const TEXT_CLS: Self = Self {
        tower: Tower::Text,
        tap: Tap::Cls,
    };
    /// The text embedding.
    pub const TEXT_EMBEDDING: Self = Self {
        tower: Tower::Text,
        tap: Tap::Embedding,
    };

    /// As it is written in files and records.
    pub fn name(self) -> String {
        format!("{}_{}", self.tower.name(), self.tap.name())
    }
}

impl FromStr for Feature {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let unknown = || {
            format!(
                "{text:?} is no feature: image, text or multimodal, then _cls, _mean, _pooler, _layerN or (not multimodal) _embedding"
            )
        };
        let (tower, tap) = text.split_once('_').ok_or_else(unknown)?;
        let tower = match tower {
            "image" => Tower::Image,
            "text" => Tower::Text,
            "multimodal" => Tower::Multimodal,
            _ => return Err(unknown()),
        };
        let tap = Tap::of(tap).ok_or_else(unknown)?;
        if (tower, tap) == (Tower::Multimodal, Tap::Embedding) {
            return Err(unknown());
        }
        Ok(Self { tower, tap })
    }
}

impl Tap {
    /// Its name, such as `cls`.
    pub fn name(self) -> String {
        match self {
            Self::Cls => "cls".into(),
            Self::Mean => "mean".into(),
            Self::Pooler => "pooler".into(),
            Self::Embedding => "embedding".into(),
            Self::Layer(n) => format!("layer{n}"),
        }
    }

    /// The one of this name.
    fn of(name: &str) -> Option<Self> {
        match name {
            "cls" => Some(Self::Cls),
            "mean" => Some(Self::Mean),
            "pooler" => Some(Self::Pooler),
            "embedding" => Some(Self::Embedding),
            _ => {
                let block = name.strip_prefix("layer")?.parse().ok()?;
                (block > 0).then_some(Self::Layer(block))
            }
        }
    }
}

impl TryFrom<String> for Feature {
    type Error = String;

    fn try_from(text: String) -> std::result::Result<Self, String> {
        text.parse()
    }
}

impl From<Feature> for String {
    fn from(feature: Feature) -> Self {
        feature.name()
    }
}
