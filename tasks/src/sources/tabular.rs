//! Files of rows with named columns, whichever they are: parquet, or tables of text.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    dataset::Dataset,
    parquet::{self, is_parquet},
    table::{self, TableDataset, TableReading},
};
use crate::{Columns, Error, Result};

/// The names of a file's columns.
///
/// # Errors
/// If it cannot be read.
pub(super) fn column_names(file: &Path) -> Result<Vec<String>> {
    if is_parquet(file) {
        parquet::column_names(file)
    } else {
        table::column_names(&[file.to_owned()])
    }
}

/// The rows of files of one kind, of no split in particular.
///
/// # Errors
/// If a file cannot be read or lacks a column.
pub(super) fn open_rows(
    files: &[PathBuf],
    columns: &Columns,
    is_parquet: bool,
    root: &Path,
) -> Result<Arc<dyn Dataset>> {
    if is_parquet {
        let rows = parquet::ParquetDataset::open(files, columns, "", 0, root)?;
        return Ok(Arc::new(rows));
    }
    let reading = TableReading {
        columns,
        images: None,
        split: "",
        classes: 0,
        checked: true,
    };
    Ok(Arc::new(TableDataset::open(files, &reading)?))
}

/// What stands in the column `column.label` of each row of a split.
///
/// # Errors
/// If a file cannot be read or lacks the column, or a row has nothing in it.
pub(super) fn column_of(
    files: &[PathBuf],
    column: &Columns,
    split: &str,
    is_parquet: bool,
    root: &Path,
) -> Result<Vec<String>> {
    let values = if is_parquet {
        parquet::column_values(files, column, split)?
    } else {
        table::column_values(files, column, split)?
    };
    let named = |(row, value): (usize, Option<String>)| {
        let name = &column.label;
        let empty = || Error::data(root, format!("row {row}: {name} is empty"));
        value.ok_or_else(empty)
    };
    values.into_iter().enumerate().map(named).collect()
}
