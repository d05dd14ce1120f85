//! Parquet as the Hub serves it: pictures as a struct of `bytes` and `path`, labels as integers.
//!
//! Labels are read when a split is opened; pictures a row group at a time, of which a few are kept.

use std::{
    collections::VecDeque,
    fs::File,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use arrow_array::{Array, ArrayRef, BinaryArray, Int64Array, LargeBinaryArray, RecordBatch, StructArray, cast::AsArray};
use arrow_schema::DataType;
use parquet::arrow::{
    ProjectionMask,
    arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder},
};

use super::{Dataset, Example, Label, checked_label, guarded};
use crate::{Error, Result};

/// Largest row group, uncompressed, that is read: the Hub writes some 100 MB.
const MAX_GROUP: i64 = 4 << 30;
/// Row groups kept in memory: one for each loader thread, and one that is left behind.
const KEPT: usize = 4;
/// Rows decoded at once.
const BATCH: usize = 1024;

/// One row group of one file.
struct Group {
    file: usize,
    group: usize,
    /// Index of its first row in the split.
    start: usize,
    /// Row of its file that it starts with.
    first_row: usize,
    rows: usize,
}

type Pictures = Arc<Vec<Option<Vec<u8>>>>;

/// The files of one split.
pub(super) struct ParquetDataset {
    files: Vec<(PathBuf, ArrowReaderMetadata)>,
    image: String,
    groups: Vec<Group>,
    labels: Vec<usize>,
    kept: Mutex<VecDeque<(usize, Pictures)>>,
}

impl ParquetDataset {
    /// Opens `files`, checks their columns and reads all labels.
    pub(super) fn open(files: &[PathBuf], image: &str, label: &str, classes: usize) -> Result<Self> {
        let mut dataset =
            Self { files: Vec::new(), image: image.to_owned(), groups: Vec::new(), labels: Vec::new(), kept: Mutex::default() };
        for path in files {
            guarded(path, || dataset.add(path, label, classes))?;
        }
        Ok(dataset)
    }

    fn add(&mut self, path: &Path, label: &str, classes: usize) -> Result<()> {
        let file = File::open(path).map_err(|e| Error::io(path, e))?;
        let metadata = ArrowReaderMetadata::load(&file, ArrowReaderOptions::default())
            .map_err(|e| Error::data(path, format!("is no whole parquet file: {e}")))?;
        let length = file.metadata().map_err(|e| Error::io(path, e))?.len();
        check_columns(path, &metadata, &self.image, label)?;
        let mut first_row = 0;
        for (group, meta) in metadata.metadata().row_groups().iter().enumerate() {
            let rows = usize::try_from(meta.num_rows())
                .map_err(|_| Error::data(path, format!("row group {group} has {} rows", meta.num_rows())))?;
            let compressed = u64::try_from(meta.compressed_size()).unwrap_or(u64::MAX);
            if compressed > length || !(0..=MAX_GROUP).contains(&meta.total_byte_size()) {
                let claim =
                    format!("row group {group} claims {compressed} bytes, {} unpacked; the file has {length}", meta.total_byte_size());
                return Err(Error::data(path, claim));
            }
            let start = self.labels.len() + first_row;
            self.groups.push(Group { file: self.files.len(), group, start, first_row, rows });
            first_row += rows;
        }
        let labels = read_column(path, &metadata, label, None)?;
        let count = labels.iter().map(Array::len).sum::<usize>();
        if count != first_row {
            return Err(Error::data(path, format!("column {label} has {count} rows, the file says {first_row}")));
        }
        let file_start = self.labels.len();
        for column in &labels {
            self.add_labels(path, column, label, classes, file_start)?;
        }
        self.files.push((path.to_owned(), metadata));
        Ok(())
    }

    fn add_labels(&mut self, path: &Path, column: &ArrayRef, label: &str, classes: usize, file_start: usize) -> Result<()> {
        let column = arrow_cast_to_i64(column)
            .ok_or_else(|| Error::data(path, format!("column {label} is {}, not an integer", column.data_type())))?;
        for row in 0..column.len() {
            let place = format!("row {}", self.labels.len() - file_start);
            if column.is_null(row) {
                return Err(Error::data(path, format!("{place}: the label is null")));
            }
            self.labels.push(checked_label(path, &place, column.value(row), classes)?);
        }
        Ok(())
    }

    fn group_of(&self, index: usize) -> usize {
        self.groups.partition_point(|group| group.start <= index) - 1
    }

    /// The pictures of a row group, read or kept. Threads that want the same group wait for the one that reads it.
    fn pictures(&self, group: usize) -> Result<Pictures> {
        let mut kept = self.kept.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some((_, pictures)) = kept.iter().find(|(g, _)| *g == group) {
            return Ok(Arc::clone(pictures));
        }
        let Group { file, group: in_file, rows, .. } = self.groups[group];
        let (path, metadata) = &self.files[file];
        let columns = guarded(path, || read_column(path, metadata, &self.image, Some(in_file)))?;
        let pictures: Vec<Option<Vec<u8>>> = columns.iter().flat_map(picture_bytes).collect();
        if pictures.len() != rows {
            return Err(Error::data(path, format!("row group {in_file} has {} pictures, the file says {rows}", pictures.len())));
        }
        let pictures = Arc::new(pictures);
        kept.push_back((group, Arc::clone(&pictures)));
        if kept.len() > KEPT {
            kept.pop_front();
        }
        Ok(pictures)
    }
}

/// The named columns are there and of the right types.
fn check_columns(path: &Path, metadata: &ArrowReaderMetadata, image: &str, label: &str) -> Result<()> {
    let schema = metadata.schema();
    let names: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
    for column in [image, label] {
        if !names.contains(&column) {
            return Err(Error::data(path, format!("has no column {column}; its columns are {}", names.join(", "))));
        }
    }
    let kind = schema.field_with_name(image).map_err(|e| Error::data(path, e))?.data_type();
    let bytes = |kind: &DataType| matches!(kind, DataType::Binary | DataType::LargeBinary);
    let fits = match kind {
        DataType::Struct(fields) => fields.iter().any(|f| f.name() == "bytes" && bytes(f.data_type())),
        other => bytes(other),
    };
    if fits { Ok(()) } else { Err(Error::data(path, format!("column {image} is {kind}, not a picture (a struct with bytes)"))) }
}

/// One column, of one row group or of all.
fn read_column(path: &Path, metadata: &ArrowReaderMetadata, column: &str, group: Option<usize>) -> Result<Vec<ArrayRef>> {
    let broken = |e: &dyn ToString| {
        Error::data(path, format!("column {column}{}: {}", group.map_or(String::new(), |g| format!(", row group {g}")), e.to_string()))
    };
    let file = File::open(path).map_err(|e| Error::io(path, e))?;
    let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata.clone());
    let mask = ProjectionMask::columns(builder.parquet_schema(), [column]);
    let builder = builder.with_projection(mask).with_batch_size(BATCH);
    let builder = if let Some(group) = group { builder.with_row_groups(vec![group]) } else { builder };
    let reader = builder.build().map_err(|e| broken(&e))?;
    let first = |batch: RecordBatch| Arc::clone(batch.column(0));
    reader.map(|batch| batch.map(first).map_err(|e| broken(&e))).collect()
}

fn arrow_cast_to_i64(column: &ArrayRef) -> Option<Int64Array> {
    use arrow_array::types::{Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type};
    macro_rules! widen {
        ($kind:ty) => {
            column.as_primitive::<$kind>().iter().map(|v| v.map(i64::from)).collect()
        };
    }
    Some(match column.data_type() {
        DataType::Int64 => column.as_primitive::<Int64Type>().clone(),
        DataType::Int32 => widen!(Int32Type),
        DataType::Int16 => widen!(Int16Type),
        DataType::Int8 => widen!(Int8Type),
        DataType::UInt32 => widen!(UInt32Type),
        DataType::UInt16 => widen!(UInt16Type),
        DataType::UInt8 => widen!(UInt8Type),
        _ => return None,
    })
}

fn picture_bytes(column: &ArrayRef) -> Vec<Option<Vec<u8>>> {
    let bytes = match column.as_any().downcast_ref::<StructArray>() {
        Some(picture) => picture.column_by_name("bytes").map_or_else(|| Arc::clone(column), Arc::clone),
        None => Arc::clone(column),
    };
    if let Some(small) = bytes.as_any().downcast_ref::<BinaryArray>() {
        small.iter().map(|b| b.map(<[u8]>::to_vec)).collect()
    } else if let Some(large) = bytes.as_any().downcast_ref::<LargeBinaryArray>() {
        large.iter().map(|b| b.map(<[u8]>::to_vec)).collect()
    } else {
        vec![None; bytes.len()]
    }
}

impl Dataset for ParquetDataset {
    fn len(&self) -> usize {
        self.labels.len()
    }

    fn id(&self, index: usize) -> String {
        let group = &self.groups[self.group_of(index)];
        let name = self.files[group.file].0.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned());
        format!("{name}:{}", group.first_row + index - group.start)
    }

    fn label(&self, index: usize) -> Label {
        Label::Class(self.labels[index])
    }

    fn get(&self, index: usize) -> Result<Example> {
        let group = self.group_of(index);
        let at = index - self.groups[group].start;
        let image = self.pictures(group)?[at].clone();
        let missing = || {
            Error::data(&self.files[self.groups[group].file].0, format!("row {}: there is no picture", self.groups[group].first_row + at))
        };
        Ok(Example { id: self.id(index), image: Some(image.ok_or_else(missing)?), texts: Vec::new(), label: self.label(index) })
    }
}
