//! Values of parquet columns as plain ones, whichever of the usual types they have.

use std::path::Path;

use arrow_array::{Array, ArrayRef, Float64Array, Int64Array, StringArray, cast::AsArray};
use arrow_cast::cast;
use arrow_schema::DataType;

use super::{Label, checked_label};
use crate::{Columns, Error, Result};

/// Fields that hold the text of a struct in a list of answers or captions.
const TEXT_FIELDS: [&str; 3] = ["answer", "raw", "caption"];

/// A column of ids as texts.
pub(super) fn as_text(path: &Path, name: &str, column: &ArrayRef) -> Result<StringArray> {
    let plain = column.data_type().is_integer() || matches!(column.data_type(), DataType::Utf8 | DataType::LargeUtf8);
    if !plain || column.null_count() > 0 {
        return Err(Error::data(path, format!("column {name} is {} with {} nulls, not ids", column.data_type(), column.null_count())));
    }
    Ok(cast(column, &DataType::Utf8).map_err(|e| Error::data(path, e))?.as_string::<i32>().clone())
}

/// One text, or several of a list.
pub(super) fn strings(path: &Path, place: &str, column: &ArrayRef, row: usize) -> Result<Vec<String>> {
    if column.is_null(row) {
        return Err(Error::data(path, format!("{place}: the text is null")));
    }
    match column.data_type() {
        DataType::Utf8 => Ok(vec![column.as_string::<i32>().value(row).to_owned()]),
        DataType::LargeUtf8 => Ok(vec![column.as_string::<i64>().value(row).to_owned()]),
        DataType::List(_) => all_strings(path, place, &column.as_list::<i32>().value(row)),
        DataType::LargeList(_) => all_strings(path, place, &column.as_list::<i64>().value(row)),
        // A list of structs that `datasets` wrote as a struct of lists.
        DataType::Struct(_) => {
            let fields = column.as_struct();
            let field = TEXT_FIELDS.iter().find_map(|name| fields.column_by_name(name));
            field.map_or_else(|| Err(not_text(path, place, column)), |field| strings(path, place, field, row))
        }
        _ => Err(not_text(path, place, column)),
    }
}

fn all_strings(path: &Path, place: &str, items: &ArrayRef) -> Result<Vec<String>> {
    (0..items.len()).map(|item| Ok(strings(path, place, items, item)?.swap_remove(0))).collect()
}

fn not_text(path: &Path, place: &str, column: &ArrayRef) -> Error {
    Error::data(path, format!("{place}: {} is no text and no list of texts", column.data_type()))
}

/// A column of labels.
pub(super) enum Labels {
    Classes(Int64Array, usize),
    Values(Float64Array),
    Names(StringArray, Vec<String>),
}

impl Labels {
    pub(super) fn new(path: &Path, columns: &Columns, column: &ArrayRef, classes: usize) -> Result<Self> {
        let kind = column.data_type();
        let to = |kind| cast(column, &kind).map_err(|e| Error::data(path, e));
        let number = kind.is_integer() || kind.is_floating();
        if number && classes == 0 {
            return Ok(Self::Values(to(DataType::Float64)?.as_primitive::<arrow_array::types::Float64Type>().clone()));
        }
        if kind.is_integer() {
            return Ok(Self::Classes(to(DataType::Int64)?.as_primitive::<arrow_array::types::Int64Type>().clone(), classes));
        }
        let text = matches!(kind, DataType::Utf8 | DataType::LargeUtf8);
        if text && !columns.label_names.is_empty() {
            return Ok(Self::Names(to(DataType::Utf8)?.as_string::<i32>().clone(), columns.label_names.clone()));
        }
        let hint = if text { "; label_names in the task's row would say what its texts mean" } else { "" };
        Err(Error::data(path, format!("column {} is {kind}, not an integer{hint}", columns.label)))
    }

    pub(super) fn get(&self, path: &Path, place: &str, row: usize) -> Result<Label> {
        let null = match self {
            Self::Classes(column, _) => column.is_null(row),
            Self::Values(column) => column.is_null(row),
            Self::Names(column, _) => column.is_null(row),
        };
        if null {
            return Err(Error::data(path, format!("{place}: the label is null")));
        }
        Ok(match self {
            Self::Classes(column, classes) => Label::Class(checked_label(path, place, column.value(row), *classes)?),
            Self::Values(column) => Label::Value(column.value(row)),
            Self::Names(column, names) => {
                let value = column.value(row);
                let class = names.iter().position(|name| name == value);
                Label::Class(class.ok_or_else(|| Error::data(path, format!("{place}: label {value:?} is none of {}", names.join(", "))))?)
            }
        })
    }
}
