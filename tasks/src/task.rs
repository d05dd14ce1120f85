//! A task as its row in a registry file describes it.

use serde::{Deserialize, Serialize};

use crate::{Feature, Method, Metric, Source, SourceFormat, Submission};

/// A name is that of files too, with what stands behind it.
const LONGEST_NAME: usize = 64;
/// What `--tasks` takes for more than one task.
const RESERVED: [&str; 1] = ["all"];

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
}

/// A task under a protocol: what is run and what is asked of the data.
#[derive(Clone, Debug, PartialEq)]
pub struct Assignment {
    /// Whose rules; what records say.
    pub protocol: Protocol,
    /// What the data must have; None where the source's own rows are taken.
    pub demand: Option<Demand>,
    /// How it is run.
    pub method: Method,
    /// The main metric first.
    pub metrics: Vec<Metric>,
}

impl Assignment {
    /// Why a source cannot supply what is asked for, if it cannot.
    pub fn shortfall(&self, source: &Source) -> Option<String> {
        source.shortfall(self.demand.as_ref()?)
    }
}

impl Task {
    /// What is run under `protocol`; None if the protocol does not know the task.
    pub fn assign(&self, protocol: Protocol) -> Option<Assignment> {
        let demand = match protocol {
            Protocol::Flava if !self.protocol.is_empty() => Some(self.protocol.flava.clone()?),
            Protocol::Clip if !self.protocol.is_empty() => Some(self.protocol.clip.clone()?),
            _ => None,
        };
        if let Some(other) = demand
            .as_ref()
            .and_then(|d| d.runs)
            .filter(|other| *other != protocol)
        {
            return self.assign(other);
        }
        let mut assignment = Assignment {
            protocol,
            method: self.method.clone(),
            metrics: self.metrics.clone(),
            demand,
        };
        // The numbers that are published for these sources as they are (clip-benchmark's) are over
        // projected features.
        if protocol == Protocol::AsPublished
            && assignment.method.feature() == Some(Feature::IMAGE_CLS)
        {
            assignment.method.set_feature(Feature::IMAGE_EMBEDDING);
        }
        let Some(demand) = &assignment.demand else {
            return Some(assignment);
        };
        if let Some(feature) = demand.feature {
            assignment.method.set_feature(feature);
        }
        if let Some(main) = demand.metric {
            assignment.metrics.retain(|metric| *metric != main);
            assignment.metrics.insert(0, main);
        }
        Some(assignment)
    }

    /// What contradicts itself in this row, if anything.
    pub fn problem(&self) -> Option<String> {
        let spelt = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if let Some(name) = self
            .aliases
            .iter()
            .chain([&self.name])
            .find(|name| !(1..=LONGEST_NAME).contains(&name.len()))
        {
            return Some(format!(
                "a name has 1 to {LONGEST_NAME} letters, not {}",
                name.len()
            ));
        }
        if let Some(name) = self
            .aliases
            .iter()
            .chain([&self.name])
            .find(|name| !name.chars().all(spelt))
        {
            return Some(format!(
                "name {name:?} is not of lower-case letters, digits and hyphens"
            ));
        }
        if let Some(name) = self
            .aliases
            .iter()
            .chain([&self.name])
            .find(|name| RESERVED.contains(&name.as_str()))
        {
            return Some(format!("the name {name} stands for several tasks"));
        }
        if ["plan", "status"].contains(&self.name.as_str()) {
            return Some(format!(
                "the name {} is that of a file of every run",
                self.name
            ));
        }
        if self.metrics.is_empty() || self.sources.is_empty() {
            return Some("metrics or source is empty".into());
        }
        if let Some(metric) = self
            .metrics
            .iter()
            .find(|metric| !metric.fits(&self.method))
        {
            return Some(format!(
                "{} is no metric of {}",
                metric.name(),
                self.method.name()
            ));
        }
        if !self.class_names.is_empty() && self.class_names.len() != self.classes {
            return Some(format!(
                "{} class_names for {} classes",
                self.class_names.len(),
                self.classes
            ));
        }
        if !(0.0..=1.0).contains(&self.chance) {
            return Some(format!("chance {} is no share", self.chance));
        }
        let named = |source: &Source| match &source.format {
            SourceFormat::Parquet { columns } if !columns.label_names.is_empty() => {
                columns.label_names.len()
            }
            SourceFormat::SnliVe { .. } => 3,
            SourceFormat::HatefulMemes {} => 2,
            _ => self.classes,
        };
        if let Some(source) = self
            .sources
            .iter()
            .find(|source| named(source) != self.classes)
        {
            return Some(format!(
                "{} has {} classes, the task {}",
                source.name(),
                named(source),
                self.classes
            ));
        }
        let outside = |name: &String| name.contains(['/', '\\']) || name.starts_with('.');
        if let Some(submission) = self
            .submissions
            .iter()
            .find(|s| outside(&s.file) || s.split.files.split('/').any(|part| part == ".."))
        {
            return Some(format!(
                "submission {:?} leads out of its folder",
                submission.file
            ));
        }
        self.method_problem()
            .or_else(|| self.sources.iter().find_map(Source::problem))
    }

    fn method_problem(&self) -> Option<String> {
        let probes = matches!(
            self.method,
            Method::LinearProbe { .. } | Method::Knn { .. } | Method::FewShot { .. }
        );
        match &self.method {
            _ if probes && self.classes < 2 => {
                Some(format!("{} needs at least two classes", self.method.name()))
            }
            _ if self.method.trains() && self.sources.iter().any(|s| s.train.is_none()) => {
                Some(format!("{} needs a train split", self.method.name()))
            }
            Method::ZeroShot { class_names, .. }
                if !class_names.is_empty() && class_names.len() != self.classes =>
            {
                Some(format!(
                    "{} class_names for {} classes",
                    class_names.len(),
                    self.classes
                ))
            }
            Method::ZeroShot { templates, .. } if templates.iter().any(|t| !t.contains("{c}")) => {
                Some("every template needs {c}".into())
            }
            Method::ZeroShot {
                templates,
                class_names,
                ..
            } if templates.is_empty() != class_names.is_empty() => {
                Some("templates and class_names go together".into())
            }
            _ => None,
        }
    }
}
