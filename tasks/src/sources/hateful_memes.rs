//! Hateful Memes: a line of JSON for each meme, its image named relative to the lines' folder.

use std::{collections::HashSet, path::Path};

use serde::Deserialize;

use super::{
    dataset::{Label, checked_label},
    listing::{ImageAt, Listing, Row},
    reading::read_json_lines,
};
use crate::{Error, Result};

/// A line; the hidden test sets have no label.
#[derive(Deserialize)]
struct Meme {
    id: serde_json::Value,
    img: String,
    text: String,
    label: Option<u8>,
}

impl Meme {
    /// The row of the meme on a line of `lines`.
    fn row(self, lines: &Path, line: usize) -> Result<Row> {
        let label = match self.label {
            Some(label) => {
                let position = format!("line {line}");
                Label::Class(checked_label(lines, &position, label.into(), 2)?)
            }
            None => Label::None,
        };
        Ok(Row {
            id: self.id(),
            image: ImageAt::File(self.img.into()),
            texts: vec![self.text],
            label,
            cluster: 0,
        })
    }

    /// Both 1 and "01" occur.
    fn id(&self) -> String {
        let text = self.id.as_str();
        text.map_or_else(|| self.id.to_string(), str::to_owned)
    }
}

pub(super) fn open(lines: &Path) -> Result<Listing> {
    let mut ids = HashSet::new();
    let mut rows = Vec::new();
    for (line, meme) in read_json_lines::<Meme>(lines)? {
        let id = meme.id();
        if !ids.insert(id.clone()) {
            return Err(Error::data(
                lines,
                format!("line {line}: the id {id} is there twice"),
            ));
        }
        rows.push(meme.row(lines, line)?);
    }
    Listing::of_files(lines.parent().unwrap_or(Path::new(".")), rows)
}
