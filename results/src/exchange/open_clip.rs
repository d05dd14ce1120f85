//! The wide tables of `open_clip`'s documentation: a line for each model, a column for each
//! dataset, shares of four digits.

use std::path::Path;

use super::{
    datasets::{KnownDataset, dataset_of},
    exported::ExportFolder,
    model_name::{ModelName, by_model},
};
use crate::{Record, Result, csv_line::csv_line};

/// The datasets' columns of `openclip_results.csv`.
const COLUMNS: [&str; 38] = [
    "ImageNet 1k",
    "Caltech-101",
    "CIFAR-10",
    "CIFAR-100",
    "CLEVR Counts",
    "CLEVR Distance",
    "Country211",
    "Describable Textures",
    "EuroSAT",
    "FGVC Aircraft",
    "Food-101",
    "GTSRB",
    "ImageNet Sketch",
    "ImageNet v2",
    "ImageNet-A",
    "ImageNet-O",
    "ImageNet-R",
    "KITTI Vehicle Distance",
    "MNIST",
    "ObjectNet",
    "Oxford Flowers-102",
    "Oxford-IIIT Pet",
    "Pascal VOC 2007",
    "PatchCamelyon",
    "Rendered SST2",
    "RESISC45",
    "Stanford Cars",
    "STL-10",
    "SUN397",
    "SVHN",
    "Flickr",
    "MSCOCO",
    "WinoGAViL",
    "iWildCam",
    "Camelyon17",
    "FMoW",
    "Dollar Street",
    "GeoDE",
];
const AVERAGE: &str = "Average perf. on 38 datasets";
const RETRIEVAL_AVERAGE: &str = "Average score";
/// Columns of `openclip_retrieval_results.csv` that nothing of ours fills.
const WINOGAVIL: [&str; 7] = [
    "WinoGAViL avg jaccard score",
    "WinoGAViL jaccard score 10",
    "WinoGAViL jaccard score 10-12",
    "WinoGAViL jaccard score 12",
    "WinoGAViL jaccard score 5",
    "WinoGAViL jaccard score 5-6",
    "WinoGAViL jaccard score 6",
];

pub(super) fn export(folder: &mut ExportFolder) -> Result<()> {
    let records = usable(folder);
    if records.is_empty() {
        folder.leave_out(AVERAGE, "no record fills a column");
        return Ok(());
    }
    let mut wide = csv_line(head(AVERAGE).chain(COLUMNS.map(str::to_owned)));
    let mut retrieval = csv_line(head(RETRIEVAL_AVERAGE).chain(retrieval_columns()));
    for group in by_model(&records) {
        let begin = || begin(&group.model, &group.records);
        let cells = COLUMNS.map(|column| cell(column, &group.records));
        let filled = cells.iter().filter(|cell| !cell.is_empty()).count();
        wide.push_str(&csv_line(begin().into_iter().chain(cells)));
        let cells = retrieval_cells(&group.records);
        retrieval.push_str(&csv_line(begin().into_iter().chain(cells)));
        let reason = format!(
            "{} fills {filled} of the 38 columns: a mean over others would be another number",
            group.model.joined("/")
        );
        folder.leave_out(AVERAGE, reason);
    }
    folder.write(Path::new("openclip_results.csv"), wide.as_bytes())?;
    folder.write(
        Path::new("openclip_retrieval_results.csv"),
        retrieval.as_bytes(),
    )
}

/// The records that have a column and its rows; the others are left out.
fn usable<'a>(folder: &mut ExportFolder<'a>) -> Vec<&'a Record> {
    let mut usable = Vec::new();
    for record in folder.publishable() {
        match misfit(record) {
            Some(reason) => folder.leave_out(record.name(), reason),
            None => usable.push(record),
        }
    }
    usable
}

fn misfit(record: &Record) -> Option<String> {
    let zero_shot = matches!(record.method.as_str(), "zero_shot" | "retrieval");
    let column = dataset_of(&record.task).and_then(|known| Some((known, known.column?)));
    let rows = record.main().n;
    match column {
        _ if !zero_shot => Some("the table is of zero-shot results".to_owned()),
        None => Some("it has no column".to_owned()),
        Some((known, column)) if known.rows != rows => {
            let of = known.rows;
            Some(format!(
                "its {rows} rows are not the {of} of column {column}"
            ))
        }
        Some(_) => None,
    }
}

fn head(average: &str) -> impl Iterator<Item = String> {
    let head = ["name", "pretrained", "params (M)", "FLOPs (B)", average];
    head.map(str::to_owned).into_iter()
}

/// A line's cells before the datasets'; the average is empty.
fn begin(model: &ModelName, records: &[&Record]) -> Vec<String> {
    let parameters = records.iter().map(|record| record.parameters).max();
    let parameters = parameters.filter(|&count| count > 0);
    let flops = records.iter().map(|record| record.flops_per_row);
    let flops = flops.reduce(f64::max).filter(|&count| count > 0.0);
    vec![
        model.name.clone(),
        model.owner.clone(),
        parameters.map_or_else(String::new, |count| format!("{:.2}", count as f64 / 1e6)),
        flops.map_or_else(String::new, |count| format!("{:.2}", count / 1e9)),
        String::new(),
    ]
}

/// The number of a column: datacomp's main metric of the dataset; empty where there is none.
fn cell(column: &str, records: &[&Record]) -> String {
    let of_column = records.iter().find_map(|record| {
        let known = dataset_of(&record.task)?;
        (known.column == Some(column)).then_some((record, known))
    });
    let value = of_column.and_then(|(record, known)| main_value(record, known));
    share(value)
}

fn main_value(record: &Record, known: &KnownDataset) -> Option<f64> {
    if record.method == "retrieval" {
        let text = value_of(record, "text_recall@1")?;
        return Some(f64::midpoint(text, value_of(record, "image_recall@1")?));
    }
    let metric = if known.per_class {
        "mean_per_class"
    } else {
        "accuracy"
    };
    value_of(record, metric)
}

fn value_of(record: &Record, metric: &str) -> Option<f64> {
    let mut scores = record.metrics.iter();
    Some(scores.find(|score| score.metric == metric)?.value)
}

fn share(value: Option<f64>) -> String {
    value.map_or_else(String::new, |value| format!("{value:.4}"))
}

/// A column of the retrieval table.
struct Recall {
    column: &'static str,
    what: &'static str,
    k: usize,
}

fn recalls() -> impl Iterator<Item = Recall> {
    let sets = ["Flickr", "MSCOCO"].into_iter();
    sets.flat_map(|column| {
        let sides = ["image", "text"].into_iter();
        sides.flat_map(move |what| [1, 5, 10].map(|k| Recall { column, what, k }))
    })
}

fn retrieval_columns() -> impl Iterator<Item = String> {
    let own = recalls().map(|Recall { column, what, k }| format!("{column} {what} retr. R@{k}"));
    own.chain(WINOGAVIL.map(str::to_owned))
}

fn retrieval_cells(records: &[&Record]) -> Vec<String> {
    let cell = |Recall { column, what, k }| {
        let known = |record: &&&Record| {
            dataset_of(&record.task).is_some_and(|known| known.column == Some(column))
        };
        let record = records.iter().find(known);
        share(record.and_then(|record| value_of(record, &format!("{what}_recall@{k}"))))
    };
    let own = recalls().map(cell);
    own.chain(WINOGAVIL.map(|_| String::new())).collect()
}
