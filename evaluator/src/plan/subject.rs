//! What a plan measures.

use super::{ModelChoice, Settings};
use crate::{Loaded, Plan, Result, given::GivenFolder};

/// What is measured.
#[derive(Clone, Debug, PartialEq)]
pub enum Subject {
    /// A FLAVA checkpoint.
    Model(ModelChoice),
    /// Features that another program computed, of whatever model.
    Given(GivenFolder),
}

/// A subject that was opened.
pub(crate) enum OpenSubject {
    Model(Box<Loaded>),
    Given(GivenFolder),
}

impl Subject {
    /// As it is written in records.
    pub fn name(&self) -> String {
        match self {
            Self::Model(choice) => choice.name(),
            Self::Given(folder) => folder.source().name.clone(),
        }
    }

    /// As messages name it.
    pub(crate) fn title(&self) -> String {
        let name = self.name();
        match self {
            Self::Model(_) => format!("model {name}"),
            Self::Given(_) => format!("given features of {name}"),
        }
    }

    /// The precision that it is computed in; of given features the files say it.
    pub(crate) fn precision(&self, settings: &Settings) -> Option<&'static str> {
        match self {
            Self::Model(_) => Some(settings.load.precision.name()),
            Self::Given(_) => None,
        }
    }

    /// Opens it; where encoders are only trained, they are not loaded here.
    pub(crate) fn open(&self, plan: &Plan, only_trains: bool) -> Result<OpenSubject> {
        let (settings, locator) = (&plan.settings, &plan.locator);
        let loaded = match self {
            Self::Model(choice) if only_trains => choice.describe(settings, locator)?,
            Self::Model(choice) => choice.load(settings, locator)?,
            Self::Given(folder) => return Ok(OpenSubject::Given(folder.clone())),
        };
        Ok(OpenSubject::Model(Box::new(loaded)))
    }

    /// The folder of given features, if that is what is measured.
    pub(crate) fn given(&self) -> Option<&GivenFolder> {
        match self {
            Self::Model(_) => None,
            Self::Given(folder) => Some(folder),
        }
    }
}

impl OpenSubject {
    /// What a reader of its numbers should know.
    pub(crate) fn notes(&self) -> &[String] {
        match self {
            Self::Model(loaded) => &loaded.model.notes,
            Self::Given(_) => &[],
        }
    }
}
