//! Karpathy's splits of COCO and Flickr30K: one JSON file of pictures with their captions and
//! split.
//!
//! Two shapes occur: Karpathy's own (`{"images": [{filename, filepath, split, sentences:
//! [{raw}]}]}`) and BLIP's, a file for each split (`[{image, caption: [..]}]`, training files with
//! a row for each caption).

use std::{collections::HashMap, path::Path};

use serde::Deserialize;

use super::{
    Label,
    listing::{Listing, Picture, Row, read_json},
};
use crate::{Error, Result};

#[derive(Deserialize)]
#[serde(untagged)]
enum File {
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

pub(super) fn open(file: &Path, images: &Path, split: &str) -> Result<Listing> {
    let rows = match read_json(file)? {
        File::Karpathy { images } => {
            // Karpathy's "restval" is the rest of COCO's validation pictures, which all train on.
            let belongs = |of: &str| of == split || (split == "train" && of == "restval");
            let row = |image: Image| {
                let name = if image.filepath.is_empty() {
                    image.filename
                } else {
                    format!("{}/{}", image.filepath, image.filename)
                };
                (
                    name,
                    image
                        .sentences
                        .into_iter()
                        .map(|sentence| sentence.raw)
                        .collect(),
                )
            };
            images
                .into_iter()
                .filter(|image| belongs(&image.split))
                .map(row)
                .collect()
        }
        File::Blip(pairs) => by_picture(pairs),
    };
    let row = |(name, texts): (String, Vec<String>)| Row {
        id: name.clone(),
        picture: Picture::File(name.into()),
        texts,
        label: Label::None,
        cluster: 0,
    };
    let rows: Vec<Row> = rows.into_iter().map(row).collect();
    if let Some(row) = rows
        .iter()
        .find(|row| row.texts.is_empty() || row.texts.iter().any(|text| text.trim().is_empty()))
    {
        return Err(Error::data(
            file,
            format!("{} has no caption, or an empty one", row.id),
        ));
    }
    Listing::of_files(images, rows)
}

/// One row for each picture, in the order of their first occurrence.
fn by_picture(pairs: Vec<Pair>) -> Vec<(String, Vec<String>)> {
    let mut rows: Vec<(String, Vec<String>)> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    for Pair { image, caption } in pairs {
        let place = *places.entry(image.clone()).or_insert_with(|| {
            rows.push((image, Vec::new()));
            rows.len() - 1
        });
        match caption {
            Captions::One(text) => rows[place].1.push(text),
            Captions::Several(texts) => rows[place].1.extend(texts),
        }
    }
    rows
}
