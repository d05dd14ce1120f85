//! Which source of a task is used: the first, in the registry's order, that is there and has the
//! rows that are asked for.

use std::{
    borrow::Cow,
    path::{Path, PathBuf},
};

use super::{
    class_names::PROMPT_FILES,
    patterns::{fits, matching},
    webdataset,
};
use crate::{Assignment, Error, Result, Source, SourceFormat, Split, Task};

/// Where a source's files are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// Their folder.
    pub root: PathBuf,
    /// The commit they belong to; empty where nobody knows.
    pub revision: String,
}

/// Knows where sources are.
pub trait Locate {
    /// The folder of a source, if there is one; its files may be incomplete.
    fn locate(&self, source: &Source) -> Option<Located>;

    /// Another form in which a source's rows are there, such as the Hub's converted branch of its
    /// repository; of what the source's own row names nothing is there then.
    fn instead(&self, _source: &Source) -> Option<(Source, Located)> {
        None
    }

    /// Where was looked, for messages.
    fn searched(&self) -> String;
}

/// A source that was found.
#[derive(Clone, Debug)]
pub struct Choice<'a> {
    /// Which.
    pub source: Cow<'a, Source>,
    /// Where.
    pub located: Located,
    /// Why it does not deserve the protocol's name, if it does not.
    pub shortfall: Option<String>,
}

impl Task {
    /// The best source that is there for `assignment`.
    ///
    /// # Errors
    /// [`Error::Missing`] if no source is there that has the rows asked for; the message names what
    /// is there, and why it will not do.
    pub fn find_source(
        &self,
        assignment: &Assignment,
        locator: &dyn Locate,
        allow_mismatch: bool,
    ) -> Result<Choice<'_>> {
        let mut refused = Vec::new();
        let mut fallback: Option<Choice> = None;
        for source in &self.sources {
            let shortfall = assignment.shortfall(source);
            let own = locator.locate(source);
            let absent = own.as_ref().and_then(|own| source.absent(&own.root));
            let found = match own.filter(|_| absent.is_none()) {
                Some(located) => Some((Cow::Borrowed(source), located)),
                None => locator
                    .instead(source)
                    .map(|(other, located)| (Cow::Owned(other), located)),
            };
            let Some((source, located)) = found else {
                refused.extend(absent);
                continue;
            };
            let source = match with_images(source, locator) {
                Ok(source) => source,
                Err(absent) => {
                    refused.push(absent);
                    continue;
                }
            };
            refused.extend(shortfall.clone());
            let choice = Choice {
                source,
                located,
                shortfall,
            };
            if choice.shortfall.is_none() {
                return Ok(choice);
            }
            fallback.get_or_insert(choice);
        }
        match fallback {
            Some(choice) if allow_mismatch => Ok(choice),
            Some(_) => Err(self.mismatch(refused)),
            None => Err(self.missing(&refused, locator)),
        }
    }

    fn mismatch(&self, reasons: Vec<String>) -> Error {
        Error::Mismatch {
            task: self.name.clone(),
            reasons,
        }
    }

    /// No source is there in full; why those that were found will not do.
    fn missing(&self, refused: &[String], locator: &dyn Locate) -> Error {
        let names: Vec<&str> = self.sources.iter().map(Source::name).collect();
        let mut reason = format!("none of {} is in {}", names.join(", "), locator.searched());
        if !refused.is_empty() {
            reason = format!("{reason}, or not in full: {}", refused.join("; "));
        }
        Error::Missing {
            task: self.name.clone(),
            reason,
        }
    }

    /// The sources on the Hub that have the rows asked for, or all of them; without one, why the
    /// others will not do.
    pub fn hub_sources(
        &self,
        assignment: &Assignment,
        allow_mismatch: bool,
    ) -> Result<Vec<&Source>> {
        let sources = self.sources.iter();
        let all: Vec<&Source> = sources.filter(|source| !source.repo.is_empty()).collect();
        let (fitting, short): (Vec<&Source>, Vec<&Source>) = all
            .iter()
            .copied()
            .partition(|source| assignment.shortfall(source).is_none());
        if all.is_empty() {
            let reason = "no repository of the Hub is known to have it; `flava-eval tasks show` names the folder it is read from";
            return Err(Error::Missing {
                task: self.name.clone(),
                reason: reason.into(),
            });
        }
        match (fitting.is_empty(), allow_mismatch) {
            (false, _) => Ok(fitting),
            (true, true) => Ok(all),
            (true, false) => {
                let shortfalls = short
                    .iter()
                    .filter_map(|source| assignment.shortfall(source));
                Err(self.mismatch(shortfalls.collect()))
            }
        }
    }
}

/// A source with the places of images that are elsewhere; or which of them is not there.
///
/// # Errors
/// The latter.
pub fn with_images<'a>(
    source: Cow<'a, Source>,
    locator: &dyn Locate,
) -> std::result::Result<Cow<'a, Source>, String> {
    if source.images_from.is_empty() {
        return Ok(source);
    }
    let mut source = source.into_owned();
    let (name, base) = (source.name().to_owned(), source.base.clone());
    for from in &mut source.images_from {
        let place = from.as_source(&base);
        let lacking =
            |reason: &str| format!("the images of {name} are in {}: {reason}", from.name());
        let located = locator.locate(&place);
        let located = located.ok_or_else(|| lacking("which is not there"))?;
        if let Some(absent) = place.absent(&located.root) {
            return Err(lacking(&absent));
        }
        (from.root, from.found) = (located.root, located.revision);
    }
    Ok(Cow::Owned(source))
}

impl Source {
    /// What of it is not there under `root`, if anything is known to be missing.
    pub fn absent(&self, root: &Path) -> Option<String> {
        self.splits().find_map(|split| {
            self.absent_files(root, split)
                .map(|reason| format!("{}: {reason}", self.name()))
        })
    }

    fn absent_files(&self, root: &Path, split: &Split) -> Option<String> {
        // A split without a name is one that is to be found.
        if split.name.is_empty() && split.files.is_empty() {
            return None;
        }
        let path = root.join(split.fill(&split.files));
        match &self.format {
            SourceFormat::Mini { .. } => None,
            SourceFormat::Parquet { .. } | SourceFormat::Table { .. } => {
                matching(root, &split.files).err().map(|e| e.to_string())
            }
            SourceFormat::Webdataset { .. } => webdataset::missing_shard(&path)
                .map(|shard| format!("has no {}/{shard}", split.files)),
            _ if split.files.is_empty() => None,
            SourceFormat::Auto { .. } if split.files.contains('*') => {
                matching(root, &split.files).err().map(|e| e.to_string())
            }
            _ => (!super::is_there(&path)).then(|| format!("has no {}", split.files)),
        }
    }

    /// The pattern of a split that no file of a repository fits, if there is one.
    pub fn unmatched<'a>(
        &self,
        paths: impl IntoIterator<Item = &'a str> + Clone,
    ) -> Option<String> {
        let pattern = |split: &Split| match self.format {
            SourceFormat::Webdataset { .. } => format!("{}/*.tar", split.files),
            _ => split.fill(&split.files),
        };
        let found = |pattern: &String| paths.clone().into_iter().any(|path| fits(pattern, path));
        self.splits()
            .map(pattern)
            .find(|pattern| !pattern.is_empty() && !found(pattern))
    }

    /// Of the files of a repository, those that its splits need.
    pub fn wanted<'a>(&self, paths: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
        paths.into_iter().filter(|path| self.needs(path)).collect()
    }

    fn needs(&self, path: &str) -> bool {
        /// Class names, terms and credit.
        const ALWAYS: [&str; 3] = ["README.md", "LICENSE*", "dataset_type.txt"];
        let mut always = ALWAYS.iter().chain(&PROMPT_FILES);
        always.any(|pattern| fits(pattern, path))
            || self.extra.iter().any(|pattern| fits(pattern, path))
            || self.splits().any(|split| self.split_needs(split, path))
    }

    fn split_needs(&self, split: &Split, path: &str) -> bool {
        let SourceFormat::Webdataset { .. } = &self.format else {
            return fits(&split.fill(&split.files), path);
        };
        let inside = path
            .strip_prefix(split.files.as_str())
            .and_then(|rest| rest.strip_prefix('/'));
        inside.is_some_and(|name| name == "nshards.txt" || fits("*.tar", name))
    }
}
