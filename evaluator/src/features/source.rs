//! Where features come from: a model's encoders, or files that somebody else computed.

use flava_model::processor::Text;
use flava_tasks::{Feature, sources::Prompts};
use tch::Tensor;

use super::{Extractor, Features, Rows, mean_of_templates};
use crate::{Error, Loaded, Result, given::GivenTask};

/// A model, and how features are read of it.
pub(crate) struct Encoders<'a> {
    pub(crate) loaded: &'a Loaded,
    pub(crate) extractor: Extractor<'a>,
}

/// What a task's features are read of.
pub(crate) enum FeatureSource<'a> {
    /// A model.
    Encoders(&'a Encoders<'a>),
    /// Files.
    Given(GivenTask<'a>),
}

impl<'a> FeatureSource<'a> {
    /// The model, for what needs more of it than features.
    ///
    /// # Errors
    /// Where there is none.
    pub(crate) fn encoders(&self) -> Result<&'a Encoders<'a>> {
        match self {
            Self::Encoders(encoders) => Ok(encoders),
            Self::Given(_) => Err(Error::Internal("given features stand for no model")),
        }
    }

    /// A feature of each row; given ones are what they are.
    pub(crate) fn features(&self, rows: &Rows, feature: Feature) -> Result<Features> {
        match self {
            Self::Encoders(encoders) => encoders.extractor.features(rows, feature),
            Self::Given(given) => given.features(rows),
        }
    }

    /// The embeddings of the rows' images, of unit length.
    pub(crate) fn image_embeddings(&self, rows: &Rows) -> Result<Features> {
        match self {
            Self::Encoders(encoders) => encoders.extractor.features(rows, Feature::IMAGE_EMBEDDING),
            Self::Given(given) => given.image_embeddings(rows),
        }
    }

    /// The embeddings of the rows' captions, which stand row by row, of unit length: \[captions,
    /// projection\].
    pub(crate) fn caption_embeddings(&self, rows: &Rows, captions: &[&str]) -> Result<Tensor> {
        match self {
            Self::Encoders(encoders) => {
                let texts = captions.iter().map(|caption| Text::Single(caption));
                let texts: Vec<Text> = texts.collect();
                encoders.extractor.text_embeddings(&texts, "captions")
            }
            Self::Given(given) => given.caption_embeddings(rows),
        }
    }

    /// The mean of each class's prompt embeddings, brought to unit length again: \[classes,
    /// projection\].
    pub(crate) fn class_embeddings(&self, prompts: Option<&Prompts>) -> Result<Tensor> {
        let none = || Error::Lacking {
            what: "prompts",
            reason: "there are no class names and templates".into(),
        };
        match self {
            Self::Encoders(encoders) => {
                let prompts = prompts.ok_or_else(none)?;
                embed_classes(prompts, &encoders.extractor)
            }
            Self::Given(given) => given.class_embeddings(),
        }
    }
}

fn embed_classes(prompts: &Prompts, extractor: &Extractor) -> Result<Tensor> {
    let templates = &prompts.templates;
    let of_class = |name: &String| templates.iter().map(|t| t.replace("{c}", name)).collect();
    let texts: Vec<Vec<String>> = prompts.class_names.iter().map(of_class).collect();
    let texts: Vec<Text> = texts
        .iter()
        .flatten()
        .map(|text| Text::Single(text))
        .collect();
    let embeddings = extractor.text_embeddings(&texts, "prompts")?; // [classes * templates, projection]
    let count = prompts.class_names.len() as i64;
    let (_, width) = embeddings.size2()?;
    mean_of_templates(&embeddings.f_view([count, templates.len() as i64, width])?)
}
