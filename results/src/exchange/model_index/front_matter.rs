//! The YAML front matter of a model card: what stands between two lines of three dashes at its
//! beginning.

use serde_json::{Map, Value};

use crate::{Error, Result};

/// Where the front matter of a card is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrontMatter {
    /// The first byte behind the opening line.
    pub(super) start: usize,
    /// The first byte of the closing line.
    pub(super) end: usize,
}

impl FrontMatter {
    /// That of a card; None where there is none.
    ///
    /// # Errors
    /// If it is opened and not closed, or where the Hub sees none though it looks like one.
    pub(super) fn find(card: &str) -> Result<Option<Self>> {
        if card.starts_with('\u{feff}') {
            return Err(broken("a byte order mark stands before it"));
        }
        let opening = card.len() - card.trim_start().len();
        let mut at = opening;
        let mut lines = card[opening..].split_inclusive('\n');
        match lines.next() {
            Some(line) if bare(line) == "---" && line.ends_with('\n') => at += line.len(),
            _ => return Ok(None),
        }
        let start = at;
        for line in lines {
            if bare(line) == "---" {
                return Ok(Some(Self { start, end: at }));
            }
            at += line.len();
        }
        Err(broken("the second line of three dashes is missing"))
    }
}

/// A line without its end.
pub(super) fn bare(line: &str) -> &str {
    let line = line.strip_suffix('\n').unwrap_or(line);
    line.strip_suffix('\r').unwrap_or(line)
}

/// The end of lines in a text: that of its first.
pub(super) fn line_end(text: &str) -> &'static str {
    match text.find('\n') {
        Some(at) if text[..at].ends_with('\r') => "\r\n",
        _ => "\n",
    }
}

/// What front matter says; without anything it is an empty map.
pub(super) fn parsed(yaml: &str) -> Result<Map<String, Value>> {
    let said = |line: &str| {
        let line = line.trim();
        !line.is_empty() && !line.starts_with('#')
    };
    if !yaml.lines().any(said) {
        return Ok(Map::new());
    }
    match serde_saphyr::from_str(yaml) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(_) => Err(broken("it holds no keys")),
        Err(error) => {
            let error = error.to_string();
            Err(broken(error.lines().next().unwrap_or_default()))
        }
    }
}

pub(super) fn broken(reason: &str) -> Error {
    let reason = format!("its front matter cannot be changed: {reason}");
    Error::file("README.md".as_ref(), reason)
}
