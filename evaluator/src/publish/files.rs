//! The files of a publication.

use std::path::Path;

use flava_base::is_there;
use flava_model::hub::write::{Content, Upload};
use flava_results::{Record, Run, RunFolder, model_file_name};

use super::options::{PublishOptions, Tables};

/// The name of a checkpoint's own table: what it is called, and the beginning of its digest, so
/// that no two checkpoints write to one file.
pub fn table_name(record: &Record) -> String {
    // As the first published tables are called, which are replaced by their names.
    let name = short_name(&record.model).replace('.', "-");
    model_file_name(&name, &record.model_fingerprint)
}

/// What a model is called: a repository by its name, a folder by its last part, since where it lies
/// is nobody's business.
pub(super) fn short_name(model: &str) -> &str {
    let is_repo = model.split('/').count() == 2 && !model.starts_with(['/', '.', '~']);
    let last = Path::new(model).file_name().and_then(|name| name.to_str());
    if is_repo {
        model.split('@').next().unwrap_or(model)
    } else {
        last.unwrap_or(model)
    }
}

/// All files but the card and the table that everybody writes to.
pub(super) fn own_files(runs: &[Run], tables: &Tables, options: &PublishOptions) -> Vec<Upload> {
    let long = tables.long.iter().map(|table| {
        let path = format!("results/{}.csv", table.name);
        Upload::bytes(&path, table.csv.as_str())
    });
    let report = tables.report.iter();
    let report = report.map(|page| Upload::bytes("report.html", page.as_str()));
    let mut files: Vec<Upload> = long.chain(report).collect();
    if options.predictions {
        let records = runs
            .iter()
            .flat_map(|run| run.records.iter().map(move |it| (run, it)));
        files.extend(records.flat_map(|(run, record)| predictions(run, record)));
    }
    files
}

/// The predictions of a record that are there, of each split.
fn predictions(run: &Run, record: &Record) -> Vec<Upload> {
    let name = record.name();
    let mut splits = vec![None];
    for metric in &record.metrics {
        if !splits.contains(&Some(metric.split.as_str())) {
            splits.push(Some(metric.split.as_str()));
        }
    }
    let paths = splits
        .into_iter()
        .map(|split| RunFolder::predictions_in(&run.folder, &name, split));
    let there = paths.filter(|path| is_there(path));
    let upload = |path: std::path::PathBuf| {
        let file = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        Upload {
            path: format!("predictions/{}/{file}", table_name(record)),
            content: Content::File(path),
        }
    };
    there.map(upload).collect()
}

/// The message of a commit: whose results, of which program, and the digest of their records.
pub(super) fn summary(runs: &[Run]) -> String {
    let records: Vec<&Record> = runs.iter().flat_map(|run| &run.records).collect();
    let mut models: Vec<&str> = records.iter().map(|it| short_name(&it.model)).collect();
    models.sort_unstable();
    models.dedup();
    let named = match models[..] {
        [model] if model.chars().count() <= 96 && !model.chars().any(char::is_control) => {
            model.to_owned()
        }
        _ => format!("{} models", models.len()),
    };
    let mut keys: Vec<&str> = records.iter().map(|record| record.key.as_str()).collect();
    keys.sort_unstable();
    let key = super::check::digest(&keys);
    let (count, program) = (records.len(), crate::program());
    format!("Add {named}: {count} records ({program}, {key})")
}
