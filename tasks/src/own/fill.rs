//! What a short row leaves out.

use toml::{Table, Value};

use super::{Open, keys::SPLITS};
use crate::SourceFormat;

/// Fills in what a short row leaves out, and says what of it the data must tell.
pub(super) fn fill(row: &mut Table) -> Open {
    let mut put = |key: &str, value: Value| _ = row.entry(key).or_insert(value);
    put("suite", "own".into());
    put("version", 1.into());
    put("summary", String::new().into());
    put("citation", "none".into());
    if let Some(licence) = row.remove("license") {
        row.entry("licence").or_insert(licence);
    }
    row.entry("licence").or_insert("not told".into());
    let mut open = Open {
        metrics: !row.contains_key("metrics"),
        chance: !row.contains_key("chance"),
        ..Open::default()
    };
    row.entry("metrics").or_insert(Value::Array(Vec::new()));
    row.entry("chance").or_insert(0.0.into());
    if let Some(Value::String(kind)) = row.get("method") {
        let kind = kind.replace('-', "_");
        let method = Table::from_iter([("kind".to_owned(), Value::String(kind))]);
        row.insert("method".into(), Value::Table(method));
    }
    let mut has_classes = row.contains_key("classes");
    has_classes |= !open.metrics && !scores_classes(row);
    if let Some(Value::Table(method)) = row.get_mut("method") {
        let kind = method.get("kind").and_then(Value::as_str);
        let kind = kind.unwrap_or("").to_owned();
        let reads = !["zero_shot", "retrieval"].contains(&kind.as_str());
        if reads && !method.contains_key("feature") {
            open.feature = true;
            method.insert("feature".into(), "image_cls".into());
        }
        // Retrieval has no classes.
        has_classes |= kind == "retrieval";
    }
    open.classes = !has_classes;
    open.family = !row.contains_key("family");
    row.entry("family").or_insert("vision".into());
    if let Some(source) = row.remove("source") {
        let mut sources = match source {
            Value::Array(all) => all,
            one => vec![one],
        };
        for source in &mut sources {
            if let Value::Table(source) = source {
                open.files |= fill_source(source);
            }
        }
        row.insert("source".into(), Value::Array(sources));
    }
    open
}

/// Whether a metric of a row is one of classes.
fn scores_classes(row: &Table) -> bool {
    const VALUES: [&str; 4] = [
        "pearson",
        "spearman",
        "vqa_accuracy",
        "vqa_accuracy_lenient",
    ];
    let metrics = row.get("metrics").and_then(Value::as_array);
    let of_values = |metric: &Value| metric.as_str().is_some_and(|name| VALUES.contains(&name));
    metrics.is_none_or(|metrics| !metrics.iter().all(of_values))
}

/// Fills in a source; whether its files must tell something.
fn fill_source(source: &mut Table) -> bool {
    let mut open = false;
    if !source.contains_key("repo") && !source.contains_key("folder") {
        source.insert("folder".into(), ".".into());
    }
    fill_images_from(source);
    for split in SPLITS {
        if let Some(Value::String(files)) = source.get(split) {
            let table = Table::from_iter([
                ("name".to_owned(), Value::String(split.to_owned())),
                ("files".to_owned(), Value::String(files.clone())),
            ]);
            source.insert(split.into(), Value::Table(table));
        } else if let Some(Value::Table(table)) = source.get_mut(split) {
            table.entry("name").or_insert(split.into());
        }
    }
    if !source.contains_key("test") {
        // An empty name is that of a split that is to be found.
        let test = Table::from_iter([("name".to_owned(), Value::String(String::new()))]);
        source.insert("test".into(), Value::Table(test));
        open = true;
    }
    if !source.contains_key("format") {
        source.insert("format".into(), "auto".into());
        open = true;
    }
    open | (source.get("format").and_then(Value::as_str) == Some("table")
        && !source.contains_key("columns"))
}

/// Fills in the places of images that are elsewhere: one alone needs no list, and one without a
/// repository lies with the rows.
fn fill_images_from(source: &mut Table) {
    let Some(mut places) = source.remove("images_from") else {
        return;
    };
    if places.is_table() {
        places = Value::Array(vec![places]);
    }
    let tables = places.as_array_mut().into_iter().flatten();
    for place in tables.filter_map(Value::as_table_mut) {
        if !place.contains_key("repo") && !place.contains_key("folder") {
            place.insert("folder".into(), ".".into());
        }
    }
    source.insert("images_from".into(), places);
}

/// Whether a source's form is not told.
pub(super) fn is_open(format: &SourceFormat) -> bool {
    match format {
        SourceFormat::Auto { .. } => true,
        SourceFormat::Table { columns, .. } => columns.read().is_empty(),
        _ => false,
    }
}
