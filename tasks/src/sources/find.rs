//! Which source of a task is used: the first, in the registry's order, that is there and has the
//! rows that are asked for.

use std::path::{Path, PathBuf};

use super::PROMPT_FILES;
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

    /// Where was looked, for messages.
    fn places(&self) -> String;
}

/// A source that was found.
#[derive(Clone, Debug)]
pub struct Choice<'a> {
    /// Which.
    pub source: &'a Source,
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
        places: &dyn Locate,
        allow_mismatch: bool,
    ) -> Result<Choice<'_>> {
        let mut refused = Vec::new();
        let mut fallback = None;
        for source in &self.sources {
            let shortfall = assignment.shortfall(source);
            let Some(located) = places.locate(source) else {
                continue;
            };
            if let Some(absent) = source.absent(&located.root) {
                refused.push(absent);
                continue;
            }
            match shortfall {
                None => {
                    return Ok(Choice {
                        source,
                        located,
                        shortfall,
                    });
                }
                Some(reason) => {
                    refused.push(reason.clone());
                    fallback.get_or_insert(Choice {
                        source,
                        located,
                        shortfall: Some(reason),
                    });
                }
            }
        }
        match fallback {
            Some(choice) if allow_mismatch => Ok(choice),
            Some(_) => Err(Error::Mismatch {
                task: self.name.clone(),
                reasons: refused,
            }),
            None => {
                let names: Vec<&str> = self.sources.iter().map(Source::name).collect();
                let mut reason = format!("none of {} is in {}", names.join(", "), places.places());
                if !refused.is_empty() {
                    reason = format!("{reason}, or not in full: {}", refused.join("; "));
                }
                Err(Error::Missing {
                    task: self.name.clone(),
                    reason,
                })
            }
        }
    }

    /// The sources on the Hub that have the rows asked for, or all of them; without one, why the
    /// others will not do.
    pub fn hub_sources(
        &self,
        assignment: &Assignment,
        allow_mismatch: bool,
    ) -> Result<Vec<&Source>> {
        let all: Vec<&Source> = self
            .sources
            .iter()
            .filter(|source| !source.repo.is_empty())
            .collect();
        let fitting: Vec<&Source> = all
            .iter()
            .copied()
            .filter(|source| assignment.shortfall(source).is_none())
            .collect();
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
            (true, false) => Err(Error::Mismatch {
                task: self.name.clone(),
                reasons: all
                    .into_iter()
                    .filter_map(|source| assignment.shortfall(source))
                    .collect(),
            }),
        }
    }
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
        let path = root.join(split.fill(&split.files));
        match &self.format {
            SourceFormat::Mini { .. } => None,
            SourceFormat::Parquet { .. } => super::matching(root, &split.files)
                .err()
                .map(|e| e.to_string()),
            SourceFormat::Webdataset { .. } => super::webdataset::missing_shard(&path)
                .map(|shard| format!("has no {}/{shard}", split.files)),
            _ if split.files.is_empty() => None,
            _ => (!flava_base::is_there(&path)).then(|| format!("has no {}", split.files)),
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
        let found = |pattern: &String| {
            paths
                .clone()
                .into_iter()
                .any(|path| super::fits(pattern, path))
        };
        self.splits()
            .map(pattern)
            .find(|pattern| !pattern.is_empty() && !found(pattern))
    }

    /// Of the files of a repository, those that its splits need.
    pub fn wanted<'a>(&self, paths: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
        /// Class names, terms and credit.
        const ALWAYS: [&str; 3] = ["README.md", "LICENSE*", "dataset_type.txt"];
        let needed = |path: &str| {
            ALWAYS
                .iter()
                .chain(&PROMPT_FILES)
                .any(|pattern| super::fits(pattern, path))
                || self.extra.iter().any(|pattern| super::fits(pattern, path))
                || self.splits().any(|split| match &self.format {
                    SourceFormat::Webdataset { .. } => {
                        let inside = path
                            .strip_prefix(split.files.as_str())
                            .and_then(|rest| rest.strip_prefix('/'));
                        inside
                            .is_some_and(|name| name == "nshards.txt" || super::fits("*.tar", name))
                    }
                    _ => super::fits(&split.fill(&split.files), path),
                })
        };
        paths.into_iter().filter(|path| needed(path)).collect()
    }
}
