//! Cells of a table as texts, labels and answers.

use serde_json::Value;

use super::records::Record;
use crate::{
    Columns,
    sources::{dataset::Label, patterns::fits, reading::listed},
};

/// Keys that hold the text of an object in a list of answers or captions.
const TEXT_KEYS: [&str; 3] = ["answer", "raw", "caption"];

/// A value of a cell, or what is wrong with it.
type OfCell<T> = std::result::Result<T, String>;

/// The columns that have a name, or fit a pattern with a star, those of numbers in their order.
pub(super) fn columns_of(names: &[String], pattern: &str) -> Vec<String> {
    if !pattern.contains('*') {
        return vec![pattern.to_owned()];
    }
    let mut found: Vec<String> = names
        .iter()
        .filter(|name| fits(pattern, name) || fits(pattern, &name.to_lowercase()))
        .cloned()
        .collect();
    let number = |name: &String| {
        let digits: String = name.chars().filter(char::is_ascii_digit).collect();
        digits.parse::<u64>().unwrap_or(0)
    };
    found.sort_by_key(number);
    found
}

impl Record {
    /// The cell of a column; None where it is empty or null.
    ///
    /// # Errors
    /// Where the row has no such column.
    pub(super) fn cell(&self, names: &[String], column: &str) -> OfCell<Option<Value>> {
        let cell = match self {
            Self::Fields(fields) => {
                let place = names.iter().position(|name| name == column);
                let field = place.and_then(|place| fields.get(place));
                field.map(|field| Value::String(field.to_owned()))
            }
            Self::Object(object) => object.get(column).cloned(),
        };
        match cell {
            None => Err(format!("has no column {column}")),
            Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if text.trim().is_empty() => Ok(None),
            Some(cell) => Ok(Some(cell)),
        }
    }

    /// The cell of a column that must hold something.
    fn filled(&self, names: &[String], column: &str) -> OfCell<Value> {
        self.cell(names, column)?
            .ok_or_else(|| format!("column {column}: is empty"))
    }

    /// A cell as one text.
    pub(super) fn text(&self, names: &[String], column: &str) -> OfCell<String> {
        let cell = self.filled(names, column)?;
        plain(&cell).ok_or_else(|| format!("column {column}: {} is no text", kind_of(&cell)))
    }

    /// The texts of a column, or of all that fit a pattern: lists, or one each; empty cells of a
    /// pattern are none.
    pub(super) fn texts(&self, names: &[String], pattern: &str) -> OfCell<Vec<String>> {
        let mut texts = Vec::new();
        for column in columns_of(names, pattern) {
            if let Some(cell) = self.cell(names, &column)? {
                let all = all_texts(&cell).map_err(|e| format!("column {column}: {e}"))?;
                texts.extend(all);
            }
        }
        if texts.is_empty() {
            return Err(format!("column {pattern}: is empty"));
        }
        Ok(texts)
    }

    /// What is right for the row: a class by its name where the names are known, its number below
    /// `classes`, or a value where there are no classes.
    pub(super) fn label(
        &self,
        names: &[String],
        columns: &Columns,
        classes: usize,
    ) -> OfCell<Label> {
        let column = &columns.label;
        let text = self.text(names, column)?;
        let wrong = |reason: String| format!("column {column}: {reason}");
        if !columns.label_names.is_empty() {
            let class = columns.label_names.iter().position(|name| *name == text);
            let known = || {
                let known = listed(&columns.label_names);
                wrong(format!("the label {text:?} is none of {known}"))
            };
            return class.map(Label::Class).ok_or_else(known);
        }
        let number = number_of(&text).ok_or_else(|| wrong(format!("{text:?} is no number")))?;
        if classes == 0 {
            return Ok(Label::Value(number));
        }
        let most = classes - 1;
        if number.fract() == 0.0 && number >= 0.0 && number <= most as f64 {
            return Ok(Label::Class(number as usize));
        }
        Err(wrong(format!(
            "the label {text} is none of the {classes} classes 0 to {most}"
        )))
    }
}

/// A finite number, or a truth value as 0 or 1.
pub(crate) fn number_of(text: &str) -> Option<f64> {
    match text.trim() {
        "true" | "True" | "TRUE" => Some(1.0),
        "false" | "False" | "FALSE" => Some(0.0),
        text => text.parse().ok().filter(|value: &f64| value.is_finite()),
    }
}

/// A text, number or truth value as text.
fn plain(cell: &Value) -> Option<String> {
    match cell {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(is) => Some(is.to_string()),
        _ => None,
    }
}

/// The texts of a list, of objects that hold one each, or the one text.
fn all_texts(cell: &Value) -> OfCell<Vec<String>> {
    match cell {
        Value::Array(all) => all.iter().map(one_text).collect(),
        Value::String(text) if text.trim_start().starts_with('[') => of_written_list(text),
        one => Ok(vec![one_text(one)?]),
    }
}

fn one_text(cell: &Value) -> OfCell<String> {
    let inner = match cell {
        Value::Object(object) => TEXT_KEYS.iter().find_map(|key| object.get(*key)),
        other => Some(other),
    };
    let text = inner.and_then(plain).filter(|text| !text.trim().is_empty());
    text.ok_or_else(|| format!("{} is no text and no list of texts", kind_of(cell)))
}

/// A list that was written into a field: as JSON it is read, as Python prints it it cannot be.
fn of_written_list(text: &str) -> OfCell<Vec<String>> {
    match serde_json::from_str::<Value>(text) {
        Ok(Value::Array(all)) => all.iter().map(one_text).collect(),
        _ if text.trim_end().ends_with(']') => Err(
            "holds a list as Python prints it; write JSON lines (to_json), or a row for each text"
                .into(),
        ),
        _ => Ok(vec![text.to_owned()]),
    }
}

fn kind_of(cell: &Value) -> &'static str {
    match cell {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "an empty text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
