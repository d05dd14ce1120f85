//! Files of answers to rows that have no labels: CSV, JSON lines or parquet, whole or not there.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use arrow_array::{ArrayRef, Float32Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
use parquet::arrow::ArrowWriter;
use serde_json::{Map, Value, json};

use crate::{Error, Result};

/// What the numbers of an answer mean.
#[derive(Clone, Debug, PartialEq)]
pub enum Meaning {
    /// Probabilities of classes of these names, which add up to one.
    Classes(Vec<String>),
    /// Probabilities of answers, each of its own.
    Answers(Vec<String>),
    /// A value.
    Value,
}

impl Meaning {
    /// What answers are called; none where they are values.
    fn names(&self) -> &[String] {
        match self {
            Self::Classes(names) | Self::Answers(names) => names,
            Self::Value => &[],
        }
    }
}

/// A file of answers that is to be written.
pub struct AnswerFile {
    path: PathBuf,
    meaning: Meaning,
    top: usize,
    format: Format,
}

#[derive(Clone, Copy)]
enum Format {
    Csv,
    JsonLines,
    Parquet,
}

/// The rows of a file under way.
pub struct Writing<'a> {
    file: &'a AnswerFile,
    sink: Sink,
    rows: usize,
}

enum Sink {
    Csv(Box<csv::Writer<File>>),
    JsonLines(BufWriter<File>),
    Parquet(Box<ArrowWriter<File>>, Arc<Schema>),
}

impl AnswerFile {
    /// A file of so many of the best answers to each row.
    ///
    /// # Errors
    /// If the name's ending is none that is written.
    pub fn create(path: &Path, meaning: Meaning, top: usize) -> Result<Self> {
        let ending = path.extension().unwrap_or_default().to_string_lossy();
        let format = match ending.to_ascii_lowercase().as_str() {
            "csv" => Format::Csv,
            "jsonl" | "ndjson" => Format::JsonLines,
            "parquet" => Format::Parquet,
            _ => {
                let reason = "is to be written as its name ends: .csv, .jsonl or .parquet";
                return Err(Error::data(path, reason));
            }
        };
        if let Some(folder) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
        }
        let most = meaning.names().len().max(1);
        Ok(Self {
            path: path.to_owned(),
            meaning,
            top: top.min(most),
            format,
        })
    }

    /// Writes what `fill` adds; how many rows it added.
    ///
    /// # Errors
    /// Those of `fill`, and if the file cannot be written; no file is left then.
    pub fn write<E: From<Error>>(
        &self,
        fill: impl FnOnce(&mut Writing) -> std::result::Result<(), E>,
    ) -> std::result::Result<usize, E> {
        let mut failed = None;
        let mut rows = 0;
        let written = flava_base::write_with(&self.path, |part| {
            let sink = self.sink(File::create(part)?).map_err(io::Error::other)?;
            let mut writing = Writing {
                file: self,
                sink,
                rows: 0,
            };
            if let Err(error) = fill(&mut writing) {
                failed = Some(error);
                return Err(io::Error::other("the answers are not complete"));
            }
            rows = writing.rows;
            writing.finish()
        });
        match failed {
            Some(error) => Err(error),
            None => written.map(|()| rows).map_err(|e| Error::from(e).into()),
        }
    }

    /// The names of the columns: of a value no probability, of the first answer no number.
    fn columns(&self) -> Vec<(String, bool)> {
        let mut columns = vec![("id".to_owned(), false)];
        if self.meaning == Meaning::Value {
            columns.push(("prediction".into(), true));
            return columns;
        }
        for place in 1..=self.top {
            let number = if place == 1 {
                String::new()
            } else {
                format!("_{place}")
            };
            columns.push((format!("prediction{number}"), false));
            columns.push((format!("probability{number}"), true));
        }
        columns
    }

    fn sink(&self, file: File) -> std::result::Result<Sink, String> {
        let columns = self.columns();
        Ok(match self.format {
            Format::Csv => {
                let mut writer = csv::Writer::from_writer(file);
                let names = columns.iter().map(|(name, _)| name);
                writer.write_record(names).map_err(|e| e.to_string())?;
                Sink::Csv(Box::new(writer))
            }
            Format::JsonLines => Sink::JsonLines(BufWriter::new(file)),
            Format::Parquet => {
                let field = |(name, is_number): &(String, bool)| {
                    let kind = if *is_number {
                        DataType::Float32
                    } else {
                        DataType::Utf8
                    };
                    Field::new(name, kind, false)
                };
                let schema = Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()));
                let writer = ArrowWriter::try_new(file, Arc::clone(&schema), None);
                Sink::Parquet(Box::new(writer.map_err(|e| e.to_string())?), schema)
            }
        })
    }
}

/// The best answers of a row.
struct Best<'a> {
    id: &'a str,
    /// Names with their probabilities; of a value that alone.
    answers: Vec<(&'a str, f32)>,
}

impl Writing<'_> {
    /// Adds rows by their numbers, row by row: a probability of each name, or a value.
    ///
    /// # Errors
    /// If the file cannot be written, or the numbers are not those of the rows.
    pub fn add(&mut self, ids: &[String], numbers: &[f32]) -> Result<()> {
        let file = self.file;
        let width = file.meaning.names().len().max(1);
        if numbers.len() != ids.len() * width {
            let (count, rows) = (numbers.len(), ids.len());
            let reason = format!("{count} numbers are not {width} for each of {rows} rows");
            return Err(Error::Predictions(reason));
        }
        let rows = ids.iter().zip(numbers.chunks(width));
        let best: Vec<Best> = rows.map(|(id, numbers)| file.best(id, numbers)).collect();
        self.rows += best.len();
        let written = match &mut self.sink {
            Sink::Csv(writer) => add_csv(writer, &best, file),
            Sink::JsonLines(writer) => add_json(writer, &best, file),
            Sink::Parquet(writer, schema) => add_parquet(writer, schema, &best, file),
        };
        written.map_err(|e| Error::io(&file.path, e))
    }

    fn finish(self) -> io::Result<()> {
        match self.sink {
            Sink::Csv(mut writer) => writer.flush(),
            Sink::JsonLines(mut writer) => writer.flush(),
            Sink::Parquet(writer, _) => writer.close().map(|_| ()).map_err(io::Error::other),
        }
    }
}

impl AnswerFile {
    fn best<'a>(&'a self, id: &'a str, numbers: &[f32]) -> Best<'a> {
        let names = self.meaning.names();
        if names.is_empty() {
            let answers = vec![("", numbers.first().copied().unwrap_or(f32::NAN))];
            return Best { id, answers };
        }
        let mut order: Vec<usize> = (0..numbers.len().min(names.len())).collect();
        // Of equal ones the first class, as an argmax has it.
        order.sort_by(|a, b| numbers[*b].total_cmp(&numbers[*a]).then(a.cmp(b)));
        let best = order.into_iter().take(self.top);
        let answers = best.map(|at| (names[at].as_str(), numbers[at])).collect();
        Best { id, answers }
    }
}

fn add_csv(writer: &mut csv::Writer<File>, rows: &[Best], file: &AnswerFile) -> io::Result<()> {
    for row in rows {
        let mut fields = vec![row.id.to_owned()];
        for (name, number) in &row.answers {
            if file.meaning != Meaning::Value {
                fields.push((*name).to_owned());
            }
            fields.push(number.to_string());
        }
        writer.write_record(fields).map_err(io::Error::other)?;
    }
    Ok(())
}

fn add_json(writer: &mut impl Write, rows: &[Best], file: &AnswerFile) -> io::Result<()> {
    for row in rows {
        let mut object = Map::from_iter([("id".to_owned(), Value::from(row.id))]);
        if let Some((name, number)) = row.answers.first() {
            if file.meaning == Meaning::Value {
                object.insert("prediction".into(), json!(number));
            } else {
                object.insert("prediction".into(), json!(name));
                object.insert("probability".into(), json!(number));
            }
        }
        if file.top > 1 {
            let answer =
                |(name, number): &(&str, f32)| json!({ "prediction": name, "probability": number });
            let top: Vec<Value> = row.answers.iter().map(answer).collect();
            object.insert("top".into(), top.into());
        }
        writeln!(writer, "{}", Value::Object(object))?;
    }
    Ok(())
}

fn add_parquet(
    writer: &mut ArrowWriter<File>,
    schema: &Arc<Schema>,
    rows: &[Best],
    file: &AnswerFile,
) -> io::Result<()> {
    let ids: StringArray = rows.iter().map(|row| Some(row.id)).collect();
    let mut columns: Vec<ArrayRef> = vec![Arc::new(ids)];
    for place in 0..file.top {
        if file.meaning != Meaning::Value {
            let names: StringArray = rows.iter().map(|row| Some(row.answers[place].0)).collect();
            columns.push(Arc::new(names));
        }
        let numbers = rows.iter().map(|row| row.answers[place].1);
        columns.push(Arc::new(Float32Array::from_iter_values(numbers)));
    }
    let batch = RecordBatch::try_new(Arc::clone(schema), columns).map_err(io::Error::other)?;
    writer.write(&batch).map_err(io::Error::other)
}
