//! The table of timm's `ImageNet` results: percent, three decimals, best first.

use std::path::Path;

use super::{
    exported::ExportFolder,
    model_name::ModelName,
    parts::{Part, parts},
    samples::top5,
};
use crate::{Record, Result, csv_line::csv_line};

const COLUMNS: [&str; 9] = [
    "model",
    "img_size",
    "top1",
    "top1_err",
    "top5",
    "top5_err",
    "param_count",
    "crop_pct",
    "interpolation",
];

/// A line of the table.
struct TimmRow {
    top1: f64,
    top5: Option<f64>,
    cells: Vec<String>,
}

pub(super) fn export(folder: &mut ExportFolder) -> Result<()> {
    let mut rows = Vec::new();
    for record in folder.publishable() {
        if record.task != "imagenet" || record.method != "linear_probe" {
            folder.leave_out(
                record.name(),
                "timm's table is of ImageNet, by a classifier",
            );
            continue;
        }
        let parts = parts(record);
        rows.extend(row(folder, &parts[0])?);
    }
    if rows.is_empty() {
        folder.leave_out("results-imagenet.csv", "no record fills a line");
        return Ok(());
    }
    rows.sort_by(|a, b| {
        let by_top5 = |row: &TimmRow| row.top5.unwrap_or_default();
        b.top1
            .total_cmp(&a.top1)
            .then(by_top5(b).total_cmp(&by_top5(a)))
            .then(a.cells[0].cmp(&b.cells[0]))
    });
    let mut table = csv_line(COLUMNS.map(str::to_owned));
    for row in rows {
        table.push_str(&csv_line(row.cells));
    }
    folder.write(Path::new("results-imagenet.csv"), table.as_bytes())
}

fn row(folder: &mut ExportFolder, part: &Part) -> Result<Option<TimmRow>> {
    let Some(top1) = part.score("accuracy").map(|score| score.value) else {
        folder.leave_out(&part.name, "it has no accuracy");
        return Ok(None);
    };
    let top5 = top5(folder.run, part)?;
    if top5.is_none() {
        let name = format!("{} top5", part.name);
        folder.leave_out(name, "its predictions with logits are not there");
    }
    let name = format!("{} crop_pct", part.name);
    folder.leave_out(name, "a record does not say how much was cropped");
    let record = part.record;
    let model = ModelName::of(record).name.replace('-', "_");
    let transform = Transform::of(record);
    let errors = |share: f64| [percent(share), percent(1.0 - share)];
    let [top1_text, top1_error] = errors(top1);
    let [top5_text, top5_error] = top5.map_or([String::new(), String::new()], errors);
    let cells = vec![
        format!("{model}.linear_probe"),
        transform.size,
        top1_text,
        top1_error,
        top5_text,
        top5_error,
        millions(record.parameters),
        String::new(),
        transform.filter,
    ];
    Ok(Some(TimmRow { top1, top5, cells }))
}

fn percent(share: f64) -> String {
    format!("{:.3}", share * 100.0)
}

/// Millions of two decimals, with a comma between thousands.
fn millions(count: u64) -> String {
    if count == 0 {
        return String::new();
    }
    let text = format!("{:.2}", count as f64 / 1e6);
    let (whole, decimals) = text.split_once('.').unwrap_or((&text, ""));
    let mut grouped = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    format!("{grouped}.{decimals}")
}

/// What a record's transform says, such as `224x224-bicubic-...`: empty where it says nothing.
struct Transform {
    size: String,
    filter: String,
}

impl Transform {
    fn of(record: &Record) -> Self {
        let mut words = record.transform.split('-');
        let size = words.next().and_then(|size| size.split_once('x'));
        let square = size.filter(|(height, width)| height == width);
        let known = |filter: &&str| ["bicubic", "bilinear", "lanczos", "nearest"].contains(filter);
        Self {
            size: square.map_or_else(String::new, |(side, _)| side.to_owned()),
            filter: words.next().filter(known).unwrap_or_default().to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_have_a_comma() {
        assert_eq!(
            [0, 86_000_000, 1_234_567_890, 1_000_000_000_000].map(millions),
            ["", "86.00", "1,234.57", "1,000,000.00"]
        );
    }
}
