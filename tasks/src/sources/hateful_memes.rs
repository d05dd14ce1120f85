//! Hateful Memes: a line of JSON for each meme, its picture named relative to the lines' folder.

use std::{collections::HashSet, path::Path};

use serde::Deserialize;

use super::{
    Label,
    listing::{Listing, Picture, Row, read_json_lines},
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

pub(super) fn open(lines: &Path) -> Result<Listing> {
    let mut ids = HashSet::new();
    let mut rows = Vec::new();
    for (line, meme) in read_json_lines::<Meme>(lines)? {
        // Both 1 and "01" occur.
        let id = meme
            .id
            .as_str()
            .map_or_else(|| meme.id.to_string(), str::to_owned);
        if !ids.insert(id.clone()) {
            return Err(Error::data(
                lines,
                format!("line {line}: the id {id} is there twice"),
            ));
        }
        let label = match meme.label {
            Some(label) => Label::Class(super::checked_label(
                lines,
                &format!("line {line}"),
                label.into(),
                2,
            )?),
            None => Label::None,
        };
        rows.push(Row {
            id,
            picture: Picture::File(meme.img.into()),
            texts: vec![meme.text],
            label,
            cluster: 0,
        });
    }
    Listing::of_files(lines.parent().unwrap_or(Path::new(".")), rows)
}
