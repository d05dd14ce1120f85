//! Predictions that another program made: ids with logits, labels, numbers or answers, as parquet,
//! CSV, TSV, JSON or JSON lines.

use std::{
    collections::{BTreeSet, HashMap},
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_json::{Map, Value};

use super::{
    Logits, Outputs, Predictions,
    file::Table,
    roles::{LOGITS, PAIR_ID, PROBABILITY, Roles},
    shared,
};
use crate::{Dataset, Error, Label, Result};

/// Missing or unknown ids that a message lists.
const LISTED: usize = 3;
/// Largest file of predictions.
const MAX_BYTES: u64 = 8 << 30;

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

/// A row's cells by their columns, in lower case.
type Row = Map<String, Value>;

impl Foreign {
    /// Reads a file by its ending.
    pub fn read(path: &Path) -> Result<Self> {
        let ending = path
            .extension()
            .map(|e| e.to_string_lossy().to_lowercase())
            .unwrap_or_default();
        match ending.as_str() {
            "parquet" => Self::from_parquet(path),
            "csv" => Self::from_rows(path, delimited(path, b',')?),
            "tsv" => Self::from_rows(path, delimited(path, b'\t')?),
            "json" => Self::from_rows(path, json(path)?),
            "jsonl" => Self::from_rows(path, json_lines(path)?),
            _ => Err(Error::data(
                path,
                "is none of .parquet, .csv, .tsv, .json, .jsonl",
            )),
        }
    }

    fn from_parquet(path: &Path) -> Result<Self> {
        let table = Table::open(path)?;
        let names = table.names();
        let lower: Vec<String> = names
            .iter()
            .map(|name| name.trim().to_lowercase())
            .collect();
        let roles = Roles::of(&lower).map_err(|reason| Error::data(path, reason))?;
        let named = |role: &str| {
            names[lower
                .iter()
                .position(|name| name == role)
                .unwrap_or_default()]
            .as_str()
        };
        let ids = table.strings(named(&roles.id))?;
        let answers = roles
            .answer
            .as_deref()
            .map(|name| table.strings(named(name)))
            .transpose()?;
        let logits = if roles.logits {
            Some(table.logits(named(LOGITS), &ids)?)
        } else if roles.probability {
            let values = table.floats(named(PROBABILITY))?;
            Some(Self::of_probabilities(path, &ids, &values)?)
        } else {
            None
        };
        Self::new(path, &roles, ids, answers, logits)
    }

    fn from_rows(path: &Path, rows: Vec<Row>) -> Result<Self> {
        if rows.is_empty() {
            return Err(Error::data(path, "holds no predictions"));
        }
        let columns: BTreeSet<&String> = rows.iter().flat_map(Row::keys).collect();
        let columns: Vec<String> = columns.into_iter().cloned().collect();
        let roles = Roles::of(&columns).map_err(|reason| Error::data(path, reason))?;
        let cell = |row: usize, name: &str| match rows[row].get(name) {
            None | Some(Value::Null) => Err(Error::data(
                path,
                format!("prediction {} has no {name}", row + 1),
            )),
            Some(Value::String(text)) => Ok(text.clone()),
            Some(other) => Ok(other.to_string()),
        };
        let cells = |name: &str| {
            (0..rows.len())
                .map(|row| cell(row, name))
                .collect::<Result<Vec<String>>>()
        };
        let ids = cells(&roles.id)?;
        let logits = if roles.logits {
            Some(logits_of(path, &ids, &rows, cell)?)
        } else if roles.probability {
            let number = |(row, text): (usize, &String)| {
                text.trim()
                    .parse::<f64>()
                    .map_err(|_| Error::data(path, format!("{}: {text:?} is no number", ids[row])))
            };
            let values = cells(PROBABILITY)?
                .iter()
                .enumerate()
                .map(number)
                .collect::<Result<Vec<f64>>>()?;
            Some(Self::of_probabilities(path, &ids, &values)?)
        } else {
            None
        };
        let answers = roles.answer.as_deref().map(cells).transpose()?;
        Self::new(path, &roles, ids, answers, logits)
    }

    fn of_probabilities(path: &Path, ids: &[String], values: &[f64]) -> Result<Logits> {
        if let Some(row) = values.iter().position(|p| !(0.0..=1.0).contains(p)) {
            return Err(Error::data(
                path,
                format!(
                    "{}: {PROBABILITY} is {}, no probability",
                    ids[row], values[row]
                ),
            ));
        }
        let flat = values
            .iter()
            .flat_map(|p| [(1.0 - p) as f32, *p as f32])
            .collect();
        Logits::new(flat, 2, ids).map_err(|e| Error::data(path, e))
    }

    fn new(
        path: &Path,
        roles: &Roles,
        ids: Vec<String>,
        answers: Option<Vec<String>>,
        logits: Option<Logits>,
    ) -> Result<Self> {
        let found = Self {
            path: path.to_owned(),
            pairs: roles.id == PAIR_ID,
            ids,
            answers,
            logits,
        };
        if let Some(answers) = found
            .answers
            .as_ref()
            .filter(|answers| answers.len() != found.ids.len())
        {
            return Err(Error::data(
                path,
                format!("has {} answers for {} ids", answers.len(), found.ids.len()),
            ));
        }
        if let (true, Some(answers), Some(logits)) = (roles.doubtful, &found.answers, &found.logits)
        {
            let differs = |(answer, best): (&String, usize)| answer.trim() != best.to_string();
            if let Some(row) = answers.iter().zip(logits.best()).position(differs) {
                let column = roles.answer.as_deref().unwrap_or_default();
                let reason = format!(
                    "{column} is not what {PROBABILITY} says at 0.5: is it the truth? Then leave it out"
                );
                return Err(Error::data(path, format!("{}: {reason}", found.ids[row])));
            }
        }
        Ok(found)
    }

    /// Puts the predictions beside what is right: each row of `dataset` has one, and there is none
    /// besides.
    pub fn against(&self, dataset: &dyn Dataset, classes: usize) -> Result<Predictions> {
        let places = self.places(dataset)?;
        let rows = dataset.len();
        let ids: Vec<String> = (0..rows).map(|row| dataset.id(row)).collect();
        let labels: Vec<Label> = (0..rows).map(|row| dataset.label(row)).collect();
        let unlike = |row: usize| {
            Error::data(
                &self.path,
                format!(
                    "{} has no label of the kind that its neighbours have",
                    ids[row]
                ),
            )
        };
        let outputs = match labels.first() {
            Some(Label::Class(_)) => {
                let gold = labels.iter().enumerate().map(|(row, l)| {
                    if let Label::Class(c) = l {
                        Ok(*c)
                    } else {
                        Err(unlike(row))
                    }
                });
                let gold = gold.collect::<Result<Vec<usize>>>()?;
                let logits = self.logits_in(&places, &ids, classes)?;
                let predicted = match (&self.answers, &logits) {
                    (Some(_), _) => self.classes(&places, dataset, classes, logits.as_ref())?,
                    (None, Some(logits)) => logits.best(),
                    (None, None) => return Err(self.no_answers()),
                };
                Outputs::Classes {
                    predicted,
                    gold,
                    logits,
                }
            }
            Some(Label::Value(_)) => {
                let gold = labels.iter().enumerate().map(|(row, l)| {
                    if let Label::Value(v) = l {
                        Ok(*v)
                    } else {
                        Err(unlike(row))
                    }
                });
                let value = |row: usize| {
                    self.text(places[row])?
                        .trim()
                        .parse::<f64>()
                        .ok()
                        .filter(|v| v.is_finite())
                        .ok_or_else(|| {
                            Error::data(
                                &self.path,
                                format!(
                                    "{}: {:?} is no number",
                                    ids[row],
                                    self.text(places[row]).unwrap_or_default()
                                ),
                            )
                        })
                };
                Outputs::Values {
                    gold: gold.collect::<Result<_>>()?,
                    predicted: (0..rows).map(value).collect::<Result<_>>()?,
                }
            }
            Some(Label::Answers(_)) => {
                let gold = labels.iter().enumerate().map(|(row, l)| {
                    if let Label::Answers(a) = l {
                        Ok(Arc::clone(a))
                    } else {
                        Err(unlike(row))
                    }
                });
                let predicted = places
                    .iter()
                    .map(|&place| self.text(place).map(str::to_owned))
                    .collect::<Result<_>>()?;
                Outputs::Answers {
                    predicted,
                    gold: gold.collect::<Result<_>>()?,
                }
            }
            _ => {
                return Err(Error::Predictions(
                    "the task's rows have no labels that predictions could be compared with".into(),
                ));
            }
        };
        Ok(Predictions {
            ids,
            clusters: shared((0..rows).map(|row| dataset.cluster(row)).collect()),
            outputs,
        })
    }

    /// For each row of `dataset`, its place in the file.
    fn places(&self, dataset: &dyn Dataset) -> Result<Vec<usize>> {
        let mut places = HashMap::with_capacity(self.ids.len());
        for (place, id) in self.ids.iter().enumerate() {
            if places.insert(id.as_str(), place).is_some() {
                return Err(Error::data(
                    &self.path,
                    format!("the id {id} is there twice"),
                ));
            }
        }
        // SNLI-VE's rows are called by line and pair, since some pairs are there twice.
        let name = |id: String| {
            if self.pairs {
                id.split_once(':')
                    .map_or(id.clone(), |(_, pair)| pair.to_owned())
            } else {
                id
            }
        };
        let mut seen = HashMap::new();
        for row in 0..dataset.len() {
            let id = name(dataset.id(row));
            if let Some(before) = seen.insert(id.clone(), row) {
                let reason = format!(
                    "the data has the id {id} twice (rows {before} and {row}): its predictions cannot be told apart"
                );
                return Err(Error::data(&self.path, reason));
            }
        }
        let found: Vec<(String, Option<usize>)> = (0..dataset.len())
            .map(|row| name(dataset.id(row)))
            .map(|id| (places.remove(id.as_str()), id))
            .map(|(place, id)| (id, place))
            .collect();
        let mut missing = found
            .iter()
            .filter(|(_, place)| place.is_none())
            .map(|(id, _)| id.as_str());
        let absent: Vec<&str> = missing.by_ref().take(LISTED).collect();
        if !absent.is_empty() {
            let count = absent.len() + missing.count();
            return Err(Error::data(
                &self.path,
                format!(
                    "has no prediction for {count} of {} rows, such as {}",
                    dataset.len(),
                    absent.join(", ")
                ),
            ));
        }
        if !places.is_empty() {
            let mut strange: Vec<&str> = places.keys().copied().collect();
            strange.sort_unstable();
            let shown = strange[..strange.len().min(LISTED)].join(", ");
            return Err(Error::data(
                &self.path,
                format!(
                    "has {} ids that the task does not have, such as {shown}",
                    strange.len()
                ),
            ));
        }
        Ok(found.into_iter().filter_map(|(_, place)| place).collect())
    }

    fn text(&self, place: usize) -> Result<&str> {
        self.answers
            .as_ref()
            .map(|answers| answers[place].as_str())
            .ok_or_else(|| self.no_answers())
    }

    fn no_answers(&self) -> Error {
        Error::data(
            &self.path,
            "has numbers for classes, and no answers of the kind that the task asks for",
        )
    }

    fn logits_in(
        &self,
        places: &[usize],
        ids: &[String],
        classes: usize,
    ) -> Result<Option<Logits>> {
        let Some(logits) = &self.logits else {
            return Ok(None);
        };
        if logits.classes() != classes {
            return Err(Error::data(
                &self.path,
                format!(
                    "has {} logits a row for {classes} classes",
                    logits.classes()
                ),
            ));
        }
        let rows: Vec<&[f32]> = logits.rows().collect();
        Ok(Some(Logits::new(
            places
                .iter()
                .flat_map(|&place| rows[place])
                .copied()
                .collect(),
            classes,
            ids,
        )?))
    }

    /// The answers as classes: by name, or by number. Where both could be meant, the logits decide.
    fn classes(
        &self,
        places: &[usize],
        dataset: &dyn Dataset,
        classes: usize,
        logits: Option<&Logits>,
    ) -> Result<Vec<usize>> {
        let names: HashMap<&str, usize> = dataset
            .class_names()
            .into_iter()
            .flatten()
            .enumerate()
            .map(|(class, name)| (name.as_str(), class))
            .collect();
        let texts = places
            .iter()
            .map(|&place| self.text(place).map(str::trim))
            .collect::<Result<Vec<_>>>()?;
        let named: Vec<Option<usize>> = texts.iter().map(|text| names.get(text).copied()).collect();
        let numbered: Vec<Option<usize>> = texts
            .iter()
            .map(|text| number(text).filter(|class| *class < classes))
            .collect();
        let id = |row: usize| &self.ids[places[row]];
        if let Some(row) =
            (0..texts.len()).find(|&row| named[row].is_none() && numbered[row].is_none())
        {
            return Err(Error::data(
                &self.path,
                format!(
                    "{}: {:?} is none of the {classes} classes",
                    id(row),
                    texts[row]
                ),
            ));
        }
        let all =
            |classes: &[Option<usize>]| classes.iter().copied().collect::<Option<Vec<usize>>>();
        let best = logits.map(Logits::best);
        let chosen = match (all(&named), all(&numbered)) {
            (Some(named), Some(numbered)) if named != numbered => match &best {
                Some(best) if *best == named => named,
                Some(best) if *best == numbered => numbered,
                _ => {
                    let row = (0..texts.len())
                        .find(|&row| named[row] != numbered[row])
                        .unwrap_or_default();
                    let reason = format!(
                        "{:?} may be the class of that name or the class of that number, which is another",
                        texts[row]
                    );
                    let remedy = "a column of logits would tell, or names that are no numbers";
                    return Err(Error::data(
                        &self.path,
                        format!("{}: {reason}; {remedy}", id(row)),
                    ));
                }
            },
            (Some(named), _) => named,
            (None, Some(numbered)) => numbered,
            (None, None) => {
                let row = named.iter().position(Option::is_none).unwrap_or_default();
                let reason = format!("{:?} is a number, where others are names", texts[row]);
                return Err(Error::data(&self.path, format!("{}: {reason}", id(row))));
            }
        };
        match best.and_then(|best| {
            best.iter()
                .zip(&chosen)
                .position(|(best, chosen)| best != chosen)
        }) {
            Some(row) => {
                let reason = format!(
                    "the answer {:?} is not the class of the largest logit: one of the columns is in another order",
                    texts[row]
                );
                Err(Error::data(&self.path, format!("{}: {reason}", id(row))))
            }
            None => Ok(chosen),
        }
    }
}

/// A whole number, however it is written.
fn number(text: &str) -> Option<usize> {
    let whole = |value: &f64| value.fract() == 0.0 && (0.0..4e9).contains(value);
    text.parse::<usize>().ok().or_else(|| {
        text.parse::<f64>()
            .ok()
            .filter(whole)
            .map(|value| value as usize)
    })
}

/// A list of numbers for each row, or a text of them.
fn logits_of(
    path: &Path,
    ids: &[String],
    rows: &[Row],
    cell: impl Fn(usize, &str) -> Result<String>,
) -> Result<Logits> {
    let number = |row: usize, text: &str| -> Result<f32> {
        text.trim()
            .parse()
            .map_err(|_| Error::data(path, format!("{}: {text:?} is no number", ids[row])))
    };
    let (mut values, mut classes) = (Vec::new(), 0);
    for (row, cells) in rows.iter().enumerate() {
        let before = values.len();
        if let Some(Value::Array(list)) = cells.get(LOGITS) {
            values.extend(
                list.iter()
                    .map(|value| number(row, &value.to_string()))
                    .collect::<Result<Vec<f32>>>()?,
            );
        } else {
            let text = cell(row, LOGITS)?;
            let text = text.trim_matches(['[', ']', ' ']);
            values.extend(
                text.split([',', ' ', ';'])
                    .filter(|v| !v.is_empty())
                    .map(|v| number(row, v))
                    .collect::<Result<Vec<f32>>>()?,
            );
        }
        let have = values.len() - before;
        if row > 0 && have != classes {
            return Err(Error::data(
                path,
                format!("{} has {have} logits where others have {classes}", ids[row]),
            ));
        }
        classes = have;
    }
    Logits::new(values, classes, ids).map_err(|e| Error::data(path, e))
}

/// A row with its names in lower case.
///
/// # Errors
/// If two of them are the same then.
fn lowered(path: &Path, place: &str, cells: impl Iterator<Item = (String, Value)>) -> Result<Row> {
    let mut row = Row::new();
    for (name, value) in cells {
        let name = name.trim().to_lowercase();
        if row.insert(name.clone(), value).is_some() {
            return Err(Error::data(path, format!("{place} has {name} twice")));
        }
    }
    Ok(row)
}

fn delimited(path: &Path, delimiter: u8) -> Result<Vec<Row>> {
    let broken = |e: csv::Error| Error::data(path, e);
    let text = flava_base::read_text(path, MAX_BYTES)?;
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(delimiter)
        .quoting(delimiter == b',')
        .from_reader(text.as_bytes());
    let names = reader.headers().map_err(broken)?.clone();
    let row = |row: csv::Result<csv::StringRecord>| {
        let row = row.map_err(broken)?;
        lowered(
            path,
            "the head",
            names
                .iter()
                .zip(row.iter())
                .map(|(name, cell)| (name.to_owned(), Value::String(cell.to_owned()))),
        )
    };
    reader.records().map(row).collect()
}

fn json(path: &Path) -> Result<Vec<Row>> {
    let rows: Vec<Row> = flava_base::read_json(path, MAX_BYTES)?;
    rows.into_iter()
        .enumerate()
        .map(|(row, cells)| lowered(path, &format!("prediction {}", row + 1), cells.into_iter()))
        .collect()
}

fn json_lines(path: &Path) -> Result<Vec<Row>> {
    let text = flava_base::read_text(path, MAX_BYTES)?;
    let lines = text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty());
    let row = |(number, line): (usize, &str)| {
        let place = format!("line {}", number + 1);
        let cells: Row =
            flava_base::json_of(line).map_err(|e| Error::data(path, format!("{place}: {e}")))?;
        lowered(path, &place, cells.into_iter())
    };
    lines.map(row).collect()
}
