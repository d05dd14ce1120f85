//! Whose rules a number follows, and what they ask of a task's data.

use serde::{Deserialize, Serialize};

use crate::{Feature, Metric};

/// Whose splits, metric, features and refit a number follows. Numbers of different protocols do not
/// compare.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// The paper's, as far as its text and the decimals of its numbers tell.
    #[default]
    Flava,
    /// CLIP's table of data sets.
    Clip,
    /// Whatever the source in use calls its splits.
    AsPublished,
}

impl Protocol {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Flava, Self::Clip, Self::AsPublished];

    /// As it is written in records and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Flava => "flava",
            Self::Clip => "clip",
            Self::AsPublished => "as-published",
        }
    }
}

/// What a protocol asks of a task's data, and what it does otherwise than the row says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Demand {
    /// Rows to fit on: training and validation split together.
    #[serde(default)]
    pub fit: usize,
    /// Rows to score on.
    pub test: usize,
    /// The main metric, where it is not the row's first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<Metric>,
    /// The states to read, where they are not the row's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub feature: Option<Feature>,
    /// The protocol that is run in this one's place, because its rows are not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runs: Option<Protocol>,
    /// What to know about it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

/// The demands of each protocol. Without any, all protocols take the rows that the sources list.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Demands {
    /// The paper's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flava: Option<Demand>,
    /// CLIP's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip: Option<Demand>,
}

impl Demands {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
