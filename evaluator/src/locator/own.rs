//! Tasks of one's own before they are run: what their rows leave open is found out, of repositories
//! of the Hub too.

use std::{borrow::Cow, fs};

use flava_base::{path_text, walk};
use flava_model::{
    Error as ModelError,
    hub::{Destination, HubError, Listing, RepoId, RepoKind},
};
use flava_tasks::{
    SPLIT_NAMES, Source, SourceFormat, Split, Task,
    sources::{Locate, Located, Repository, converted_names, with_images},
};

use super::{DataLocator, source_jobs, sources::located};
use crate::{Error, Result};

/// The branch of a repository that the Hub keeps parquet of its data in.
const CONVERTED: &str = "refs/convert/parquet";
/// A repository's card.
const CARD: &str = "README.md";

/// A repository of the Hub, its files, and a source that names those of its splits.
type Converted = (RepoId, Listing, Source);

impl DataLocator {
    /// A task as it is run: what its row leaves open is filled in from the first of its sources
    /// that is there, fetched if it is nowhere and the network may be used.
    ///
    /// # Errors
    /// If no source is there, or one leaves a choice that the row must make.
    pub(crate) fn whole(&self, task: &Task) -> Result<Task> {
        if !task.open.any() {
            return Ok(task.clone());
        }
        for source in &task.sources {
            if source.repo.is_empty() || !matches!(source.format, SourceFormat::Auto { .. }) {
                let located = self.locate(source);
                let located = located.filter(|at| source.absent(&at.root).is_none());
                if let Some(located) = located {
                    let source = self.with_images(source)?;
                    return Ok(task.completed(&source, &located.root)?);
                }
            } else {
                let (source, located, note) = self.repository(source)?;
                let source = self.with_images(&source)?;
                let mut whole = task.completed(&source, &located.root)?;
                whole.found.insert(0, note);
                return Ok(whole);
            }
        }
        let absent = |source: &Source| {
            let located = self.locate(source);
            located.and_then(|located| source.absent(&located.root))
        };
        let reasons: Vec<String> = task.sources.iter().filter_map(absent).collect();
        let searched = match task.sources.first() {
            Some(source) if !source.base.as_os_str().is_empty() => {
                format!("{} or {}", source.base.display(), self.searched())
            }
            _ => self.searched(),
        };
        let names: Vec<&str> = task.sources.iter().map(Source::name).collect();
        let mut reason = format!("{} is not in {searched}", names.join(", "));
        if !reasons.is_empty() {
            reason = format!("{reason}: {}", reasons.join("; "));
        }
        Err(flava_tasks::Error::Missing {
            task: task.name.clone(),
            reason,
        }
        .into())
    }

    /// A source with the places of its images that are elsewhere, fetched if they are nowhere.
    fn with_images<'a>(&self, source: &'a Source) -> Result<Cow<'a, Source>> {
        if self.may_fetch() {
            self.fetch_images(source)?; // what is there is not fetched again
        }
        with_images(Cow::Borrowed(source), self).map_err(|reason| lacking_images(source, reason))
    }

    /// A source that names a repository alone: with its splits, where they lie, and what was chosen.
    fn repository(&self, source: &Source) -> Result<(Source, Located, String)> {
        if !self.may_fetch() {
            let local = self
                .locate(source)
                .ok_or_else(|| missing(source, &self.searched()))?;
            let files = walk(&local.root)?;
            let paths: Vec<String> = files.iter().map(|path| path_text(path)).collect();
            let card = fs::read_to_string(local.root.join(CARD)).ok();
            let chosen = chosen(source, &paths, card.as_deref());
            let (chosen, note) = chosen.map_err(|reason| lacking(source, &[reason]))?;
            return Ok((chosen, local, note));
        }
        let mut reasons = Vec::new();
        let mut revisions = vec![source.revision.as_str()];
        if source.revision.is_empty() {
            revisions.push(CONVERTED);
        }
        for revision in revisions {
            let repo = RepoId::new(RepoKind::Dataset, &source.repo, revision);
            let repo = repo.map_err(ModelError::from)?;
            let listing = match self.hub.list(&repo) {
                Ok(listing) => listing,
                Err(HubError::Revision { .. }) if revision == CONVERTED => continue,
                Err(error) => return Err(ModelError::from(error).into()),
            };
            let card = self.small_files(&repo.to_string(), &[CARD]).ok().flatten();
            let card = card.and_then(|at| fs::read_to_string(at.root.join(CARD)).ok());
            let paths: Vec<String> = listing.files.iter().map(|file| file.path.clone()).collect();
            match chosen(source, &paths, card.as_deref()) {
                Ok((chosen, note)) => {
                    let chosen = Source {
                        revision: revision.to_owned(),
                        ..chosen
                    };
                    self.fetch(&source_jobs(&listing, &chosen, &Destination::Cache))?;
                    let located = located(self.fetched(&repo, &listing)?);
                    return Ok((chosen, located, note));
                }
                Err(reason) => reasons.push(format!("{repo} {reason}")),
            }
        }
        Err(lacking(source, &reasons))
    }

    /// The Hub's converted parquet of a source, whose own files are not there: which repository at
    /// which revision has which files, or why it cannot stand in.
    pub(super) fn converted_files(
        &self,
        source: &Source,
    ) -> Result<std::result::Result<Converted, String>> {
        if !matches!(source.format, SourceFormat::Parquet { .. }) {
            let name = &source.repo;
            return Ok(Err(format!(
                "{name}@{CONVERTED} has no files of that format"
            )));
        }
        let repo = RepoId::new(RepoKind::Dataset, &source.repo, CONVERTED);
        let repo = repo.map_err(ModelError::from)?;
        let listing = match self.hub.list(&repo) {
            Ok(listing) => listing,
            Err(
                error @ (HubError::Missing { .. }
                | HubError::Private { .. }
                | HubError::Revision { .. }),
            ) => return Ok(Err(error.to_string())),
            Err(error) => return Err(ModelError::from(error).into()),
        };
        let paths: Vec<&str> = listing
            .files
            .iter()
            .map(|file| file.path.as_str())
            .collect();
        Ok(match converted(source, paths) {
            Ok(source) => Ok((repo, listing, source)),
            Err(reason) => Err(format!("{repo} {reason}")),
        })
    }

    /// The same of what was fetched before.
    pub(super) fn converted(&self, source: &Source) -> Option<(Source, Located)> {
        if !matches!(source.format, SourceFormat::Parquet { .. }) || source.repo.is_empty() {
            return None;
        }
        let repo = RepoId::new(RepoKind::Dataset, &source.repo, CONVERTED).ok()?;
        let snapshot = self.hub.snapshot(&repo)?;
        let files = walk(&snapshot.folder).ok()?;
        let paths: Vec<String> = files.iter().map(|path| path_text(path)).collect();
        let converted = converted(source, paths.iter().map(String::as_str).collect()).ok()?;
        let located = located(snapshot);
        converted
            .absent(&located.root)
            .is_none()
            .then_some((converted, located))
    }
}

fn lacking_images(source: &Source, reason: String) -> Error {
    let name = source.name();
    Error::Lacking {
        what: "images",
        reason: format!("{name}: {reason}"),
    }
}

fn missing(source: &Source, searched: &str) -> Error {
    let repo = &source.repo;
    Error::Lacking {
        what: "source",
        reason: format!("{repo} is not in {searched}"),
    }
}

fn lacking(source: &Source, reasons: &[String]) -> Error {
    let (repo, reasons) = (&source.repo, reasons.join("; "));
    Error::Lacking {
        what: "source",
        reason: format!("{repo}: {reasons}"),
    }
}

/// A source with the splits of a repository's files; those that it names, or those that are called
/// as usual. And what was chosen.
fn chosen(
    source: &Source,
    paths: &[String],
    card: Option<&str>,
) -> std::result::Result<(Source, String), String> {
    let repository = Repository {
        paths: paths.iter().map(String::as_str).collect(),
        card,
    };
    let (config, there) = repository.splits(&source.config)?;
    let mut chosen = source.clone();
    let names: Vec<&str> = there.iter().map(|split| split.name.as_str()).collect();
    let named = |name: &str| there.iter().find(|split| split.name == name).cloned();
    let mut fill = |split: &mut Split| -> std::result::Result<(), String> {
        // A split is named by its files, which may be its name in the repository.
        let none = || format!("has no split {:?}, only {}", split.files, names.join(", "));
        let found = named(&split.files).ok_or_else(none)?;
        (split.name, split.files) = (found.name, found.files);
        Ok(())
    };
    let told = chosen.train.is_some() || !chosen.test.name.is_empty();
    if told {
        chosen.train.iter_mut().try_for_each(&mut fill)?;
        chosen.validation.iter_mut().try_for_each(&mut fill)?;
        chosen.second_test.iter_mut().try_for_each(&mut fill)?;
        if !chosen.test.name.is_empty() {
            fill(&mut chosen.test)?;
        }
    } else {
        let usual = SPLIT_NAMES.map(|(_, usual)| usual.iter().find_map(|name| named(name)));
        let [train, validation, test] = usual;
        (chosen.train, chosen.validation) = (train, validation);
        if let Some(test) = test {
            chosen.test = test;
        } else if chosen.train.is_none() {
            chosen.train = there.first().cloned();
        }
    }
    let splits: Vec<&str> = chosen
        .splits()
        .map(|split| split.files.as_str())
        .filter(|files| !files.is_empty())
        .collect();
    let note = format!(
        "{}: configuration {config}, {}",
        source.repo,
        splits.join(", ")
    );
    Ok((chosen, note))
}

/// A source as its repository's converted branch has it, of which these are the files.
fn converted(source: &Source, paths: Vec<&str>) -> std::result::Result<Source, String> {
    let repository = Repository { paths, card: None };
    let mut other = source.clone();
    CONVERTED.clone_into(&mut other.revision);
    other.note = format!("the rows are those of {CONVERTED}");
    let fill = |split: &mut Split| -> std::result::Result<(), String> {
        let (config, name) = converted_names(split);
        let named = config.as_deref().unwrap_or(&source.config);
        // A row may call its only configuration otherwise than the Hub does.
        let found = repository.splits(named).or_else(|_| repository.splits(""));
        let (config, there) = found?;
        let found = there.into_iter().find(|split| split.name == name);
        let found = found.ok_or_else(|| format!("has no split {name} of {config}"))?;
        split.files = found.files;
        Ok(())
    };
    other.train.iter_mut().try_for_each(fill)?;
    other.validation.iter_mut().try_for_each(fill)?;
    other.second_test.iter_mut().try_for_each(fill)?;
    fill(&mut other.test)?;
    Ok(other)
}
