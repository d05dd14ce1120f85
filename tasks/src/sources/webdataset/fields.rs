//! A field of the JSON beside each image.

use std::{fs::File, os::unix::fs::FileExt, path::Path};

use serde_json::Value;

use super::{members::Members, side::MAX_SIDE};
use crate::{Error, Result};

/// What the samples of a shard of so many bytes have in a field of their `.json`, a text or a
/// number, by their keys.
///
/// # Errors
/// If the shard is broken, or a `.json` is none, has no such field, or something else in it.
pub(in super::super) fn json_fields(
    path: &Path,
    file: &File,
    length: u64,
    field: &str,
) -> Result<Vec<(String, String)>> {
    let members = Members::read(path, file, length)?;
    let mut told = Vec::new();
    for member in members
        .files
        .iter()
        .filter(|member| member.ending() == "json")
    {
        let wrong = |reason: String| Error::data(path, format!("{}: {reason}", member.name));
        if member.size > MAX_SIDE {
            return Err(wrong("is too large".into()));
        }
        let mut bytes = vec![0; member.size as usize];
        file.read_exact_at(&mut bytes, member.offset)
            .map_err(|e| Error::io(path, e))?;
        let text = flava_base::text_of(bytes).map_err(wrong)?;
        let object: Value = flava_base::json_of(&text).map_err(|e| wrong(e.to_string()))?;
        let id = match &object[field] {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            Value::Null => return Err(wrong(format!("has no {field}"))),
            other => return Err(wrong(format!("{field} is {other}"))),
        };
        told.push((member.key().to_owned(), id));
    }
    Ok(told)
}
