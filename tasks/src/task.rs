//! A task as its row in a registry file describes it.

use serde::{Deserialize, Serialize};

use crate::Metric;

/// Tasks that are run together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Suite {
    /// The paper's 35 tasks.
    Paper,
    /// Drawn from emoji: needs no data and no network.
    Mini,
    /// A user's own.
    Own,
}

/// Which part of the model a task measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// Pictures.
    Vision,
    /// Texts.
    Text,
    /// Both.
    Multimodal,
}

impl Family {
    /// As it is written in files and tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Vision => "vision",
            Self::Text => "text",
            Self::Multimodal => "multimodal",
        }
    }
}

/// The frozen states that a probe reads: CLS after the final norm, neither pooled nor projected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Feature {
    /// Of the image encoder.
    ImageCls,
    /// Of the text encoder.
    TextCls,
    /// Of the multimodal encoder over picture and text.
    MultimodalCls,
}

impl Feature {
    /// As it is written in files and records.
    pub fn name(self) -> &'static str {
        match self {
            Self::ImageCls => "image_cls",
            Self::TextCls => "text_cls",
            Self::MultimodalCls => "multimodal_cls",
        }
    }
}

/// How a task is run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Protocol {
    /// Logistic regression on frozen features; the penalty is chosen on a held-out part of the training split.
    LinearProbe {
        /// What it reads.
        feature: Feature,
    },
    /// The class whose prompts are nearest to the picture.
    ZeroShot {
        /// One prompt each, `{c}` standing for the class name.
        templates: Vec<String>,
        /// Class names in the order of the labels.
        class_names: Vec<String>,
    },
    /// Pictures find their captions among all, and captions their pictures.
    Retrieval {},
}

impl Protocol {
    /// As it is written in records.
    pub fn name(&self) -> &'static str {
        match self {
            Self::LinearProbe { .. } => "linear_probe",
            Self::ZeroShot { .. } => "zero_shot",
            Self::Retrieval {} => "retrieval",
        }
    }
}

/// Files of a split and how many rows they should have.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Split {
    /// Its name in the source, such as "validation".
    pub name: String,
    /// A pattern of files with one `*`, or the folder of shards of a webdataset; relative to the repository.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub files: String,
    /// Rows that the complete split has.
    pub rows: usize,
}

/// In which form a repository holds its rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "format", rename_all = "snake_case", deny_unknown_fields)]
pub enum SourceFormat {
    /// Hugging Face parquet: an image column (a struct with `bytes`) and an integer label.
    Parquet {
        /// Column of the pictures.
        image: String,
        /// Column of the labels.
        label: String,
    },
    /// Tar shards in the layout of clip-benchmark: `<split>/<i>.tar`, members `KEY.webp|png|jpg` and `KEY.cls`.
    Webdataset,
    /// Drawn by this program.
    Mini {
        /// What is drawn.
        world: crate::sources::MiniWorld,
    },
}

/// Where a task's rows come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Source {
    /// `owner/name` on the Hugging Face Hub, and the folder under `--data`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub repo: String,
    /// Git revision that the numbers belong to; empty where none is pinned yet.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub revision: String,
    /// Form of the rows.
    #[serde(flatten)]
    pub format: SourceFormat,
    /// Rows to fit on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train: Option<Split>,
    /// Rows to score on.
    pub test: Split,
}

/// One row of the registry: one number, or one family of numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Task {
    /// Lower case with hyphens.
    pub name: String,
    /// What people type instead.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// Raised when the number's meaning changes.
    pub version: u32,
    /// Which suite it belongs to.
    pub suite: Suite,
    /// Which part of the model it measures.
    pub family: Family,
    /// What is asked, in a sentence.
    pub summary: String,
    /// Number of classes; zero where there are none.
    #[serde(default)]
    pub classes: usize,
    /// The first is the main one.
    pub metrics: Vec<Metric>,
    /// What the main metric gives without looking: the share of the largest class, or of a random order.
    pub chance: f64,
    /// Of the data.
    pub licence: String,
    /// Whom to cite.
    pub citation: String,
    /// How it is run.
    pub protocol: Protocol,
    /// Where the rows come from; the first that is there is used.
    #[serde(rename = "source")]
    pub sources: Vec<Source>,
}

impl Task {
    /// What contradicts itself in this row, if anything.
    pub fn problem(&self) -> Option<String> {
        let spelt = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if self.name.is_empty() || !self.name.chars().all(spelt) {
            return Some(format!("name {:?} is not of lower-case letters, digits and hyphens", self.name));
        }
        if self.metrics.is_empty() || self.sources.is_empty() {
            return Some("metrics or source is empty".into());
        }
        if !(0.0..=1.0).contains(&self.chance) {
            return Some(format!("chance {} is no share", self.chance));
        }
        match &self.protocol {
            Protocol::LinearProbe { .. } if self.classes < 2 => Some("a linear probe needs at least two classes".into()),
            Protocol::LinearProbe { .. } if self.sources.iter().any(|s| s.train.is_none()) => {
                Some("a linear probe needs a train split".into())
            }
            Protocol::ZeroShot { class_names, .. } if class_names.len() != self.classes => {
                Some(format!("{} class_names for {} classes", class_names.len(), self.classes))
            }
            Protocol::ZeroShot { templates, .. } if templates.is_empty() || templates.iter().any(|t| !t.contains("{c}")) => {
                Some("every template needs {c}, and there must be one".into())
            }
            _ => self.sources.iter().find_map(|source| {
                let outside = |path: &str| path.starts_with('/') || path.split('/').any(|part| part == "..");
                let splits = source.train.iter().chain([&source.test]);
                let mut paths = splits.map(|s| s.files.as_str()).chain([source.repo.as_str()]);
                paths.find(|path| outside(path)).map(|path| format!("{path:?} leads out of the data folder"))
            }),
        }
    }
}
