//! Karpathy's splits of COCO and Flickr30K: one JSON file of images with their captions and
//! split.
//!
//! Two shapes occur: Karpathy's own (`{"images": [{filename, filepath, split, sentences:
//! [{raw}]}]}`) and BLIP's, a file for each split (`[{image, caption: [..]}]`, training files with
//! a row for each caption).

use std::{collections::HashMap, path::Path};

use serde::Deserialize;

use super::{
    dataset::Label,
    listing::{ImageAt, Listing, Row},
    reading::read_json,
};
use crate::{Error, Result};

#[derive(Deserialize)]
#[serde(untagged)]
enum CaptionFile {
    Karpathy { images: Vec<Image> },
    Blip(Vec<Pair>),
}

#[derive(Deserialize)]
struct Image {
    filename: String,
    #[serde(default)]
    filepath: String,
    split: String,
    sentences: Vec<Sentence>,
}

#[derive(Deserialize)]
struct Sentence {
    raw: String,
}

#[derive(Deserialize)]
struct Pair {
    image: String,
    caption: Captions,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Captions {
    One(String),
    Several(Vec<String>),
}

/// An image's name and its captions.
type Captioned = (String, Vec<String>);

pub(super) fn open(file: &Path, images: &Path, split: &str) -> Result<Listing> {
    let captioned = match read_json(file)? {
        CaptionFile::Karpathy { images } => of_split(images, split),
        CaptionFile::Blip(pairs) => by_image(pairs),
    };
    let row = |(name, texts): Captioned| Row {
        id: name.clone(),
        image: ImageAt::File(name.into()),
        texts,
        label: Label::None,
        cluster: 0,
    };
    let rows: Vec<Row> = captioned.into_iter().map(row).collect();
    let silent =
        |row: &&Row| row.texts.is_empty() || row.texts.iter().any(|text| text.trim().is_empty());
    if let Some(row) = rows.iter().find(silent) {
        let reason = format!("{} has no caption, or an empty one", row.id);
        return Err(Error::data(file, reason));
    }
    Listing::of_files(images, rows)
}

/// The images of a split.
fn of_split(images: Vec<Image>, split: &str) -> Vec<Captioned> {
    // Karpathy's "restval" is the rest of COCO's validation images, which all train on.
    let belongs = |of: &str| of == split || (split == "train" && of == "restval");
    let images = images.into_iter().filter(|image| belongs(&image.split));
    images.map(Image::captioned).collect()
}

impl Image {
    fn captioned(self) -> Captioned {
        let name = if self.filepath.is_empty() {
            self.filename
        } else {
            format!("{}/{}", self.filepath, self.filename)
        };
        let captions = self.sentences.into_iter().map(|sentence| sentence.raw);
        (name, captions.collect())
    }
}

/// One row for each image, in the order of their first occurrence.
fn by_image(pairs: Vec<Pair>) -> Vec<Captioned> {
    let mut rows: Vec<Captioned> = Vec::new();
    let mut positions: HashMap<String, usize> = HashMap::new();
    for Pair { image, caption } in pairs {
        let position = *positions.entry(image.clone()).or_insert_with(|| {
            rows.push((image, Vec::new()));
            rows.len() - 1
        });
        match caption {
            Captions::One(text) => rows[position].1.push(text),
            Captions::Several(texts) => rows[position].1.extend(texts),
        }
    }
    rows
}
