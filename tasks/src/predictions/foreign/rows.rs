//! Files of rows: CSV, TSV, JSON and JSON lines.

use std::{collections::BTreeSet, path::Path};

use serde_json::{Map, Value};

use crate::{
    Error, Result,
    predictions::{
        logits::Logits,
        roles::{LOGITS, PROBABILITY},
    },
};

/// Largest file of predictions.
const MAX_BYTES: u64 = 8 << 30;

/// A row's cells by their columns, in lower case.
type Row = Map<String, Value>;

/// The rows of a file.
pub(super) struct FileRows<'a> {
    path: &'a Path,
    rows: Vec<Row>,
}

impl<'a> FileRows<'a> {
    pub(super) fn delimited(path: &'a Path, delimiter: u8) -> Result<Self> {
        let broken = |e: csv::Error| Error::data(path, e);
        let text = flava_base::read_text(path, MAX_BYTES)?;
        let mut reader = csv::ReaderBuilder::new()
            .delimiter(delimiter)
            .quoting(delimiter == b',')
            .from_reader(text.as_bytes());
        let names = reader.headers().map_err(broken)?.clone();
        let row = |row: csv::Result<csv::StringRecord>| {
            let row = row.map_err(broken)?;
            let cell =
                |(name, cell): (&str, &str)| (name.to_owned(), Value::String(cell.to_owned()));
            lowered(path, "the head", names.iter().zip(row.iter()).map(cell))
        };
        let rows = reader.records().map(row).collect::<Result<_>>()?;
        Ok(Self { path, rows })
    }

    pub(super) fn json(path: &'a Path) -> Result<Self> {
        let rows: Vec<Row> = flava_base::read_json(path, MAX_BYTES)?;
        let row = |(row, cells): (usize, Row)| {
            lowered(path, &format!("prediction {}", row + 1), cells.into_iter())
        };
        let rows = rows
            .into_iter()
            .enumerate()
            .map(row)
            .collect::<Result<_>>()?;
        Ok(Self { path, rows })
    }

    pub(super) fn json_lines(path: &'a Path) -> Result<Self> {
        let text = flava_base::read_text(path, MAX_BYTES)?;
        let lines = text
            .lines()
            .enumerate()
            .filter(|(_, line)| !line.trim().is_empty());
        let row = |(number, line): (usize, &str)| {
            let position = format!("line {}", number + 1);
            let cells: Row = flava_base::json_of(line)
                .map_err(|e| Error::data(path, format!("{position}: {e}")))?;
            lowered(path, &position, cells.into_iter())
        };
        let rows = lines.map(row).collect::<Result<_>>()?;
        Ok(Self { path, rows })
    }

    pub(super) fn path(&self) -> &'a Path {
        self.path
    }

    fn broken(&self, reason: impl ToString) -> Error {
        Error::data(self.path, reason)
    }

    /// The names of all columns.
    ///
    /// # Errors
    /// If there are no rows.
    pub(super) fn columns(&self) -> Result<Vec<String>> {
        if self.rows.is_empty() {
            return Err(self.broken("holds no predictions"));
        }
        let columns: BTreeSet<&String> = self.rows.iter().flat_map(Row::keys).collect();
        Ok(columns.into_iter().cloned().collect())
    }

    fn cell(&self, row: usize, name: &str) -> Result<String> {
        match self.rows[row].get(name) {
            None | Some(Value::Null) => {
                Err(self.broken(format!("prediction {} has no {name}", row + 1)))
            }
            Some(Value::String(text)) => Ok(text.clone()),
            Some(other) => Ok(other.to_string()),
        }
    }

    /// A column as texts.
    pub(super) fn cells(&self, name: &str) -> Result<Vec<String>> {
        (0..self.rows.len())
            .map(|row| self.cell(row, name))
            .collect()
    }

    /// The column of probabilities.
    pub(super) fn probabilities(&self, ids: &[String]) -> Result<Vec<f64>> {
        let number = |(text, id): (&String, &String)| {
            text.trim()
                .parse::<f64>()
                .map_err(|_| self.broken(format!("{id}: {text:?} is no number")))
        };
        let texts = self.cells(PROBABILITY)?;
        texts.iter().zip(ids).map(number).collect()
    }

    /// The column of logits: a list of numbers for each row, or a text of them.
    pub(super) fn logits(&self, ids: &[String]) -> Result<Logits> {
        let (mut values, mut classes) = (Vec::new(), 0);
        for (row, id) in ids.iter().enumerate() {
            let own = self.logits_of(row, id)?;
            let have = own.len();
            if row > 0 && have != classes {
                let reason = format!("{id} has {have} logits where others have {classes}");
                return Err(self.broken(reason));
            }
            classes = have;
            values.extend(own);
        }
        Logits::new(values, classes, ids).map_err(|e| self.broken(e))
    }

    fn logits_of(&self, row: usize, id: &str) -> Result<Vec<f32>> {
        let number = |text: &str| {
            text.trim()
                .parse::<f32>()
                .map_err(|_| self.broken(format!("{id}: {text:?} is no number")))
        };
        if let Some(Value::Array(list)) = self.rows[row].get(LOGITS) {
            return list
                .iter()
                .map(|value| number(&value.to_string()))
                .collect();
        }
        let text = self.cell(row, LOGITS)?;
        let numbers = text.trim_matches(['[', ']', ' ']).split([',', ' ', ';']);
        let numbers = numbers.filter(|number| !number.is_empty());
        numbers.map(number).collect()
    }
}

/// A row with its names in lower case.
///
/// # Errors
/// If two of them are the same then.
fn lowered(
    path: &Path,
    position: &str,
    cells: impl Iterator<Item = (String, Value)>,
) -> Result<Row> {
    let mut row = Row::new();
    for (name, value) in cells {
        let name = name.trim().to_lowercase();
        if row.insert(name.clone(), value).is_some() {
            return Err(Error::data(path, format!("{position} has {name} twice")));
        }
    }
    Ok(row)
}
