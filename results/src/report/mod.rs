//! A report: one HTML file about one run or several, or about training, and its figures as SVG.
//!
//! Everything in it is a function of records, predictions and logs: the same ones give the same
//! bytes, whatever their order. Nothing is fetched, and nothing of the data can become markup.

mod analysis;
mod commands;
mod embedded;
mod figures;
mod gallery;
mod html;
mod number;
mod options;
mod page;
mod palette;
mod paper;
mod png;
mod section;
mod sections;
mod table;
mod training_log;
mod view;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

pub use self::{
    options::{ClassNames, ImageOf, ReportOptions, Sort},
    png::png,
};
use self::{
    page::Page,
    section::{Figure, Section},
    sections::{ablation_part, records_json, sections, training_part},
    view::Study,
};
use crate::{Error, Result, Run};

/// One HTML file about these runs; with several, the others are compared with the first.
///
/// # Errors
/// If there is no run.
pub fn report(runs: &[Run], options: &ReportOptions) -> Result<String> {
    let study = study(runs, options)?;
    let parts = sections(&study);
    let page = Page {
        title: title(runs, options),
        sections: &parts,
        records: Some(records_json(&study)),
        footer: credits(runs),
    };
    Ok(page.document())
}

/// One HTML file about the runs in these folders or files; of one folder without whole records
/// about what was trained there.
///
/// # Errors
/// If a run cannot be read, and nothing was trained there.
pub fn report_of_paths(paths: &[PathBuf], options: &ReportOptions) -> Result<String> {
    let runs: Result<Vec<Run>> = paths.iter().map(|path| Run::read(path)).collect();
    match (runs, paths) {
        (Ok(runs), _) => report(&runs, options),
        (Err(_), [folder]) => {
            report_of_training(folder, options).or_else(|_| report(&Run::read_all(paths)?, options))
        }
        (Err(_), _) => report(&Run::read_all(paths)?, options),
    }
}

/// One HTML file about a folder without records: the logs of fine-tuning or of pretraining's
/// stages, or an ablation's columns.
///
/// # Errors
/// If it holds neither, or a log cannot be read.
pub fn report_of_training(folder: &Path, options: &ReportOptions) -> Result<String> {
    let parts = training_sections(folder, options)?;
    let name = folder.file_name().unwrap_or(folder.as_os_str());
    let title = if options.title.is_empty() {
        format!("Training in {}", name.to_string_lossy())
    } else {
        options.title.to_owned()
    };
    let page = Page {
        title,
        sections: &parts,
        records: None,
        footer: String::new(),
    };
    Ok(page.document())
}

/// Names of the figures of a report of these runs.
///
/// # Errors
/// As [`report`].
pub fn figures(runs: &[Run], options: &ReportOptions) -> Result<Vec<String>> {
    let parts = sections(&study(runs, options)?);
    Ok(names(&parts))
}

/// A figure of a report of these runs as an SVG document in light colours.
///
/// # Errors
/// As [`report`], or if there is no such figure.
pub fn figure(runs: &[Run], name: &str, options: &ReportOptions) -> Result<String> {
    let parts = sections(&study(runs, options)?);
    let folder = runs.first().map_or(Path::new(""), |run| &run.folder);
    named(&parts, name, folder)
}

/// Names of the figures of [`report_of_training`].
///
/// # Errors
/// As that.
pub fn figures_of_training(folder: &Path, options: &ReportOptions) -> Result<Vec<String>> {
    Ok(names(&training_sections(folder, options)?))
}

/// A figure of [`report_of_training`] as an SVG document.
///
/// # Errors
/// As that, or if there is no such figure.
pub fn figure_of_training(folder: &Path, name: &str, options: &ReportOptions) -> Result<String> {
    named(&training_sections(folder, options)?, name, folder)
}

fn study<'a>(runs: &'a [Run], options: &'a ReportOptions) -> Result<Study<'a>> {
    if runs.is_empty() {
        return Err(Error::file(Path::new("report"), "has no runs to be about"));
    }
    Ok(Study::new(runs, options))
}

fn training_sections(folder: &Path, options: &ReportOptions) -> Result<Vec<Section>> {
    let most = options.most_figures;
    let mut parts: Vec<Section> = ablation_part(folder, most).into_iter().collect();
    parts.extend(training_part(folder, most)?);
    if parts.is_empty() {
        let reason = "holds no records, no log.jsonl of training and no ablation";
        return Err(Error::file(folder, reason));
    }
    Ok(parts)
}

fn all(parts: &[Section]) -> impl Iterator<Item = &Figure> {
    parts.iter().flat_map(Section::all_figures)
}

fn names(parts: &[Section]) -> Vec<String> {
    all(parts).map(|figure| figure.name.clone()).collect()
}

fn named(parts: &[Section], name: &str, folder: &Path) -> Result<String> {
    let found = all(parts).find(|figure| figure.name == name);
    let none = || {
        let names = names(parts).join(", ");
        Error::file(folder, format!("has no figure {name}; there are: {names}"))
    };
    found.map(Figure::svg).ok_or_else(none)
}

fn title(runs: &[Run], options: &ReportOptions) -> String {
    if !options.title.is_empty() {
        return options.title.to_owned();
    }
    let models = runs.iter().flat_map(|run| &run.records);
    let models: BTreeSet<&str> = models.map(|record| record.model.as_str()).collect();
    let models: Vec<&str> = models.into_iter().take(3).collect();
    match models.as_slice() {
        [] => "Evaluation".to_owned(),
        some => format!("Evaluation of {}", some.join(", ")),
    }
}

/// Whose work is shown: the mini suite's pictures are drawn from graphics that ask for a name.
fn credits(runs: &[Run]) -> String {
    let mut records = runs.iter().flat_map(|run| &run.records);
    if records.any(|record| record.task.starts_with("mini-")) {
        "Pictures of the mini suite are drawn from Twemoji's graphics (CC BY 4.0).".to_owned()
    } else {
        String::new()
    }
}
