//! Predictions that another program made: ids with logits, labels, numbers or answers, as parquet, CSV, TSV, JSON or JSON lines.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_json::{Map, Value};

use super::{Logits, Outputs, Predictions, file::Table, shared};
use crate::{Dataset, Error, Label, Result};

/// What people call the column of ids.
const IDS: [&str; 4] = ["id", "question_id", "index", "idx"];
/// What they call the column of answers.
const ANSWERS: [&str; 6] = ["prediction", "predicted", "label", "answer", "class", "value"];
/// Of these the ones that are answers beside logits, where the others may be the truth.
const PREDICTIONS: [&str; 2] = ["prediction", "predicted"];
/// The column of probabilities of class 1.
const PROBABILITY: &str = "proba";
/// Missing or unknown ids that a message lists.
const LISTED: usize = 3;

/// Predictions of a file, not yet compared with a task's rows.
#[derive(Debug)]
pub struct Foreign {
    path: PathBuf,
    ids: Vec<String>,
    /// Class numbers or names, numbers, or words.
    answers: Option<Vec<String>>,
    logits: Option<Logits>,
}

impl Foreign {
    /// Reads a file by its ending.
    pub fn read(path: &Path) -> Result<Self> {
        let ending = path.extension().map(|e| e.to_string_lossy().to_lowercase()).unwrap_or_default();
        match ending.as_str() {
            "parquet" => Self::from_parquet(path),
            "csv" => Self::from_rows(path, delimited(path, b',')?),
            "tsv" => Self::from_rows(path, delimited(path, b'\t')?),
            "json" => Self::from_rows(path, json(path)?),
            "jsonl" => Self::from_rows(path, json_lines(path)?),
            _ => Err(Error::data(path, "is none of .parquet, .csv, .tsv, .json, .jsonl")),
        }
    }

    fn from_parquet(path: &Path) -> Result<Self> {
        let table = Table::open(path)?;
        let id = IDS.into_iter().find(|name| table.has(name)).ok_or_else(|| no_column(path, "ids", &IDS))?;
        let ids = table.strings(id)?;
        let logits = if table.has("logits") { Some(table.logits(&ids)?) } else { None };
        let names = if logits.is_some() { &PREDICTIONS[..] } else { &ANSWERS };
        let answers = names.iter().find(|name| table.has(name)).map(|name| table.strings(name)).transpose()?;
        Self::new(path, ids, answers, logits)
    }

    fn from_rows(path: &Path, rows: Vec<Map<String, Value>>) -> Result<Self> {
        let first = rows.first().ok_or_else(|| Error::data(path, "holds no predictions"))?;
        let column = |names: &[&'static str]| names.iter().copied().find(|name| first.contains_key(*name));
        let id = column(&IDS).ok_or_else(|| no_column(path, "ids", &IDS))?;
        let logits = column(&["logits"]);
        let answer = column(if logits.is_some() { &PREDICTIONS } else { &ANSWERS });
        let probability = column(&[PROBABILITY]).filter(|_| logits.is_none());
        let cell = |row: usize, name: &str| match rows[row].get(name) {
            None | Some(Value::Null) => Err(Error::data(path, format!("prediction {} has no {name}", row + 1))),
            Some(Value::String(text)) => Ok(text.clone()),
            Some(other) => Ok(other.to_string()),
        };
        let cells = |name: &str| (0..rows.len()).map(|row| cell(row, name)).collect::<Result<Vec<String>>>();
        let ids = cells(id)?;
        let number = |row: usize, text: &str| -> Result<f32> {
            text.trim().parse().map_err(|_| Error::data(path, format!("{}: {text:?} is no number", ids[row])))
        };
        let mut values = Vec::new();
        let mut classes = 0;
        for row in 0..rows.len() {
            let before = values.len();
            if let Some(Value::Array(list)) = logits.and_then(|name| rows[row].get(name)) {
                values.extend(list.iter().map(|value| number(row, &value.to_string())).collect::<Result<Vec<f32>>>()?);
            } else if let Some(name) = logits {
                let text = cell(row, name)?;
                let text = text.trim_matches(['[', ']', ' ']);
                values.extend(text.split([',', ' ', ';']).filter(|v| !v.is_empty()).map(|v| number(row, v)).collect::<Result<Vec<f32>>>()?);
            } else if let Some(name) = probability {
                let p = number(row, &cell(row, name)?)?;
                values.extend([1.0 - p, p]);
            }
            let have = values.len() - before;
            if row > 0 && have != classes {
                return Err(Error::data(path, format!("{} has {have} logits where others have {classes}", ids[row])));
            }
            classes = have;
        }
        let logits = if classes > 0 { Some(Logits::new(values, classes, &ids).map_err(|e| Error::data(path, e))?) } else { None };
        let answers = answer.map(cells).transpose()?;
        Self::new(path, ids, answers, logits)
    }

    fn new(path: &Path, ids: Vec<String>, answers: Option<Vec<String>>, logits: Option<Logits>) -> Result<Self> {
        if answers.is_none() && logits.is_none() {
            return Err(no_column(path, "answers", &[&ANSWERS[..], &["logits", PROBABILITY]].concat()));
        }
        Ok(Self { path: path.to_owned(), ids, answers, logits })
    }

    /// Puts the predictions beside what is right: each row of `dataset` has one, and there is none besides.
    pub fn against(&self, dataset: &dyn Dataset, classes: usize) -> Result<Predictions> {
        let places = self.places(dataset)?;
        let rows = dataset.len();
        let ids: Vec<String> = (0..rows).map(|row| dataset.id(row)).collect();
        let labels: Vec<Label> = (0..rows).map(|row| dataset.label(row)).collect();
        let unlike = |row: usize| Error::data(&self.path, format!("{} has no label of the kind that its neighbours have", ids[row]));
        let outputs = match labels.first() {
            Some(Label::Class(_)) => {
                let gold = labels.iter().enumerate().map(|(row, l)| if let Label::Class(c) = l { Ok(*c) } else { Err(unlike(row)) });
                let gold = gold.collect::<Result<Vec<usize>>>()?;
                let logits = self.logits_in(&places, &ids, classes)?;
                let predicted = match (&self.answers, &logits) {
                    (Some(_), _) => (0..rows).map(|row| self.class(places[row], dataset, classes)).collect::<Result<_>>()?,
                    (None, Some(logits)) => logits.best(),
                    (None, None) => return Err(no_column(&self.path, "classes", &ANSWERS)),
                };
                Outputs::Classes { predicted, gold, logits }
            }
            Some(Label::Value(_)) => {
                let gold = labels.iter().enumerate().map(|(row, l)| if let Label::Value(v) = l { Ok(*v) } else { Err(unlike(row)) });
                let value = |row: usize| {
                    self.text(places[row])?.trim().parse::<f64>().ok().filter(|v| v.is_finite()).ok_or_else(|| {
                        Error::data(&self.path, format!("{}: {:?} is no number", ids[row], self.text(places[row]).unwrap_or_default()))
                    })
                };
                Outputs::Values { gold: gold.collect::<Result<_>>()?, predicted: (0..rows).map(value).collect::<Result<_>>()? }
            }
            Some(Label::Answers(_)) => {
                let gold =
                    labels.iter().enumerate().map(|(row, l)| if let Label::Answers(a) = l { Ok(Arc::clone(a)) } else { Err(unlike(row)) });
                let predicted = places.iter().map(|&place| self.text(place).map(str::to_owned)).collect::<Result<_>>()?;
                Outputs::Answers { predicted, gold: gold.collect::<Result<_>>()? }
            }
            _ => return Err(Error::Predictions("the task's rows have no labels that predictions could be compared with".into())),
        };
        Ok(Predictions { ids, clusters: shared((0..rows).map(|row| dataset.cluster(row)).collect()), outputs })
    }

    /// For each row of `dataset`, its place in the file.
    fn places(&self, dataset: &dyn Dataset) -> Result<Vec<usize>> {
        let mut places = HashMap::with_capacity(self.ids.len());
        for (place, id) in self.ids.iter().enumerate() {
            if places.insert(id.as_str(), place).is_some() {
                return Err(Error::data(&self.path, format!("the id {id} is there twice")));
            }
        }
        let found: Vec<(String, Option<usize>)> = (0..dataset.len())
            .map(|row| dataset.id(row))
            .map(|id| (places.remove(id.as_str()), id))
            .map(|(place, id)| (id, place))
            .collect();
        let mut missing = found.iter().filter(|(_, place)| place.is_none()).map(|(id, _)| id.as_str());
        let absent: Vec<&str> = missing.by_ref().take(LISTED).collect();
        if !absent.is_empty() {
            let count = absent.len() + missing.count();
            return Err(Error::data(
                &self.path,
                format!("has no prediction for {count} of {} rows, such as {}", dataset.len(), absent.join(", ")),
            ));
        }
        if !places.is_empty() {
            let mut strange: Vec<&str> = places.keys().copied().collect();
            strange.sort_unstable();
            let shown = strange[..strange.len().min(LISTED)].join(", ");
            return Err(Error::data(&self.path, format!("has {} ids that the task does not have, such as {shown}", strange.len())));
        }
        Ok(found.into_iter().filter_map(|(_, place)| place).collect())
    }

    fn text(&self, place: usize) -> Result<&str> {
        self.answers.as_ref().map(|answers| answers[place].as_str()).ok_or_else(|| no_column(&self.path, "answers", &ANSWERS))
    }

    fn logits_in(&self, places: &[usize], ids: &[String], classes: usize) -> Result<Option<Logits>> {
        let Some(logits) = &self.logits else { return Ok(None) };
        if logits.classes() != classes {
            return Err(Error::data(&self.path, format!("has {} logits a row for {classes} classes", logits.classes())));
        }
        let rows: Vec<&[f32]> = logits.rows().collect();
        Ok(Some(Logits::new(places.iter().flat_map(|&place| rows[place]).copied().collect(), classes, ids)?))
    }

    /// A class by number or by name.
    fn class(&self, place: usize, dataset: &dyn Dataset, classes: usize) -> Result<usize> {
        let text = self.text(place)?.trim();
        let named = dataset.class_names().and_then(|names| names.iter().position(|name| name == text));
        let number =
            text.parse::<usize>().ok().or_else(|| text.parse::<f64>().ok().filter(|v| v.fract() == 0.0 && *v >= 0.0).map(|v| v as usize));
        let class = named.or(number).filter(|class| *class < classes);
        class.ok_or_else(|| Error::data(&self.path, format!("{}: {text:?} is none of the {classes} classes", self.ids[place])))
    }
}

fn no_column(path: &Path, what: &str, names: &[&str]) -> Error {
    Error::data(path, format!("has no column of {what}: {}", names.join(", ")))
}

fn delimited(path: &Path, delimiter: u8) -> Result<Vec<Map<String, Value>>> {
    let broken = |e: csv::Error| Error::data(path, e);
    let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).quoting(delimiter == b',').from_path(path).map_err(broken)?;
    let names = reader.headers().map_err(broken)?.clone();
    let row = |row: csv::Result<csv::StringRecord>| {
        let row = row.map_err(broken)?;
        Ok(names.iter().zip(row.iter()).map(|(name, cell)| (name.trim().to_lowercase(), Value::String(cell.to_owned()))).collect())
    };
    reader.records().map(row).collect()
}

fn json(path: &Path) -> Result<Vec<Map<String, Value>>> {
    let text = fs::read(path).map_err(|e| Error::io(path, e))?;
    serde_json::from_slice(&text).map_err(|e| Error::data(path, format!("is no JSON list of predictions: {e}")))
}

fn json_lines(path: &Path) -> Result<Vec<Map<String, Value>>> {
    let text = fs::read_to_string(path).map_err(|e| Error::io(path, e))?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines.map(|(number, line)| serde_json::from_str(line).map_err(|e| Error::data(path, format!("line {}: {e}", number + 1)))).collect()
}
