//! Where results go.

use std::path::{Path, PathBuf};

use flava_results::model_file_name;
use sha2::{Digest, Sha256};

use super::{ModelChoice, OpenSubject, Subject};
use crate::Loaded;

/// The folder that the runs of all models are in.
pub(crate) const RUNS: &str = "runs";
/// Names of folders that say nothing of the model in them.
const GENERIC: [&str; 4] = ["model", "best", "last", "checkpoint"];

/// Where results go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Out {
    /// To this folder.
    Folder(PathBuf),
    /// To one of the model's own in this folder: its name and the beginning of its fingerprint.
    OfModel(PathBuf),
}

impl Out {
    /// The folder that was asked for, else one for each model.
    pub(crate) fn new(asked: Option<&PathBuf>) -> Self {
        match asked {
            Some(folder) => Self::Folder(folder.clone()),
            None => Self::OfModel(RUNS.into()),
        }
    }

    /// The folder, now that the model is known.
    pub(crate) fn of(&self, subject: &OpenSubject, chosen: &Subject) -> PathBuf {
        match self {
            Self::Folder(folder) => folder.clone(),
            Self::OfModel(root) => root.join(name_of(subject, chosen)),
        }
    }

    /// As it is told before the model is known.
    pub(crate) fn told(&self) -> String {
        match self {
            Self::Folder(folder) => folder.display().to_string(),
            Self::OfModel(root) => format!("{}/MODEL-FINGERPRINT", root.display()),
        }
    }
}

fn name_of(subject: &OpenSubject, chosen: &Subject) -> String {
    let (name, fingerprint) = match (subject, chosen) {
        (OpenSubject::Model(loaded), Subject::Model(choice)) => {
            let Loaded { model, .. } = &**loaded;
            (model_name(choice), model.fingerprint.clone())
        }
        (OpenSubject::Given(folder), _) => {
            let source = folder.source();
            let whole = format!("{}\n{}", source.name, source.revision);
            let digest = flava_base::hex(&Sha256::digest(whole));
            (source.name.clone(), digest)
        }
        (OpenSubject::Model(loaded), Subject::Given(_)) => {
            ("model".into(), loaded.model.fingerprint.clone())
        }
    };
    model_file_name(&name, &fingerprint)
}

/// What a model's folder is called: a repository by its name, a folder by the last part of its path
/// that says something.
fn model_name(choice: &ModelChoice) -> String {
    let ModelChoice::Directory(path) = choice else {
        return choice.name();
    };
    let whole = path.canonicalize().unwrap_or_else(|_| path.clone());
    let named = |path: &Path| {
        let name = path.file_name()?.to_str()?.to_owned();
        (!GENERIC.contains(&name.as_str())).then_some(name)
    };
    let name = whole.ancestors().take(2).find_map(named);
    name.unwrap_or_else(|| "model".into())
}
