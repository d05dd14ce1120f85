//! Archives whose labels are in CSV tables.

use std::{path::Path, sync::Arc};

use super::{
    super::{
        listing::{Listing, Row},
        raw_images::{ImageSize, InMemory, PixelOrder},
        reading::read_text,
    },
    folders,
    positions::{inner, trains},
};
use crate::{Error, Result};

/// Side of a face of FER2013.
const FACE: usize = 48;
/// The table's order is angry, disgust, fear, happy, sad, surprise, neutral; the copies on the Hub
/// have the alphabet's.
const FACES_ORDER: [usize; 7] = [0, 1, 2, 3, 5, 6, 4];
/// The classes in the alphabet's order.
const FACES: [&str; 7] = [
    "angry", "disgust", "fear", "happy", "neutral", "sad", "surprise",
];

/// Training images in a folder for each class; test images in a table with semicolons.
pub(super) fn gtsrb(root: &Path, split: &str) -> Result<Listing> {
    let base = inner(root, &["gtsrb"], "GTSRB");
    if trains(root, split)? {
        return gtsrb_training(&base.join("GTSRB"));
    }
    let inside = base.join("GTSRB/Final_Test/Images");
    let table = [
        base.join("GT-final_test.csv"),
        inside.join("GT-final_test.csv"),
    ];
    let there = table.iter().find(|table| table.exists());
    let table = there.unwrap_or(&table[0]);
    let mut rows = Vec::new();
    for (line, record) in records(table, b';')? {
        let class = field(&record, "ClassId").and_then(|class| class.parse().ok());
        let (Some(name), Some(class)) = (field(&record, "Filename"), class) else {
            let reason = format!("line {line} has no Filename or ClassId");
            return Err(Error::data(table, reason));
        };
        rows.push(Row::of_file(name.to_owned(), class));
    }
    Listing::of_files(&inside, rows)
}

/// The folders are called by the numbers of the table's classes, from 00000 on: all of them are
/// there.
fn gtsrb_training(root: &Path) -> Result<Listing> {
    let training = root.join("Training");
    let folders = folders::folders(&training)?;
    let mut numbered = folders.iter().enumerate();
    if let Some((class, name)) = numbered.find(|(class, name)| name.parse() != Ok(*class)) {
        let reason = format!("has the folder {name} where that of class {class} is due");
        return Err(Error::data(training, reason));
    }
    let names: Vec<&str> = folders.iter().map(String::as_str).collect();
    Ok(folders::open(root, "Training", &names)?.with_class_names(Vec::new()))
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
    let columns = reader.headers().map_err(broken)?.clone();
    let mut rows = Vec::new();
    for (index, record) in reader.records().enumerate() {
        let record = record.map_err(broken)?;
        let fields = columns.iter().zip(&record);
        let fields = fields.map(|(column, value)| (column.to_owned(), value.to_owned()));
        rows.push((index + 2, fields.collect()));
    }
    Ok(rows)
}

/// Faces as numbers in a table: `train.csv`, or one file with a column `Usage`. The test split is
/// both of its test parts.
pub(super) fn fer2013(root: &Path, split: &str) -> Result<Listing> {
    let files = ["fer2013.csv", "icml_face_data.csv", "train.csv"].map(|name| root.join(name));
    let whole = files[..2].iter().find(|file| file.exists());
    let table = whole.unwrap_or(&files[2]);
    let part = FacePart {
        of_whole: whole.is_some(),
        training: trains(root, split)?,
    };
    if whole.is_none() && !part.training {
        return Err(Error::data(
            root,
            "has no icml_face_data.csv or fer2013.csv; the test.csv of the contest has no labels",
        ));
    }
    let (mut bytes, mut classes) = (Vec::new(), Vec::new());
    for (line, record) in records(table, b',')? {
        let face = part.face(&record);
        let face = face.map_err(|reason| Error::data(table, format!("line {line}{reason}")))?;
        if let Some(Face { class, pixels }) = face {
            bytes.extend(pixels);
            classes.push(class);
        }
    }
    let pixels = InMemory {
        files: [table.clone()].into(),
        bytes,
        size: ImageSize {
            height: FACE,
            width: FACE,
        },
        order: PixelOrder::Grey,
    };
    let names = FACES.map(str::to_owned).into();
    Ok(Listing::of_pixels(table, classes, Arc::new(pixels)).with_class_names(names))
}

/// Which rows of a table of faces are read.
struct FacePart {
    /// Of a table of all splits, with a column `Usage`.
    of_whole: bool,
    training: bool,
}

/// A face and its class.
struct Face {
    class: usize,
    pixels: Vec<u8>,
}

/// A value, or what is wrong with its line, as it follows the line's number.
type OfLine<T> = std::result::Result<T, String>;

impl FacePart {
    /// The face of a row that is read.
    fn face(&self, record: &Record) -> OfLine<Option<Face>> {
        if !self.holds(field(record, "Usage"))? {
            return Ok(None);
        }
        let class = field(record, "emotion").and_then(|class| class.parse().ok());
        let class = class.and_then(|class: usize| FACES_ORDER.get(class));
        let class = *class.ok_or(" has no emotion from 0 to 6")?;
        let pixels = pixels(field(record, "pixels").unwrap_or_default())?;
        Ok(Some(Face { class, pixels }))
    }

    fn holds(&self, usage: Option<&str>) -> OfLine<bool> {
        match usage {
            Some("Training" | "PublicTest" | "PrivateTest") | None if !self.of_whole => Ok(true),
            Some("Training") => Ok(self.training),
            Some("PublicTest" | "PrivateTest") => Ok(!self.training),
            other => Err(format!(
                ": Usage is {other:?}, not Training, PublicTest or PrivateTest"
            )),
        }
    }
}

fn pixels(text: &str) -> OfLine<Vec<u8>> {
    let values = text.split(' ').map(str::parse::<u8>);
    let values: std::result::Result<Vec<u8>, _> = values.collect();
    let values = values.map_err(|e| format!(": {e}"))?;
    if values.len() != FACE * FACE {
        return Err(format!(" has {} pixels, not {}", values.len(), FACE * FACE));
    }
    Ok(values)
}
