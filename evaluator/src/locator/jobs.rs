//! Files of a repository that are to be fetched.

use std::collections::HashSet;

use flava_model::{
    hub::{Destination, Job, Listing},
    wanted_files,
};
use flava_tasks::Source;

use crate::{Error, Result};

/// The files of a model that are needed.
pub(crate) fn model_jobs(listing: &Listing, destination: &Destination) -> Result<Vec<Job>> {
    let paths: Vec<String> = listing.files.iter().map(|file| file.path.clone()).collect();
    let wanted = wanted_files(&paths).map_err(|reason| Error::Lacking {
        what: "files",
        reason: format!("{}: {reason}", listing.repo),
    })?;
    Ok(jobs_of(listing, &wanted, destination))
}

/// The files of a source that its splits need.
pub(crate) fn source_jobs(
    listing: &Listing,
    source: &Source,
    destination: &Destination,
) -> Vec<Job> {
    let paths = listing.files.iter().map(|file| file.path.as_str());
    jobs_of(listing, &source.wanted(paths), destination)
}

/// Some files by their paths.
pub(crate) fn jobs_of(listing: &Listing, wanted: &[&str], destination: &Destination) -> Vec<Job> {
    let wanted: HashSet<&str> = wanted.iter().copied().collect();
    let files = listing
        .files
        .iter()
        .filter(|file| wanted.contains(file.path.as_str()));
    files
        .map(|file| Job {
            repo: listing.repo.clone(),
            file: file.clone(),
            destination: destination.clone(),
        })
        .collect()
}
