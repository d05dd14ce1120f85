//! Values of parquet columns as plain ones: each column is cast to the one type that is wanted,
//! whichever of its kin it has.

use std::{path::Path, sync::Arc};

use arrow_array::{
    Array, ArrayRef, BooleanArray, Float64Array, Int64Array, LargeStringArray,
    cast::AsArray,
    types::{Float64Type, Int64Type},
};
use arrow_cast::cast;
use arrow_schema::DataType;

use super::super::dataset::{Label, checked_label};
use crate::{Columns, Error, Result};

/// Fields that hold the text of a struct in a list of answers or captions.
const TEXT_FIELDS: [&str; 3] = ["answer", "raw", "caption"];

/// The type of a column's values, whether or not they are stored through a dictionary.
pub(super) fn value_type(kind: &DataType) -> &DataType {
    if let DataType::Dictionary(_, values) = kind {
        value_type(values)
    } else {
        kind
    }
}

fn is_text(kind: &DataType) -> bool {
    matches!(
        value_type(kind),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
    )
}

/// Whether values are plain bytes.
pub(super) fn is_binary(kind: &DataType) -> bool {
    use DataType::{Binary, BinaryView, FixedSizeBinary, LargeBinary};
    matches!(
        value_type(kind),
        Binary | LargeBinary | BinaryView | FixedSizeBinary(_)
    )
}

/// A column of texts or bytes as one type.
pub(super) fn cast_to(
    path: &Path,
    name: &str,
    column: &ArrayRef,
    kind: &DataType,
) -> Result<ArrayRef> {
    if column.data_type() == kind {
        return Ok(Arc::clone(column));
    }
    cast(column, kind).map_err(|e| Error::data(path, format!("column {name}: {e}")))
}

/// A column of ids as texts.
pub(super) fn as_text(path: &Path, name: &str, column: &ArrayRef) -> Result<LargeStringArray> {
    let kind = column.data_type();
    let plain = value_type(kind).is_integer() || is_text(kind);
    let nulls = column.logical_null_count();
    if !plain || nulls > 0 {
        return Err(Error::data(
            path,
            format!("column {name} is {kind} with {nulls} nulls, not ids"),
        ));
    }
    Ok(cast_to(path, name, column, &DataType::LargeUtf8)?
        .as_string::<i64>()
        .clone())
}

/// A column of texts, or of lists of texts.
pub(super) struct Texts {
    /// One array of texts, or of each row one.
    column: ArrayRef,
    name: String,
}

impl Texts {
    pub(super) fn new(path: &Path, name: &str, column: &ArrayRef) -> Result<Self> {
        let column = if is_text(column.data_type()) {
            cast_to(path, name, column, &DataType::LargeUtf8)?
        } else {
            Arc::clone(column)
        };
        Ok(Self {
            column,
            name: name.to_owned(),
        })
    }

    pub(super) fn is_null(&self, row: usize) -> bool {
        self.column.is_null(row)
    }

    /// The text of a row, or all of its list.
    pub(super) fn get(&self, path: &Path, location: &str, row: usize) -> Result<Vec<String>> {
        strings(
            path,
            &format!("{location}, column {}", self.name),
            &self.column,
            row,
        )
    }
}

fn strings(path: &Path, location: &str, column: &ArrayRef, row: usize) -> Result<Vec<String>> {
    if column.is_null(row) {
        return Err(Error::data(path, format!("{location}: the text is null")));
    }
    match column.data_type() {
        DataType::LargeUtf8 => Ok(vec![column.as_string::<i64>().value(row).to_owned()]),
        kind if is_text(kind) => {
            let text = cast_to(path, location, &column.slice(row, 1), &DataType::LargeUtf8)?;
            strings(path, location, &text, 0)
        }
        DataType::List(_) => all_strings(path, location, &column.as_list::<i32>().value(row)),
        DataType::LargeList(_) => all_strings(path, location, &column.as_list::<i64>().value(row)),
        DataType::FixedSizeList(..) => {
            all_strings(path, location, &column.as_fixed_size_list().value(row))
        }
        // A list of structs that `datasets` wrote as a struct of lists.
        DataType::Struct(_) => {
            let fields = column.as_struct();
            let mut named = TEXT_FIELDS
                .iter()
                .filter_map(|name| fields.column_by_name(name));
            let field = named
                .next()
                .ok_or_else(|| not_text(path, location, column))?;
            strings(path, location, field, row)
        }
        _ => Err(not_text(path, location, column)),
    }
}

fn all_strings(path: &Path, location: &str, items: &ArrayRef) -> Result<Vec<String>> {
    let items = if is_text(items.data_type()) {
        cast_to(path, location, items, &DataType::LargeUtf8)?
    } else {
        Arc::clone(items)
    };
    let mut all = Vec::with_capacity(items.len());
    for item in 0..items.len() {
        all.extend(strings(path, location, &items, item)?);
    }
    Ok(all)
}

fn not_text(path: &Path, location: &str, column: &ArrayRef) -> Error {
    Error::data(
        path,
        format!(
            "{location}: {} is no text and no list of texts",
            column.data_type()
        ),
    )
}

/// A column of labels.
pub(super) enum Labels {
    Classes(Int64Array, usize),
    Booleans(BooleanArray, usize),
    /// Whole numbers that are stored as others.
    WholeFloats(Float64Array, usize),
    Values(Float64Array),
    Names(LargeStringArray, Vec<String>),
}

impl Labels {
    pub(super) fn new(
        path: &Path,
        columns: &Columns,
        column: &ArrayRef,
        classes: usize,
    ) -> Result<Self> {
        let name = &columns.label;
        let to = |kind| cast_to(path, name, column, &kind);
        Ok(match value_type(column.data_type()) {
            kind if kind.is_integer() && classes > 0 => {
                let column = to(DataType::Int64)?;
                Self::Classes(column.as_primitive::<Int64Type>().clone(), classes)
            }
            kind if kind.is_integer() || kind.is_floating() => {
                let column = to(DataType::Float64)?.as_primitive::<Float64Type>().clone();
                if classes == 0 {
                    Self::Values(column)
                } else {
                    Self::WholeFloats(column, classes)
                }
            }
            DataType::Boolean if classes > 0 => {
                Self::Booleans(to(DataType::Boolean)?.as_boolean().clone(), classes)
            }
            kind if is_text(kind) && !columns.label_names.is_empty() => {
                let column = to(DataType::LargeUtf8)?.as_string::<i64>().clone();
                Self::Names(column, columns.label_names.clone())
            }
            kind => return Err(not_labels(path, name, column.data_type(), is_text(kind))),
        })
    }

    fn is_null(&self, row: usize) -> bool {
        match self {
            Self::Classes(column, _) => column.is_null(row),
            Self::Booleans(column, _) => column.is_null(row),
            Self::WholeFloats(column, _) | Self::Values(column) => column.is_null(row),
            Self::Names(column, _) => column.is_null(row),
        }
    }

    pub(super) fn get(&self, path: &Path, location: &str, row: usize) -> Result<Label> {
        let wrong = |reason: String| Error::data(path, format!("{location}: {reason}"));
        if self.is_null(row) {
            return Err(wrong("the label is null".into()));
        }
        let (class, classes) = match self {
            Self::Classes(column, classes) => (column.value(row), *classes),
            Self::Booleans(column, classes) => (column.value(row).into(), *classes),
            Self::WholeFloats(column, classes) => {
                (whole(column.value(row)).map_err(wrong)?, *classes)
            }
            Self::Values(column) => {
                let value = finite(column.value(row)).map_err(wrong)?;
                return Ok(Label::Value(value));
            }
            Self::Names(column, names) => {
                let class = class_of(column.value(row), names).map_err(wrong)?;
                return Ok(Label::Class(class));
            }
        };
        Ok(Label::Class(checked_label(path, location, class, classes)?))
    }
}

fn not_labels(path: &Path, name: &str, kind: &DataType, is_text: bool) -> Error {
    let hint = if is_text {
        "; label_names in the task's row would say what its texts mean"
    } else {
        ""
    };
    Error::data(
        path,
        format!("column {name} is {kind}, not an integer{hint}"),
    )
}

/// A value, or why it is no label.
type OfValue<T> = std::result::Result<T, String>;

fn whole(value: f64) -> OfValue<i64> {
    // Whole numbers up to here are exact.
    if value.fract() != 0.0 || value.abs() > f64::from(u32::MAX) {
        return Err(format!("the label {value} is no whole number"));
    }
    Ok(value as i64)
}

fn finite(value: f64) -> OfValue<f64> {
    if value.is_finite() {
        Ok(value)
    } else {
        Err(format!("the label is {value}"))
    }
}

fn class_of(value: &str, names: &[String]) -> OfValue<usize> {
    let class = names.iter().position(|name| name == value);
    class.ok_or_else(|| format!("label {value:?} is none of {}", names.join(", ")))
}
