//! Which row of a file belongs to which row of a split.

use std::collections::HashMap;

use super::file::GivenFile;
use crate::Result;

/// What a file is to have rows of.
pub(super) struct Expected {
    /// Such as `split train`.
    pub(super) of: String,
    pub(super) count: usize,
    /// What they are called; empty where nobody knows.
    pub(super) ids: Vec<String>,
}

/// The row of a file for each row of what was expected.
#[derive(Debug)]
pub(super) struct RowOrder {
    pub(super) rows: Vec<usize>,
    /// Rows of the file that are nobody's.
    pub(super) surplus: usize,
    /// Whether the rows were found by their ids.
    pub(super) by_id: bool,
}

impl RowOrder {
    /// Rows by their ids, where the file has them; else as they stand.
    ///
    /// # Errors
    /// If a row is missing, or is there twice.
    pub(super) fn of(file: &GivenFile, expected: &Expected) -> Result<Self> {
        let Some(ids) = file.ids() else {
            return Self::as_they_stand(file, expected);
        };
        let (of, count) = (&expected.of, expected.count);
        if expected.ids.is_empty() && count > 0 {
            let reason = format!("has ids, but those of the {of} are not known: leave them out");
            return Err(file.wrong(reason));
        }
        let mut rows_of: HashMap<&str, usize> = HashMap::with_capacity(ids.len());
        for (row, id) in ids.iter().enumerate() {
            if let Some(first) = rows_of.insert(id, row) {
                let reason = format!("rows {first} and {row} (from 0) have the same id {id:?}");
                return Err(file.wrong(reason));
            }
        }
        let found: Vec<Option<usize>> = expected
            .ids
            .iter()
            .map(|id| rows_of.get(id.as_str()).copied())
            .collect();
        let missing = found.iter().filter(|row| row.is_none()).count();
        if let Some(first) = found.iter().position(Option::is_none) {
            let first = &expected.ids[first];
            let reason = format!("lacks {missing} of {count} ids of the {of}, such as {first:?}");
            return Err(file.wrong(reason));
        }
        let rows: Vec<usize> = found.into_iter().flatten().collect();
        Ok(Self {
            surplus: ids.len() - rows.len().min(ids.len()),
            rows,
            by_id: true,
        })
    }

    fn as_they_stand(file: &GivenFile, expected: &Expected) -> Result<Self> {
        let (have, count, of) = (file.rows(), expected.count, &expected.of);
        if have != count {
            let reason = format!("has {have} rows and no ids, for the {count} rows of the {of}");
            return Err(file.wrong(reason));
        }
        Ok(Self {
            rows: (0..count).collect(),
            surplus: 0,
            by_id: false,
        })
    }
}
