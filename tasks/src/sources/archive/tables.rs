//! Archives whose labels are in MATLAB files or CSV tables.

use std::{path::Path, sync::Arc};

use super::{
    super::{
        guarded,
        listing::{InMemory, Listing, PixelOrder, Row, read_text},
    },
    folders, inner, mat_bounds, trains,
};
use crate::{Error, Result};

/// Largest MATLAB file: those of the archives have a megabyte.
const MAX_MAT: u64 = 64 << 20;
/// Side of a face of FER2013.
const FACE: usize = 48;
/// The table's order is angry, disgust, fear, happy, sad, surprise, neutral; the copies on the Hub
/// have the alphabet's.
const FACES_ORDER: [usize; 7] = [0, 1, 2, 3, 5, 6, 4];

/// A MATLAB file of version 5 to 7.
fn mat(path: &Path) -> Result<matrw::MatFile> {
    mat_bounds::check(&flava_base::read(path, MAX_MAT)?)
        .map_err(|reason| Error::data(path, format!("is no MATLAB file that is read: {reason}")))?;
    guarded(path, || {
        matrw::load_matfile(&path.to_string_lossy())
            .map_err(|e| Error::data(path, format!("is no MATLAB file: {e:?}")))
    })
}

fn variable<'a>(
    file: &'a matrw::MatFile,
    path: &Path,
    name: &str,
) -> Result<&'a matrw::MatVariable> {
    let missing = || Error::data(path, format!("has no variable {name}"));
    if file.contains(name) {
        Ok(&file[name])
    } else {
        Err(missing())
    }
}

/// Number of elements, and an element's text: matrw keeps texts as arrays of characters.
fn count(variable: &matrw::MatVariable) -> usize {
    variable.dim().iter().product()
}

fn text(variable: &matrw::MatVariable) -> Option<String> {
    Some(variable.to_vec_char()?.into_iter().collect())
}

/// A variable's numbers, of whichever type it stores them in.
fn floats(variable: &matrw::MatVariable) -> Option<Vec<f64>> {
    use matrw::MatlabType as T;
    Some(match variable.numeric_type()? {
        T::U8(values) => values.iter().copied().map(f64::from).collect(),
        T::U16(values) => values.iter().copied().map(f64::from).collect(),
        T::U32(values) => values.iter().copied().map(f64::from).collect(),
        T::I16(values) => values.iter().copied().map(f64::from).collect(),
        T::I32(values) => values.iter().copied().map(f64::from).collect(),
        T::U64(values) => values.iter().map(|value| *value as f64).collect(),
        T::I64(values) => values.iter().map(|value| *value as f64).collect(),
        T::F64(values) => values.clone(),
        _ => return None,
    })
}

/// A variable's numbers, if all of them count something.
fn numbers(file: &matrw::MatFile, path: &Path, name: &str) -> Result<Vec<usize>> {
    let values = floats(variable(file, path, name)?)
        .ok_or_else(|| Error::data(path, format!("{name} has no numbers")))?;
    let count = |(index, value): (usize, f64)| {
        let counts = value >= 0.0 && value.fract() == 0.0;
        counts
            .then_some(value as usize)
            .ok_or_else(|| Error::data(path, format!("{name}({}) is {value}, no count", index + 1)))
    };
    values.into_iter().enumerate().map(count).collect()
}

/// `setid.mat` names the pictures of a split, `imagelabels.mat` the class of each picture; both
/// count from 1.
pub(super) fn flowers102(root: &Path, split: &str) -> Result<Listing> {
    let root = &inner(root, &["flowers-102"], "setid.mat");
    let (sets, labels) = (root.join("setid.mat"), root.join("imagelabels.mat"));
    let variable = match split {
        "train" => "trnid",
        "val" | "validation" => "valid",
        "test" => "tstid",
        other => {
            return Err(Error::data(
                root,
                format!("has no split {other:?}, only train, val and test"),
            ));
        }
    };
    let classes = numbers(&mat(&labels)?, &labels, "labels")?;
    let row = |image: usize| {
        let class = image
            .checked_sub(1)
            .and_then(|place| classes.get(place))
            .filter(|class| **class > 0);
        let class = class
            .ok_or_else(|| Error::data(&labels, format!("has no label for picture {image}")))?;
        Ok(Row::of_file(format!("image_{image:05}.jpg"), class - 1))
    };
    let rows = numbers(&mat(&sets)?, &sets, variable)?
        .into_iter()
        .map(row)
        .collect::<Result<_>>()?;
    Listing::of_files(&root.join("jpg"), rows)
}

/// `devkit/cars_train_annos.mat` and `cars_test_annos_withlabels.mat`: an array of structs with
/// `fname` and `class` from 1.
pub(super) fn stanford_cars(root: &Path, split: &str) -> Result<Listing> {
    let root = &inner(root, &["stanford_cars"], "devkit");
    let (file, folder) = if trains(root, split)? {
        (
            root.join("devkit/cars_train_annos.mat"),
            root.join("cars_train"),
        )
    } else {
        (
            root.join("cars_test_annos_withlabels.mat"),
            root.join("cars_test"),
        )
    };
    let annotations = mat(&file)?;
    let annotations = variable(&annotations, &file, "annotations")?;
    let row = |index| {
        let entry = &annotations[index];
        let (name, class) = (
            text(&entry["fname"]),
            floats(&entry["class"])
                .and_then(|class| class.first().copied())
                .filter(|class| *class >= 1.0 && class.fract() == 0.0),
        );
        match (name, class) {
            (Some(name), Some(class)) => Ok(Row::of_file(name, class as usize - 1)),
            _ => Err(Error::data(
                &file,
                format!("annotations({}) has no fname or class", index + 1),
            )),
        }
    };
    let rows = guarded(&file, || {
        (0..count(annotations))
            .map(row)
            .collect::<Result<Vec<Row>>>()
    })?;
    let meta = root.join("devkit/cars_meta.mat");
    let names = if meta.exists() {
        class_names(&meta)?
    } else {
        Vec::new()
    };
    Ok(Listing::of_files(&folder, rows)?.with_class_names(names))
}

fn class_names(path: &Path) -> Result<Vec<String>> {
    let file = mat(path)?;
    let names = variable(&file, path, "class_names")?;
    let name = |index: usize| {
        text(&names[index])
            .ok_or_else(|| Error::data(path, format!("class_names({}) is no text", index + 1)))
    };
    guarded(path, || (0..count(names)).map(name).collect())
}

/// Training pictures in a folder for each class; test pictures in a table with semicolons.
pub(super) fn gtsrb(root: &Path, split: &str) -> Result<Listing> {
    let base = inner(root, &["gtsrb"], "GTSRB");
    if trains(root, split)? {
        // The folders are called by the numbers of the table's classes, from 00000 on: all of them
        // are there.
        let folders = folders::folders(&base.join("GTSRB/Training"))?;
        if let Some((class, name)) = folders
            .iter()
            .enumerate()
            .find(|(class, name)| name.parse() != Ok(*class))
        {
            return Err(Error::data(
                base.join("GTSRB/Training"),
                format!("has the folder {name} where that of class {class} is due"),
            ));
        }
        let names: Vec<&str> = folders.iter().map(String::as_str).collect();
        return Ok(
            folders::open(&base.join("GTSRB"), "Training", &names)?.with_class_names(Vec::new())
        );
    }
    let table = [
        base.join("GT-final_test.csv"),
        base.join("GTSRB/Final_Test/Images/GT-final_test.csv"),
    ];
    let table = table
        .iter()
        .find(|table| table.exists())
        .unwrap_or(&table[0]);
    let mut rows = Vec::new();
    for (line, record) in records(table, b';')? {
        let class = field(&record, "ClassId").and_then(|class| class.parse().ok());
        match (field(&record, "Filename"), class) {
            (Some(name), Some(class)) => rows.push(Row::of_file(name.to_owned(), class)),
            _ => {
                return Err(Error::data(
                    table,
                    format!("line {line} has no Filename or ClassId"),
                ));
            }
        }
    }
    Listing::of_files(&base.join("GTSRB/Final_Test/Images"), rows)
}

/// A row's values by their columns.
type Record = Vec<(String, String)>;

fn field<'a>(record: &'a Record, name: &str) -> Option<&'a str> {
    record
        .iter()
        .find(|(column, _)| column == name)
        .map(|(_, value)| value.as_str())
}

/// The rows of a table with their line numbers; names of columns are trimmed, as one of the tables
/// has spaces in them.
fn records(path: &Path, delimiter: u8) -> Result<Vec<(usize, Record)>> {
    let broken = |e: csv::Error| Error::data(path, e);
    let text = read_text(path)?;
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(delimiter)
        .trim(csv::Trim::All)
        .from_reader(text.as_bytes());
    let columns: Vec<String> = reader
        .headers()
        .map_err(broken)?
        .iter()
        .map(str::to_owned)
        .collect();
    let mut rows = Vec::new();
    for (index, record) in reader.records().enumerate() {
        let record = record.map_err(broken)?;
        rows.push((
            index + 2,
            columns
                .iter()
                .cloned()
                .zip(record.iter().map(str::to_owned))
                .collect(),
        ));
    }
    Ok(rows)
}

/// Faces as numbers in a table: `train.csv`, or one file with a column `Usage`. The test split is
/// both of its test parts.
pub(super) fn fer2013(root: &Path, split: &str) -> Result<Listing> {
    let files = ["fer2013.csv", "icml_face_data.csv", "train.csv"].map(|name| root.join(name));
    let whole = files[..2].iter().find(|file| file.exists());
    let table = whole.unwrap_or(&files[2]);
    let fits = trains(root, split)?;
    let wanted: &[&str] = if fits {
        &["Training"]
    } else {
        &["PublicTest", "PrivateTest"]
    };
    if whole.is_none() && !fits {
        return Err(Error::data(
            root,
            "has no icml_face_data.csv or fer2013.csv; the test.csv of the contest has no labels",
        ));
    }
    let (mut bytes, mut classes) = (Vec::new(), Vec::new());
    for (line, record) in records(table, b',')? {
        match field(&record, "Usage") {
            Some("Training" | "PublicTest" | "PrivateTest") | None if whole.is_none() => {}
            Some(usage @ ("Training" | "PublicTest" | "PrivateTest"))
                if wanted.contains(&usage) => {}
            Some("Training" | "PublicTest" | "PrivateTest") => continue,
            other => {
                return Err(Error::data(
                    table,
                    format!(
                        "line {line}: Usage is {other:?}, not Training, PublicTest or PrivateTest"
                    ),
                ));
            }
        }
        let class = field(&record, "emotion").and_then(|class| class.parse().ok());
        let class = class.and_then(|class: usize| FACES_ORDER.get(class));
        let class = *class
            .ok_or_else(|| Error::data(table, format!("line {line} has no emotion from 0 to 6")))?;
        let before = bytes.len();
        let pixels = field(&record, "pixels")
            .unwrap_or_default()
            .split(' ')
            .map(str::parse::<u8>);
        bytes.extend(
            pixels
                .collect::<std::result::Result<Vec<u8>, _>>()
                .map_err(|e| Error::data(table, format!("line {line}: {e}")))?,
        );
        if bytes.len() - before != FACE * FACE {
            return Err(Error::data(
                table,
                format!(
                    "line {line} has {} pixels, not {}",
                    bytes.len() - before,
                    FACE * FACE
                ),
            ));
        }
        classes.push(class);
    }
    let names = [
        "angry", "disgust", "fear", "happy", "neutral", "sad", "surprise",
    ]
    .map(str::to_owned)
    .into();
    let pixels = InMemory {
        files: [table.clone()].into(),
        bytes,
        size: (FACE, FACE),
        order: PixelOrder::Grey,
    };
    Ok(Listing::of_pixels(table, classes, Arc::new(pixels)).with_class_names(names))
}
