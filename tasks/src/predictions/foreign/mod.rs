//! Predictions that another program made: ids with logits, labels, numbers or answers, as parquet,
//! CSV, TSV, JSON or JSON lines.

mod classes;
mod matched;
mod positions;
mod rows;

use std::path::{Path, PathBuf};

use self::rows::FileRows;
use super::{
    logits::Logits,
    roles::{LOGITS, PAIR_ID, PROBABILITY, Roles},
    table::Table,
};
use crate::{Error, Result};

/// Predictions of a file, not yet compared with a task's rows.
#[derive(Debug)]
pub struct Foreign {
    path: PathBuf,
    ids: Vec<String>,
    /// Whether the ids are SNLI-VE's own.
    pairs: bool,
    /// Class numbers or names, numbers, or words.
    answers: Option<Vec<String>>,
    logits: Option<Logits>,
}

impl Foreign {
    /// Reads a file by its ending.
    pub fn read(path: &Path) -> Result<Self> {
        let ending = path
            .extension()
            .map(|e| e.to_string_lossy().to_lowercase())
            .unwrap_or_default();
        match ending.as_str() {
            "parquet" => Self::from_parquet(path),
            "csv" => Self::from_rows(&FileRows::delimited(path, b',')?),
            "tsv" => Self::from_rows(&FileRows::delimited(path, b'\t')?),
            "json" => Self::from_rows(&FileRows::json(path)?),
            "jsonl" => Self::from_rows(&FileRows::json_lines(path)?),
            _ => Err(Error::data(
                path,
                "is none of .parquet, .csv, .tsv, .json, .jsonl",
            )),
        }
    }

    fn from_parquet(path: &Path) -> Result<Self> {
        let table = Table::open(path)?;
        let names = table.names();
        let lower = names.iter().map(|name| name.trim().to_lowercase());
        let roles = Roles::of(&lower.collect::<Vec<_>>()).map_err(|reason| table.broken(reason))?;
        let texts = |role: &str| table.strings(&table.named(role));
        let ids = texts(&roles.id)?;
        let answers = roles.answer.as_deref().map(texts).transpose()?;
        let logits = if roles.logits {
            Some(table.logits(&table.named(LOGITS), &ids)?)
        } else if roles.probability {
            let values = table.floats(&table.named(PROBABILITY))?;
            Some(of_probabilities(path, &ids, &values)?)
        } else {
            None
        };
        let found = Self {
            path: path.to_owned(),
            pairs: roles.id == PAIR_ID,
            ids,
            answers,
            logits,
        };
        found.checked(&roles)
    }

    fn from_rows(rows: &FileRows) -> Result<Self> {
        let path = rows.path();
        let roles = Roles::of(&rows.columns()?).map_err(|reason| Error::data(path, reason))?;
        let ids = rows.cells(&roles.id)?;
        let logits = if roles.logits {
            Some(rows.logits(&ids)?)
        } else if roles.probability {
            Some(of_probabilities(path, &ids, &rows.probabilities(&ids)?)?)
        } else {
            None
        };
        let answers = roles.answer.as_deref().map(|name| rows.cells(name));
        let found = Self {
            path: path.to_owned(),
            pairs: roles.id == PAIR_ID,
            answers: answers.transpose()?,
            ids,
            logits,
        };
        found.checked(&roles)
    }

    /// Itself, if each id has an answer, and the answers are not the truth.
    fn checked(self, roles: &Roles) -> Result<Self> {
        let Some(answers) = &self.answers else {
            return Ok(self);
        };
        let (count, ids) = (answers.len(), self.ids.len());
        if count != ids {
            return Err(self.broken(format!("has {count} answers for {ids} ids")));
        }
        if let (true, Some(logits)) = (roles.doubtful, &self.logits) {
            let differs = |(answer, best): (&String, usize)| answer.trim() != best.to_string();
            if let Some(row) = answers.iter().zip(logits.best()).position(differs) {
                let column = roles.answer.as_deref().unwrap_or_default();
                let reason = format!(
                    "{column} is not what {PROBABILITY} says at 0.5: is it the truth? Then leave it out"
                );
                return Err(self.broken(format!("{}: {reason}", self.ids[row])));
            }
        }
        Ok(self)
    }

    /// The error of a file that does not hold what it should.
    fn broken(&self, reason: impl ToString) -> Error {
        Error::data(&self.path, reason)
    }
}

fn of_probabilities(path: &Path, ids: &[String], values: &[f64]) -> Result<Logits> {
    if let Some(row) = values.iter().position(|p| !(0.0..=1.0).contains(p)) {
        let (id, value) = (&ids[row], values[row]);
        let reason = format!("{id}: {PROBABILITY} is {value}, no probability");
        return Err(Error::data(path, reason));
    }
    let flat = values
        .iter()
        .flat_map(|p| [(1.0 - p) as f32, *p as f32])
        .collect();
    Logits::new(flat, 2, ids).map_err(|e| Error::data(path, e))
}
