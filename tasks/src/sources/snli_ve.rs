//! SNLI-VE: a line of JSON for each hypothesis about an image of Flickr30K.
//!
//! The image's key is `Flickr30K_ID` in the generator, `Flickr30kID` in its README and
//! `Flikr30kID` in the files of some copies; with and without `.jpg`. `sentence1` is a caption of
//! the image and no part of the task.

use std::path::Path;

use serde::Deserialize;

use super::{
    dataset::Label,
    listing::{ImageAt, Listing, Row},
    reading::read_json_lines,
};
use crate::{Error, Result};

#[derive(Deserialize)]
struct Hypothesis {
    #[serde(alias = "Flickr30kID", alias = "Flikr30kID", rename = "Flickr30K_ID")]
    image: serde_json::Value,
    #[serde(alias = "sentence", alias = "hypothesis")]
    sentence2: String,
    gold_label: String,
    #[serde(rename = "pairID")]
    pair: Option<String>,
}

/// The classes in the order of the labels.
pub(super) const CLASSES: [&str; 3] = ["entailment", "neutral", "contradiction"];

impl Hypothesis {
    /// The row of the hypothesis on a line of that number.
    fn row(self, number: usize) -> std::result::Result<Row, String> {
        let label = CLASSES.iter().position(|class| *class == self.gold_label);
        let label = label.ok_or_else(|| {
            let (label, classes) = (&self.gold_label, CLASSES.join(", "));
            format!("line {number}: gold_label {label:?} is none of {classes}")
        })?;
        let name = self.image.as_str();
        let name = name.map_or_else(|| self.image.to_string(), str::to_owned);
        let name = format!("{}.jpg", name.strip_suffix(".jpg").unwrap_or(&name));
        // Pair ids name the caption and its author; the generator gives the same one to several
        // hypotheses of some captions.
        let id = self
            .pair
            .map_or_else(|| number.to_string(), |pair| format!("{number}:{pair}"));
        Ok(Row {
            id,
            image: ImageAt::File(name.into()),
            texts: vec![self.sentence2],
            label: Label::Class(label),
            cluster: 0,
        })
    }
}

pub(super) fn open(lines: &Path, images: &Path) -> Result<Listing> {
    let mut rows = Vec::new();
    for (number, hypothesis) in read_json_lines::<Hypothesis>(lines)? {
        let row = hypothesis.row(number);
        rows.push(row.map_err(|reason| Error::data(lines, reason))?);
    }
    let names = CLASSES.iter().map(|class| (*class).to_owned()).collect();
    Ok(Listing::of_files(images, rows)?.with_class_names(names))
}
