//! Which model, and where it lies.

use std::path::{Path, PathBuf};

use flava_base::hex;
use flava_model::{
    LoadOptions, Pretrained,
    hub::{RepoId, RepoKind},
};
use sha2::{Digest, Sha256};

use super::Settings;
use crate::{
    Error, Result, embedded,
    finetune::{FinetunedModel, head_digest, is_lora},
    locator::DataLocator,
};

/// Which model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelChoice {
    /// The small one that is part of the program.
    Embedded,
    /// A Hugging Face directory.
    Directory(PathBuf),
    /// A repository of the Hub.
    Hub(RepoId),
}

/// A model that was loaded, and the commit that it came from.
pub struct Loaded {
    /// The model.
    pub model: Pretrained,
    /// Empty where nobody knows.
    pub revision: String,
    /// Its folder.
    pub folder: PathBuf,
}

/// [`Pretrained::open`] or [`Pretrained::describe`].
type ReadModel = fn(&Path, LoadOptions) -> flava_model::Result<Pretrained>;

impl ModelChoice {
    pub(crate) fn new(model: Option<&String>) -> Result<Self> {
        let Some(text) = model else {
            return Ok(Self::Embedded);
        };
        // A folder that is there wins over a repository of the same name.
        let folder = Path::new(text);
        if folder.exists() {
            // What flava-finetune writes holds its best checkpoint in a folder of its own.
            let best = folder.join("best");
            let is_model = |folder: &Path| folder.join("config.json").exists();
            let tuned = !is_model(folder) && (is_model(&best) || is_lora(&best));
            return Ok(Self::Directory(if tuned {
                best
            } else {
                folder.to_owned()
            }));
        }
        let repo = RepoId::parse(RepoKind::Model, text);
        repo.map(Self::Hub).map_err(|_| Error::Argument {
            argument: "--model",
            value: text.clone(),
            reason: "is no folder, and no owner/name on the Hub".into(),
        })
    }

    /// As it is written in records.
    pub fn name(&self) -> String {
        match self {
            Self::Embedded => "embedded".into(),
            Self::Directory(path) => path.display().to_string(),
            Self::Hub(repo) => repo.name.clone(),
        }
    }

    /// Loads it for inference.
    ///
    /// # Errors
    /// If it is not there or is damaged, or is a LoRA, whose weights are elsewhere.
    pub fn load(&self, settings: &Settings, locator: &DataLocator) -> Result<Loaded> {
        if let Self::Directory(folder) = self
            && is_lora(folder)
        {
            let name = self.name();
            return Err(Error::Lacking {
                what: "weights",
                reason: format!(
                    "{name} holds a LoRA alone: flava-finetune merge --model {name} --out DIR makes a whole model"
                ),
            });
        }
        self.read(Pretrained::open, settings, locator)
    }

    /// Reads all of it but the encoders, which training loads itself.
    pub fn describe(&self, settings: &Settings, locator: &DataLocator) -> Result<Loaded> {
        self.read(Pretrained::describe, settings, locator)
    }

    fn read(&self, read: ReadModel, settings: &Settings, locator: &DataLocator) -> Result<Loaded> {
        let (folder, revision) = match self {
            Self::Embedded => (embedded::folder()?, String::new()),
            Self::Directory(path) => (path.clone(), String::new()),
            Self::Hub(repo) => locator.model(repo)?,
        };
        let model = if is_lora(&folder) {
            described_lora(&folder, settings)?
        } else {
            read(&folder, settings.load)?
        };
        Ok(Loaded {
            model,
            revision,
            folder,
        })
    }
}

/// What the weights of a LoRA are described by, as those that it makes of them.
fn described_lora(folder: &Path, settings: &Settings) -> Result<Pretrained> {
    let saved = FinetunedModel::read_whole(folder)?;
    let none = Error::Internal("a LoRA has a base");
    let base = saved.lora.ok_or(none)?;
    let mut model = Pretrained::describe(&base.check(&base.folder)?, settings.load)?;
    let digest = format!("{} {}", model.fingerprint, head_digest(folder)?);
    model.fingerprint = hex(&Sha256::digest(digest)[..16]);
    Ok(model)
}
