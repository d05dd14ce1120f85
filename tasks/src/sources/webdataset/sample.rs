//! A sample of a shard: where its image lies, and what goes with it.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{
    super::dataset::{Label, checked_label},
    side::{SampleKind, Side},
};
use crate::{Error, Result};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Sample {
    pub(super) key: String,
    pub(super) offset: u64,
    pub(super) size: u64,
    pub(super) sides: Vec<Side>,
}

impl Sample {
    pub(super) fn captions(&self) -> &[String] {
        let captions = self.sides.iter().find_map(|side| match side {
            Side::Captions(captions) => Some(captions.as_slice()),
            _ => None,
        });
        captions.unwrap_or_default()
    }

    pub(super) fn label(&self) -> Label {
        let label = |side: &Side| match side {
            Side::Class(label) => Some(Label::Class(*label as usize)),
            Side::Classes(labels) => {
                let labels = labels.iter().map(|label| *label as usize);
                Some(Label::Classes(labels.collect()))
            }
            Side::Captions(_) => None,
        };
        self.sides.iter().find_map(label).unwrap_or(Label::None)
    }

    /// The class as it is written, if there is one.
    fn class(&self) -> Option<i64> {
        self.sides.iter().find_map(|side| match side {
            Side::Class(label) => Some(*label),
            _ => None,
        })
    }

    /// What its kind wants is there: a label that is one of the classes, or captions.
    pub(super) fn check(&self, path: &Path, kind: SampleKind) -> Result<()> {
        let key = &self.key;
        let wrong = match (kind, self.class(), self.label()) {
            (SampleKind::Labels(classes), Some(label), _) => {
                checked_label(path, &format!("{key}.cls"), label, classes)?;
                None
            }
            (SampleKind::Labels(classes), None, Label::Classes(labels)) => labels
                .iter()
                .find(|label| **label >= classes)
                .map(|label| format!("label {label} is none of the {classes} classes")),
            (SampleKind::Labels(_), ..) => {
                Some("there are captions where a label should be".into())
            }
            (SampleKind::Captions, ..) if self.captions().is_empty() => {
                Some("there are no captions".into())
            }
            (SampleKind::Captions | SampleKind::Anything, ..) => None,
        };
        wrong.map_or(Ok(()), |reason| {
            Err(Error::data(path, format!("sample {key}: {reason}")))
        })
    }
}
