//! Predictions as parquet files, so that they can be scored again without a model.
//!
//! Columns: `id`, `cluster` where rows share images, then by kind `predicted`, `gold` and
//! `logits` (classes, values), `answer` and `answers` (words), or `query`, `picture` and `rank`
//! (retrieval). The metadata's `flava.kind` names the kind, `flava.task` the task.

use std::{fs::File, path::Path, sync::Arc};

use arrow_array::{
    ArrayRef, Float64Array, RecordBatch, StringArray, UInt32Array,
    builder::{FixedSizeListBuilder, Float32Builder, ListBuilder, StringBuilder},
};
use parquet::{
    arrow::ArrowWriter,
    basic::{Compression, ZstdLevel},
    file::{metadata::KeyValue, properties::WriterProperties},
};

use super::{
    logits::Logits,
    outputs::{Outputs, Predictions, Ranked},
    table::{DIGEST, KIND, TASK, Table},
};
use crate::{Error, Result};

/// Classes that are believed where nothing says how many there are.
const MOST_CLASSES: usize = 1 << 14;

/// A column and its name.
type Column = (&'static str, ArrayRef);

impl Outputs {
    fn kind(&self) -> &'static str {
        match self {
            Self::Classes { .. } => "classes",
            Self::Values { .. } => "values",
            Self::Answers { .. } => "answers",
            Self::Ranks { .. } => "ranks",
        }
    }

    fn columns(&self) -> Vec<Column> {
        match self {
            Self::Classes {
                predicted,
                gold,
                logits,
            } => {
                let classes = |all: &[usize]| integers(all.iter().copied());
                let mut columns = vec![("predicted", classes(predicted)), ("gold", classes(gold))];
                columns.extend(
                    logits
                        .as_ref()
                        .map(|logits| ("logits", number_lists(logits))),
                );
                columns
            }
            Self::Values { predicted, gold } => {
                vec![("predicted", numbers(predicted)), ("gold", numbers(gold))]
            }
            Self::Answers { predicted, gold } => {
                vec![("answer", texts(predicted)), ("answers", word_lists(gold))]
            }
            Self::Ranks { texts, images } => rank_columns(texts, images),
        }
    }
}

fn texts<T: AsRef<str>>(values: impl IntoIterator<Item = T>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

fn integers(values: impl IntoIterator<Item = usize>) -> ArrayRef {
    Arc::new(UInt32Array::from_iter_values(
        values.into_iter().map(|value| value as u32),
    ))
}

fn numbers(values: &[f64]) -> ArrayRef {
    Arc::new(Float64Array::from(values.to_vec()))
}

fn number_lists(logits: &Logits) -> ArrayRef {
    let mut lists = FixedSizeListBuilder::new(Float32Builder::new(), logits.classes() as i32);
    for row in logits.rows() {
        lists.values().append_slice(row);
        lists.append(true);
    }
    Arc::new(lists.finish())
}

fn word_lists(rows: &[Arc<[Arc<str>]>]) -> ArrayRef {
    let mut lists = ListBuilder::new(StringBuilder::new());
    for words in rows {
        for word in words.iter() {
            lists.values().append_value(word);
        }
        lists.append(true);
    }
    Arc::new(lists.finish())
}

fn rank_columns(of_texts: &[Ranked], of_images: &[Ranked]) -> Vec<Column> {
    let images = of_texts.iter().map(|_| "picture");
    let queries = images.chain(of_images.iter().map(|_| "caption"));
    let all = || of_texts.iter().chain(of_images);
    vec![
        ("query", texts(queries)),
        ("picture", integers(all().map(|ranked| ranked.image))),
        ("rank", integers(all().map(|ranked| ranked.rank))),
    ]
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

    fn columns(&self) -> Vec<Column> {
        let mut columns = Vec::new();
        if !matches!(self.outputs, Outputs::Ranks { .. }) {
            columns.push(("id", texts(&self.ids)));
        }
        if let Some(clusters) = &self.clusters {
            columns.push(("cluster", integers(clusters.iter().copied())));
        }
        columns.extend(self.outputs.columns());
        columns
    }

    /// Reads what [`Self::write`] wrote, and the task's name; None if the file is another
    /// program's.
    pub fn read(path: &Path) -> Result<Option<(Self, String)>> {
        let table = Table::open(path)?;
        let Some(kind) = table.kind.as_deref() else {
            return Ok(None);
        };
        let outputs = Outputs::read(&table, kind)?;
        let ids = if table.has("id") {
            table.strings("id")?
        } else {
            Vec::new()
        };
        let clusters = table.has("cluster").then(|| table.integers("cluster"));
        let found = Self {
            ids,
            clusters: clusters.transpose()?,
            outputs,
        };
        let task = table.task.clone().unwrap_or_default();
        if table.digest.as_ref() != Some(&found.digest(&task)) {
            return Err(table.broken("is damaged: what it holds is not what its digest is of"));
        }
        Ok(Some((found, task)))
    }
}

impl Outputs {
    fn read(table: &Table, kind: &str) -> Result<Self> {
        match kind {
            "classes" => Self::read_classes(table),
            "values" => Ok(Self::Values {
                predicted: table.floats("predicted")?,
                gold: table.floats("gold")?,
            }),
            "answers" => Ok(Self::Answers {
                predicted: table.strings("answer")?,
                gold: table.word_lists("answers")?,
            }),
            "ranks" => Self::read_ranks(table),
            other => Err(table.broken(format!("holds predictions of an unknown kind, {other}"))),
        }
    }

    fn read_classes(table: &Table) -> Result<Self> {
        let (predicted, gold) = (table.integers("predicted")?, table.integers("gold")?);
        let logits = if table.has("logits") {
            Some(table.logits("logits", &table.strings("id")?)?)
        } else {
            None
        };
        let classes = logits.as_ref().map_or(MOST_CLASSES, Logits::classes);
        let mut all = predicted.iter().chain(&gold);
        if let Some(class) = all.find(|class| **class >= classes) {
            let reason = format!("holds the class {class}, which is none of {classes}");
            return Err(table.broken(reason));
        }
        Ok(Self::Classes {
            predicted,
            gold,
            logits,
        })
    }

    fn read_ranks(table: &Table) -> Result<Self> {
        let queries = table.strings("query")?;
        let of = table.integers("picture")?;
        let ranks = table.integers("rank")?;
        let (mut texts, mut images) = (Vec::new(), Vec::new());
        for ((image, rank), query) in of.into_iter().zip(ranks).zip(queries) {
            let side = if query == "picture" {
                &mut texts
            } else {
                &mut images
            };
            side.push(Ranked { image, rank });
        }
        Ok(Self::Ranks { texts, images })
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
        let ranked = |image, rank| Ranked { image, rank };
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
