//! Files of a repository that are to be fetched.

use std::collections::HashSet;

use flava_model::{
    hub::{Job, Listing, Place},
    wanted_files,
};
use flava_tasks::Source;

use crate::{Error, Result};

/// The files of a model that are needed.
pub(crate) fn model_jobs(listing: &Listing, place: &Place) -> Result<Vec<Job>> {
    let paths: Vec<String> = listing.files.iter().map(|file| file.path.clone()).collect();
    let wanted = wanted_files(&paths)
        .map_err(|reason| Error::Other(format!("{}: {reason}", listing.repo)))?;
    Ok(jobs_of(listing, &wanted, place))
}

/// The files of a source that its splits need.
pub(crate) fn source_jobs(listing: &Listing, source: &Source, place: &Place) -> Vec<Job> {
    let paths = listing.files.iter().map(|file| file.path.as_str());
    jobs_of(listing, &source.wanted(paths), place)
}

/// Some files by their paths.
pub(crate) fn jobs_of(listing: &Listing, wanted: &[&str], place: &Place) -> Vec<Job> {
    let wanted: HashSet<&str> = wanted.iter().copied().collect();
    let files = listing
        .files
        .iter()
        .filter(|file| wanted.contains(file.path.as_str()));
    files
        .map(|file| Job {
            repo: listing.repo.clone(),
            file: file.clone(),
            place: place.clone(),
        })
        .collect()
}
