//! Runs a recipe: its stages in order, each in a folder of its own, each gone on from where it was
//! left.

mod codebook;
mod cost;
mod dry_run;
mod encoders;
mod export;
mod init;
mod job;
mod measure;
mod own_pairs;
mod preflight;
mod run;
mod scale;
mod settings;
mod tokenizer;
mod training;

use std::{fs, path::PathBuf};

use flava_base::lock_folder;
use flava_model::runtime::{Progress, distributed::Group};

pub use dry_run::dry_run;
pub use job::{Job, job_of};

use crate::{Error, Result, recipe::Stage};
use run::Run;

/// Runs the job's stages, in several processes together; the folder of the last model.
pub fn run(job: &Job, group: &Group) -> Result<Option<PathBuf>> {
    let progress = Progress::new(0, "steps", job.quiet || !group.leads());
    let mut run = Run::new(job, progress, group);
    let peers = group.peers();
    // What is refused leaves no folder.
    peers.first("sources", || run.check_sources())??;
    let mut lock = None;
    peers.led("run", || {
        fs::create_dir_all(&job.out).map_err(|e| flava_model::Error::io(&job.out, e))?;
        lock = Some(lock_folder(&job.out)?);
        let recipe = job.recipe.to_toml()?;
        flava_base::write_atomic(&job.out.join("recipe.toml"), recipe.as_bytes())?;
        Ok::<_, Error>(())
    })??;
    let log = job.out.join(peers.log_name());
    let written = run.progress.log_to(&log);
    written.map_err(|e| flava_model::Error::io(&log, e))?;
    run.peak = run.measured_peak()?;
    let mut last = None;
    let config = job.recipe.config(dry_run::words_of(&job.recipe))?;
    let rows = |corpus: &str| run.corpus(corpus).map_or(0, |dataset| dataset.len());
    run.progress.expect(cost::works(job, &config, &rows));
    for (name, stage) in job.stages() {
        last = run.stage(name, stage)?.or(last);
        run.progress.over(name);
    }
    if job.until.is_none() {
        last = last.map(|folder| run.export(&folder)).transpose()?;
    }
    run.progress.finish();
    Ok(last)
}

/// Writes a model of a recipe's sizes with seeded weights, over the tokenizer of its stage, into
/// the folder `untrained`.
pub fn init(job: &Job) -> Result<PathBuf> {
    fs::create_dir_all(&job.out).map_err(|e| flava_model::Error::io(&job.out, e))?;
    let _lock = lock_folder(&job.out)?;
    let progress = Progress::new(0, "steps", job.quiet);
    let mut run = Run::new(job, progress, &Group::alone());
    for (name, stage) in job.recipe.stages() {
        if matches!(stage, Stage::Tokenizer(_)) {
            run.stage(name, stage)?;
        }
    }
    run.export_untrained()
}
