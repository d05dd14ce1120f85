//! `flava-eval report`: runs, or a training, as one HTML file or one of its figures.

mod rows;

use std::path::{Path, PathBuf};

use flava_base::{say, write_atomic};
use flava_results::{
    Record, Run,
    report::{self, ReportOptions, Sort, report_of_paths},
};

use self::rows::RowsOfRecords;
use crate::{
    Error, Result,
    args::{FigureFormat, ReportArgs, ReportSort, Thumbs},
    locator::DataLocator,
    plan::registry_of,
};

/// Size of a file that mail and browsers take without thinking.
const LARGE: usize = 2 << 20;
/// Pixels of a PNG to each unit of its figure.
const PIXELS: f32 = 3.0;

/// Writes the report, or a figure; what is to be printed.
///
/// # Errors
/// If a run cannot be read, or there is no such figure.
pub fn report(args: &ReportArgs) -> Result<Option<String>> {
    let rows = rows(args)?;
    let image = |record: &Record, row: &str| rows.image(record, row);
    let class_names = |record: &Record| rows.class_names(record);
    let options = ReportOptions {
        title: args.title.as_deref().unwrap_or_default(),
        sort: args.sort.into(),
        images: Some(&image),
        class_names: Some(&class_names),
        ..ReportOptions::default()
    };
    if args.figures {
        return Ok(Some(figures(args, &options)?.join("\n")));
    }
    let (bytes, default) = if let Some(name) = &args.figure {
        drawn(args, name, &options)?
    } else {
        let page = report_of_paths(&args.runs, &options)?;
        (page.into_bytes(), "report.html".to_owned())
    };
    let out = args.out.clone().unwrap_or_else(|| PathBuf::from(default));
    write_atomic(&out, &bytes)?;
    let (kilobytes, out) = (bytes.len().div_ceil(1000), out.display());
    say(&format!("{kilobytes} kB in {out}"));
    if bytes.len() > LARGE {
        say("note: it is larger than 2 MB; --images none makes it smaller");
    }
    Ok(None)
}

/// A figure in the format that is asked for, and what its file is called.
fn drawn(args: &ReportArgs, name: &str, options: &ReportOptions) -> Result<(Vec<u8>, String)> {
    let svg = figure(args, name, options)?;
    Ok(match args.format {
        FigureFormat::Svg => (svg.into_bytes(), format!("{name}.svg")),
        FigureFormat::Png => (report::png(&svg, PIXELS)?, format!("{name}.png")),
    })
}

/// Writes the report of a training or a run into its folder. Where that fails, it is said: the
/// training is done.
pub fn report_beside(folder: &Path) {
    let options = ReportOptions::default();
    let written = report_of_paths(&[folder.to_owned()], &options)
        .map_err(Error::from)
        .and_then(|text| Ok(write_atomic(&folder.join("report.html"), text.as_bytes())?));
    if let Err(error) = written {
        say(&format!("note: report.html is not written: {error}"));
    }
}

fn rows(args: &ReportArgs) -> Result<RowsOfRecords> {
    let Thumbs(most_images) = args.images;
    let registry = registry_of(&args.task_file)?;
    let locator = DataLocator::new(args.data.clone(), true, true)?;
    Ok(RowsOfRecords::new(registry, locator, most_images))
}

impl From<ReportSort> for Sort {
    fn from(sort: ReportSort) -> Self {
        match sort {
            ReportSort::Paper => Self::Paper,
            ReportSort::Name => Self::Name,
            ReportSort::Score => Self::Score,
            ReportSort::Difference => Self::Difference,
        }
    }
}

/// A figure of what a report would be of.
fn figure(args: &ReportArgs, name: &str, options: &ReportOptions) -> Result<String> {
    let known = figures(args, options)?;
    if !known.iter().any(|figure| figure == name) {
        let near = flava_base::did_you_mean(name, &known, 2);
        return Err(Error::Argument {
            argument: "--figure",
            value: name.to_owned(),
            reason: format!("there is no such figure{near}\nhint: --figures lists them"),
        });
    }
    Ok(match runs_or_training(&args.runs)? {
        Input::Runs(runs) => report::figure(&runs, name, options)?,
        Input::Training(folder) => report::figure_of_training(folder, name, options)?,
    })
}

fn figures(args: &ReportArgs, options: &ReportOptions) -> Result<Vec<String>> {
    Ok(match runs_or_training(&args.runs)? {
        Input::Runs(runs) => report::figures(&runs, options)?,
        Input::Training(folder) => report::figures_of_training(folder, options)?,
    })
}

/// What a report is of.
enum Input<'a> {
    Runs(Vec<Run>),
    Training(&'a Path),
}

fn is_training(folder: &Path) -> bool {
    report::figures_of_training(folder, &ReportOptions::default()).is_ok()
}

fn runs_or_training(paths: &[PathBuf]) -> Result<Input<'_>> {
    let runs = paths.iter().map(|path| Run::read(path));
    match (runs.collect::<flava_results::Result<Vec<Run>>>(), paths) {
        (Ok(runs), _) => Ok(Input::Runs(runs)),
        (Err(_), [folder]) if is_training(folder) => Ok(Input::Training(folder)),
        (Err(_), _) => Ok(Input::Runs(Run::read_all(paths)?)),
    }
}
