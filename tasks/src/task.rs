//! A task as its row in a registry file describes it.

use serde::{Deserialize, Serialize};

use crate::{Demands, Method, Metric, Source, Submission, own::Open};

/// Tasks that are run together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Suite {
    /// The paper's 35 tasks.
    Paper,
    /// Zero-shot classification on the paper's vision sets; its checkpoint was picked by
    /// `ImageNet`'s.
    ZeroShot,
    /// The paper's tasks on other splits than the one that stands for it.
    Variants,
    /// Drawn from emoji: needs no data and no network.
    Mini,
    /// A user's own.
    Own,
}

impl Suite {
    /// As it is written in files and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Paper => "paper",
            Self::ZeroShot => "zero-shot",
            Self::Variants => "variants",
            Self::Mini => "mini",
            Self::Own => "own",
        }
    }
}

/// Which part of the model a task measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// Images.
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
    /// What the classes are called, in the order of the labels; data that calls them so in another
    /// order is put in this one, and data that calls them otherwise is refused. Without, the first
    /// split that names its classes gives the order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub class_names: Vec<String>,
    /// The first is the main one.
    pub metrics: Vec<Metric>,
    /// What the main metric gives without looking: the share of the largest class where it is
    /// known, else of one class.
    pub chance: f64,
    /// Of the data.
    pub licence: String,
    /// Whom to cite.
    pub citation: String,
    /// What a reader of the number must know.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// How it is run.
    pub method: Method,
    /// Another task whose sources and demands are this one's too; its training rows are left out.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub same_data_as: String,
    /// What the protocols ask of the data.
    #[serde(default, skip_serializing_if = "Demands::is_empty")]
    pub protocol: Demands,
    /// Files of answers for a test server.
    #[serde(rename = "submission", default, skip_serializing_if = "Vec::is_empty")]
    pub submissions: Vec<Submission>,
    /// Where the rows come from, best first.
    #[serde(rename = "source", default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<Source>,
    /// What of it the data must tell; nothing of a whole row.
    #[serde(skip)]
    pub open: Open,
    /// What was done where its row left something open, for readers of its numbers.
    #[serde(skip)]
    pub found: Vec<String>,
}
