//! Predictions as parquet files, so that they can be scored again without a model.
//!
//! Columns: `id`, `cluster` where rows share pictures, then by kind `predicted`, `gold` and
//! `logits` (classes, values), `answer` and `answers` (words), or `query`, `picture` and `rank`
//! (retrieval). The metadata's `flava.kind` names the kind, `flava.task` the task.

use std::{fs::File, path::Path, sync::Arc};

use arrow_cast::CastOptions;

use arrow_array::{
    Array, ArrayRef, Float64Array, Int64Array, LargeListArray, ListArray, RecordBatch, StringArray,
    UInt32Array,
    builder::{FixedSizeListBuilder, Float32Builder, ListBuilder, StringBuilder},
    cast::AsArray,
    types::Float32Type,
};
use parquet::{
    arrow::{ArrowWriter, arrow_reader::ParquetRecordBatchReaderBuilder},
    basic::{Compression, ZstdLevel},
    file::{metadata::KeyValue, properties::WriterProperties},
};

use super::{Logits, Outputs, Predictions, Ranked};
use crate::{Error, Result, parquet_footer};

const KIND: &str = "flava.kind";
const TASK: &str = "flava.task";
const DIGEST: &str = "flava.sha256";
/// Classes that are believed where nothing says how many there are.
const MOST_CLASSES: usize = 1 << 14;
/// How many times its size a file unpacks to at most; a small one to 262 MB.
const MOST_UNPACKED: usize = 1000;
/// Most rows that are read.
const MAX_ROWS: i64 = 50_000_000;

impl Outputs {
    fn kind(&self) -> &'static str {
        match self {
            Self::Classes { .. } => "classes",
            Self::Values { .. } => "values",
            Self::Answers { .. } => "answers",
            Self::Ranks { .. } => "ranks",
        }
    }
}

fn integers(values: impl IntoIterator<Item = usize>) -> ArrayRef {
    Arc::new(UInt32Array::from_iter_values(
        values.into_iter().map(|value| value as u32),
    ))
}

impl Predictions {
    /// Writes a parquet file of a task's predictions, whole or not at all.
    pub fn write(&self, path: &Path, task: &str) -> Result<()> {
        let write = |part: &Path| {
            self.write_parquet(part, task)
                .map_err(|e| std::io::Error::other(e.to_string()))
        };
        Ok(flava_base::write_with(path, write)?)
    }

    fn write_parquet(&self, path: &Path, task: &str) -> Result<()> {
        let broken =
            |e: &dyn std::fmt::Display| Error::data(path, format!("cannot be written: {e}"));
        let batch = RecordBatch::try_from_iter(self.columns()).map_err(|e| broken(&e))?;
        let told = [
            (KIND, self.outputs.kind()),
            (TASK, task),
            (DIGEST, &self.digest(task)),
        ]
        .map(|(key, value)| KeyValue::new(key.into(), value.to_owned()));
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_key_value_metadata(Some(told.into()))
            .build();
        let file = File::create(path).map_err(|e| Error::io(path, e))?;
        let mut writer =
            ArrowWriter::try_new(file, batch.schema(), Some(properties)).map_err(|e| broken(&e))?;
        writer.write(&batch).map_err(|e| broken(&e))?;
        writer.close().map(drop).map_err(|e| broken(&e))
    }

    fn columns(&self) -> Vec<(&'static str, ArrayRef)> {
        let mut columns: Vec<(&str, ArrayRef)> = Vec::new();
        if !matches!(self.outputs, Outputs::Ranks { .. }) {
            columns.push(("id", Arc::new(StringArray::from_iter_values(&self.ids))));
        }
        if let Some(clusters) = &self.clusters {
            columns.push(("cluster", integers(clusters.iter().copied())));
        }
        match &self.outputs {
            Outputs::Classes {
                predicted,
                gold,
                logits,
            } => {
                columns.push(("predicted", integers(predicted.iter().copied())));
                columns.push(("gold", integers(gold.iter().copied())));
                if let Some(logits) = logits {
                    let mut lists =
                        FixedSizeListBuilder::new(Float32Builder::new(), logits.classes as i32);
                    for row in logits.rows() {
                        lists.values().append_slice(row);
                        lists.append(true);
                    }
                    columns.push(("logits", Arc::new(lists.finish())));
                }
            }
            Outputs::Values { predicted, gold } => {
                columns.push(("predicted", Arc::new(Float64Array::from(predicted.clone()))));
                columns.push(("gold", Arc::new(Float64Array::from(gold.clone()))));
            }
            Outputs::Answers { predicted, gold } => {
                let mut lists = ListBuilder::new(StringBuilder::new());
                for answers in gold {
                    answers
                        .iter()
                        .for_each(|answer| lists.values().append_value(answer));
                    lists.append(true);
                }
                columns.push(("answer", Arc::new(StringArray::from_iter_values(predicted))));
                columns.push(("answers", Arc::new(lists.finish())));
            }
            Outputs::Ranks { texts, images } => {
                let queries = texts
                    .iter()
                    .map(|_| "picture")
                    .chain(images.iter().map(|_| "caption"));
                let all = || texts.iter().chain(images);
                columns.push(("query", Arc::new(StringArray::from_iter_values(queries))));
                columns.push(("picture", integers(all().map(|ranked| ranked.picture))));
                columns.push(("rank", integers(all().map(|ranked| ranked.rank))));
            }
        }
        columns
    }

    /// Reads what [`Self::write`] wrote, and the task's name; None if the file is another
    /// program's.
    pub fn read(path: &Path) -> Result<Option<(Self, String)>> {
        let table = Table::open(path)?;
        let Some(kind) = table.kind.as_deref() else {
            return Ok(None);
        };
        let outputs = match kind {
            "classes" => {
                let (predicted, gold) = (table.integers("predicted")?, table.integers("gold")?);
                let logits = if table.has("logits") {
                    Some(table.logits("logits", &table.strings("id")?)?)
                } else {
                    None
                };
                let classes = logits.as_ref().map_or(MOST_CLASSES, Logits::classes);
                if let Some(class) = predicted
                    .iter()
                    .chain(&gold)
                    .find(|class| **class >= classes)
                {
                    return Err(Error::data(
                        path,
                        format!("holds the class {class}, which is none of {classes}"),
                    ));
                }
                Outputs::Classes {
                    predicted,
                    gold,
                    logits,
                }
            }
            "values" => Outputs::Values {
                predicted: table.floats("predicted")?,
                gold: table.floats("gold")?,
            },
            "answers" => Outputs::Answers {
                predicted: table.strings("answer")?,
                gold: table.word_lists("answers")?,
            },
            "ranks" => {
                let (queries, pictures, ranks) = (
                    table.strings("query")?,
                    table.integers("picture")?,
                    table.integers("rank")?,
                );
                let all = pictures
                    .into_iter()
                    .zip(ranks)
                    .map(|(picture, rank)| Ranked { picture, rank })
                    .zip(queries);
                let (texts, images): (Vec<_>, Vec<_>) =
                    all.partition(|(_, query)| query == "picture");
                let plain = |side: Vec<(Ranked, String)>| {
                    side.into_iter().map(|(ranked, _)| ranked).collect()
                };
                Outputs::Ranks {
                    texts: plain(texts),
                    images: plain(images),
                }
            }
            other => {
                return Err(Error::data(
                    path,
                    format!("holds predictions of an unknown kind, {other}"),
                ));
            }
        };
        let ids = if table.has("id") {
            table.strings("id")?
        } else {
            Vec::new()
        };
        let clusters = if table.has("cluster") {
            Some(table.integers("cluster")?)
        } else {
            None
        };
        let found = Self {
            ids,
            clusters,
            outputs,
        };
        let damaged = "is damaged: what it holds is not what its digest is of";
        let task = table.task.clone().unwrap_or_default();
        if table.digest.as_ref() != Some(&found.digest(&task)) {
            return Err(Error::data(path, damaged));
        }
        Ok(Some((found, task)))
    }
}

/// A parquet file, read whole.
pub(super) struct Table<'a> {
    path: &'a Path,
    batches: Vec<RecordBatch>,
    pub(super) kind: Option<String>,
    task: Option<String>,
    digest: Option<String>,
}

impl<'a> Table<'a> {
    pub(super) fn open(path: &'a Path) -> Result<Self> {
        let panicked = || Err(Error::data(path, "its reader gave up: the file is broken"));
        flava_base::guarded(|| Self::open_table(path)).unwrap_or_else(panicked)
    }

    fn open_table(path: &'a Path) -> Result<Self> {
        let (file, about) = flava_base::open(path)?;
        parquet_footer::check(&file, path)?;
        let broken = |e: &dyn std::fmt::Display| Error::data(path, e.to_string());
        let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|e| broken(&e))?;
        let rows = builder.metadata().file_metadata().num_rows();
        if !(0..=MAX_ROWS).contains(&rows) {
            return Err(Error::data(path, format!("claims {rows} rows")));
        }
        let pairs = builder.metadata().file_metadata().key_value_metadata();
        let told = |key: &str| {
            pairs
                .into_iter()
                .flatten()
                .find(|pair| pair.key == key)
                .and_then(|pair| pair.value.clone())
        };
        let (kind, task, digest) = (told(KIND), told(TASK), told(DIGEST));
        let most = (about.len() as usize)
            .saturating_mul(MOST_UNPACKED)
            .max(MOST_UNPACKED << 18);
        let (mut batches, mut bytes) = (Vec::new(), 0);
        for batch in builder.build().map_err(|e| broken(&e))? {
            let batch = batch.map_err(|e| broken(&e))?;
            bytes += batch.get_array_memory_size();
            if bytes > most {
                return Err(Error::data(
                    path,
                    format!(
                        "unpacks to more than {} MB, from {} bytes",
                        most >> 20,
                        about.len()
                    ),
                ));
            }
            batches.push(batch);
        }
        Ok(Self {
            path,
            batches,
            kind,
            task,
            digest,
        })
    }

    /// The columns, in order.
    pub(super) fn names(&self) -> Vec<String> {
        let schema = self.batches.first().map(RecordBatch::schema);
        schema
            .iter()
            .flat_map(|schema| schema.fields().iter().map(|field| field.name().clone()))
            .collect()
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.batches
            .first()
            .is_some_and(|batch| batch.column_by_name(name).is_some())
    }

    /// The column's parts, cast to one type.
    fn column(&self, name: &str, kind: &arrow_schema::DataType) -> Result<Vec<ArrayRef>> {
        let cast = |batch: &RecordBatch| {
            let column = batch
                .column_by_name(name)
                .ok_or_else(|| Error::data(self.path, format!("has no column {name}")))?;
            if column.logical_null_count() > 0 {
                return Err(Error::data(
                    self.path,
                    format!("column {name} has empty cells"),
                ));
            }
            // What cannot be cast is an error, and no empty cell.
            let options = CastOptions {
                safe: false,
                ..CastOptions::default()
            };
            arrow_cast::cast_with_options(column, kind, &options)
                .map_err(|e| Error::data(self.path, format!("column {name}: {e}")))
        };
        self.batches.iter().map(cast).collect()
    }

    pub(super) fn strings(&self, name: &str) -> Result<Vec<String>> {
        let parts = self.column(name, &arrow_schema::DataType::Utf8)?;
        Ok(parts
            .iter()
            .flat_map(|part| {
                part.as_string::<i32>()
                    .iter()
                    .flatten()
                    .map(str::to_owned)
                    .collect::<Vec<_>>()
            })
            .collect())
    }

    pub(super) fn integers(&self, name: &str) -> Result<Vec<usize>> {
        let parts = self.column(name, &arrow_schema::DataType::Int64)?;
        let all = parts.iter().flat_map(|part| {
            part.as_any()
                .downcast_ref::<Int64Array>()
                .map(|p| p.values().to_vec())
                .unwrap_or_default()
        });
        let checked = |value: i64| {
            usize::try_from(value)
                .map_err(|_| Error::data(self.path, format!("column {name} holds {value}")))
        };
        all.map(checked).collect()
    }

    pub(super) fn floats(&self, name: &str) -> Result<Vec<f64>> {
        let parts = self.column(name, &arrow_schema::DataType::Float64)?;
        let all = parts.iter().flat_map(|part| {
            part.as_any()
                .downcast_ref::<Float64Array>()
                .map(|p| p.values().to_vec())
                .unwrap_or_default()
        });
        let finite = |value: f64| {
            if value.is_finite() {
                Ok(value)
            } else {
                Err(Error::data(
                    self.path,
                    format!("column {name} holds {value}"),
                ))
            }
        };
        all.map(finite).collect()
    }

    /// Lists of numbers, all of one length.
    pub(super) fn logits(&self, name: &str, ids: &[String]) -> Result<Logits> {
        let item = arrow_schema::Field::new_list_field(arrow_schema::DataType::Float32, true);
        let parts = self.column(name, &arrow_schema::DataType::LargeList(Arc::new(item)))?;
        let (mut values, mut classes) = (Vec::new(), None);
        for part in &parts {
            let lists: &LargeListArray = part.as_list();
            for row in lists.iter().flatten() {
                let row = row.as_primitive::<Float32Type>();
                if row.null_count() > 0 || *classes.get_or_insert(row.len()) != row.len() {
                    let id = ids
                        .get(values.len() / classes.unwrap_or(1).max(1))
                        .map_or("?", String::as_str);
                    return Err(Error::data(
                        self.path,
                        format!(
                            "{id} has {} logits where others have {}",
                            row.len(),
                            classes.unwrap_or(0)
                        ),
                    ));
                }
                values.extend_from_slice(row.values());
            }
        }
        Logits::new(values, classes.unwrap_or(0), ids)
            .map_err(|e| Error::data(self.path, e.to_string()))
    }

    fn word_lists(&self, name: &str) -> Result<Vec<Arc<[Arc<str>]>>> {
        let item = arrow_schema::Field::new_list_field(arrow_schema::DataType::Utf8, true);
        let parts = self.column(name, &arrow_schema::DataType::List(Arc::new(item)))?;
        let words = |row: ArrayRef| {
            row.as_string::<i32>()
                .iter()
                .flatten()
                .map(Arc::from)
                .collect()
        };
        let lists = parts.iter().flat_map(|part| {
            let lists: &ListArray = part.as_list();
            lists.iter().flatten().map(words).collect::<Vec<_>>()
        });
        Ok(lists.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_reads_back_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p.parquet");
        let ids = ["a".to_owned(), "b".to_owned()];
        let logits = Logits::new(vec![0.5, -1.0, 2.0, 3.0], 2, &ids).unwrap();
        let ranked = |picture, rank| Ranked { picture, rank };
        let kinds = [
            Outputs::Classes {
                predicted: vec![0, 1],
                gold: vec![1, 1],
                logits: Some(logits),
            },
            Outputs::Classes {
                predicted: vec![0, 1],
                gold: vec![1, 1],
                logits: None,
            },
            Outputs::Values {
                predicted: vec![0.1, 2.0],
                gold: vec![0.1 + 0.2, 5.0],
            },
            Outputs::Answers {
                predicted: vec!["yes".into(), String::new()],
                gold: vec![["no".into()].into(), [].into()],
            },
            Outputs::Ranks {
                texts: vec![ranked(0, 3)],
                images: vec![ranked(0, 1), ranked(0, 2)],
            },
        ];
        for outputs in kinds {
            let queries = matches!(outputs, Outputs::Ranks { .. });
            let ids = if queries { Vec::new() } else { ids.to_vec() };
            let written = Predictions {
                ids,
                clusters: (!queries).then(|| vec![0, 0]),
                outputs,
            };
            written.write(&path, "colours").unwrap();
            assert_eq!(
                Predictions::read(&path).unwrap(),
                Some((written, "colours".to_owned()))
            );
        }
        std::fs::write(&path, "PAR1 and nothing").unwrap();
        assert!(
            Predictions::read(&path)
                .unwrap_err()
                .to_string()
                .contains("p.parquet")
        );
    }
}
