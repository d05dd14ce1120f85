//! Parquet files of predictions, column by column.

use std::{path::Path, sync::Arc};

use arrow_array::{
    Array, ArrayRef, ArrowPrimitiveType, RecordBatch,
    cast::AsArray,
    types::{Float32Type, Float64Type, Int64Type},
};
use arrow_cast::CastOptions;
use arrow_schema::{DataType, Field};
use parquet::{
    arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder},
    errors::ParquetError,
    file::metadata::FileMetaData,
};

use super::logits::Logits;
use crate::{Error, Result, parquet_footer};

/// The keys of a file's metadata.
pub(super) const KIND: &str = "flava.kind";
pub(super) const TASK: &str = "flava.task";
pub(super) const DIGEST: &str = "flava.sha256";
/// How many times its size a file unpacks to at most; a small one to 262 MB.
const MOST_UNPACKED: usize = 1000;
/// Most rows that are read.
const MAX_ROWS: i64 = 50_000_000;

/// A parquet file, read whole.
pub(super) struct Table<'a> {
    path: &'a Path,
    batches: Vec<RecordBatch>,
    pub(super) kind: Option<String>,
    pub(super) task: Option<String>,
    pub(super) digest: Option<String>,
}

impl<'a> Table<'a> {
    pub(super) fn open(path: &'a Path) -> Result<Self> {
        let panicked = || Err(Error::data(path, "its reader gave up: the file is broken"));
        flava_base::guarded(|| Self::open_table(path)).unwrap_or_else(panicked)
    }

    fn open_table(path: &'a Path) -> Result<Self> {
        let (file, about) = flava_base::open(path)?;
        parquet_footer::check(&file, path)?;
        let broken = |e: ParquetError| Error::data(path, e.to_string());
        let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(broken)?;
        let told = builder.metadata().file_metadata();
        let rows = told.num_rows();
        if !(0..=MAX_ROWS).contains(&rows) {
            return Err(Error::data(path, format!("claims {rows} rows")));
        }
        let (kind, task, digest) = (value(told, KIND), value(told, TASK), value(told, DIGEST));
        let mut table = Self {
            path,
            batches: Vec::new(),
            kind,
            task,
            digest,
        };
        table.unpack(builder.build().map_err(broken)?, about.len())?;
        Ok(table)
    }

    /// Reads the rows of a file of so many bytes.
    fn unpack(&mut self, reader: ParquetRecordBatchReader, size: u64) -> Result<()> {
        let most = (size as usize)
            .saturating_mul(MOST_UNPACKED)
            .max(MOST_UNPACKED << 18);
        let mut bytes = 0;
        for batch in reader {
            let batch = batch.map_err(|e| self.broken(e))?;
            bytes += batch.get_array_memory_size();
            if bytes > most {
                let most = most >> 20;
                let reason = format!("unpacks to more than {most} MB, from {size} bytes");
                return Err(self.broken(reason));
            }
            self.batches.push(batch);
        }
        Ok(())
    }

    /// The error of a file that does not hold what it should.
    pub(super) fn broken(&self, reason: impl ToString) -> Error {
        Error::data(self.path, reason)
    }

    /// The columns, in order.
    pub(super) fn names(&self) -> Vec<String> {
        let schema = self.batches.first().map(RecordBatch::schema);
        schema
            .iter()
            .flat_map(|schema| schema.fields().iter().map(|field| field.name().clone()))
            .collect()
    }

    /// The column whose name is this one in lower case.
    pub(super) fn named(&self, lower: &str) -> String {
        let mut names = self.names().into_iter();
        names
            .find(|name| name.trim().to_lowercase() == lower)
            .unwrap_or_default()
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.batches
            .first()
            .is_some_and(|batch| batch.column_by_name(name).is_some())
    }

    /// The column's parts, cast to one type.
    fn column(&self, name: &str, kind: &DataType) -> Result<Vec<ArrayRef>> {
        let cast = |batch: &RecordBatch| {
            let column = batch
                .column_by_name(name)
                .ok_or_else(|| self.broken(format!("has no column {name}")))?;
            if column.logical_null_count() > 0 {
                return Err(self.broken(format!("column {name} has empty cells")));
            }
            // What cannot be cast is an error, and no empty cell.
            let options = CastOptions {
                safe: false,
                ..CastOptions::default()
            };
            arrow_cast::cast_with_options(column, kind, &options)
                .map_err(|e| self.broken(format!("column {name}: {e}")))
        };
        self.batches.iter().map(cast).collect()
    }

    pub(super) fn strings(&self, name: &str) -> Result<Vec<String>> {
        let parts = self.column(name, &DataType::Utf8)?;
        let texts = |part: &ArrayRef| {
            let texts = part.as_string::<i32>().iter().flatten();
            texts.map(str::to_owned).collect::<Vec<_>>()
        };
        Ok(parts.iter().flat_map(texts).collect())
    }

    pub(super) fn integers(&self, name: &str) -> Result<Vec<usize>> {
        let checked = |value: i64| {
            usize::try_from(value).map_err(|_| self.broken(format!("column {name} holds {value}")))
        };
        let all = self.numbers::<Int64Type>(name)?;
        all.into_iter().map(checked).collect()
    }

    pub(super) fn floats(&self, name: &str) -> Result<Vec<f64>> {
        let finite = |value: f64| {
            if value.is_finite() {
                Ok(value)
            } else {
                Err(self.broken(format!("column {name} holds {value}")))
            }
        };
        let all = self.numbers::<Float64Type>(name)?;
        all.into_iter().map(finite).collect()
    }

    fn numbers<T: ArrowPrimitiveType>(&self, name: &str) -> Result<Vec<T::Native>> {
        let parts = self.column(name, &T::DATA_TYPE)?;
        let values = |part: &ArrayRef| part.as_primitive::<T>().values().to_vec();
        Ok(parts.iter().flat_map(values).collect())
    }

    /// Lists of numbers, all of one length.
    pub(super) fn logits(&self, name: &str, ids: &[String]) -> Result<Logits> {
        let item = Field::new_list_field(DataType::Float32, true);
        let parts = self.column(name, &DataType::LargeList(Arc::new(item)))?;
        let (mut values, mut classes) = (Vec::new(), None);
        for row in parts
            .iter()
            .flat_map(|part| part.as_list::<i64>().iter().flatten())
        {
            let row = row.as_primitive::<Float32Type>();
            if row.null_count() > 0 || *classes.get_or_insert(row.len()) != row.len() {
                let (have, others) = (row.len(), classes.unwrap_or(0));
                let id = ids.get(values.len() / others.max(1));
                let id = id.map_or("?", String::as_str);
                let reason = format!("{id} has {have} logits where others have {others}");
                return Err(self.broken(reason));
            }
            values.extend_from_slice(row.values());
        }
        Logits::new(values, classes.unwrap_or(0), ids).map_err(|e| self.broken(e))
    }

    pub(super) fn word_lists(&self, name: &str) -> Result<Vec<Arc<[Arc<str>]>>> {
        let item = Field::new_list_field(DataType::Utf8, true);
        let parts = self.column(name, &DataType::List(Arc::new(item)))?;
        let words = |row: ArrayRef| {
            let words = row.as_string::<i32>().iter().flatten();
            words.map(Arc::from).collect()
        };
        let lists = parts.iter().flat_map(|part| {
            let lists = part.as_list::<i32>().iter().flatten();
            lists.map(words).collect::<Vec<_>>()
        });
        Ok(lists.collect())
    }
}

/// What a file's metadata say under a key.
fn value(metadata: &FileMetaData, key: &str) -> Option<String> {
    let mut pairs = metadata.key_value_metadata().into_iter().flatten();
    let pair = pairs.find(|pair| pair.key == key)?;
    pair.value.clone()
}
