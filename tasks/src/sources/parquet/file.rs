//! One file of a split, parquet or Arrow's own: its columns, and readers of them.

use std::path::{Path, PathBuf};

use arrow_array::RecordBatch;
use arrow_schema::{ArrowError, DataType, SchemaRef};
use parquet::arrow::{
    ProjectionMask,
    arrow_reader::{
        ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
        ParquetRecordBatchReaderBuilder, RowSelection, RowSelector,
    },
};

use super::{
    ipc::{IpcIndex, IpcReader},
    values::is_binary,
};
use crate::{Columns, Error, Result, parquet_footer};

/// Rows of labels and texts decoded at once.
const BATCH: usize = 8192;

/// Some rows of one row group of one file.
pub(super) struct Window {
    pub(super) file: usize,
    pub(super) group: usize,
    /// Rows of the group before it.
    pub(super) skip: usize,
    pub(super) rows: usize,
    /// Row of all files that it starts with.
    pub(super) start: usize,
}

/// A file and what it says of itself.
pub(super) struct ParquetFile {
    pub(super) path: PathBuf,
    pub(super) body: FileBody,
    /// In bytes.
    pub(super) length: u64,
}

/// What a file says of its rows.
pub(super) enum FileBody {
    /// Row groups of parquet.
    Parquet(ArrowReaderMetadata),
    /// Batches of Arrow.
    Ipc(IpcIndex),
}

/// Rows of a file, some at a time.
pub(super) enum RowReader {
    Parquet(Box<ParquetRecordBatchReader>),
    Ipc(Box<IpcReader>),
}

impl Iterator for RowReader {
    type Item = std::result::Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Parquet(reader) => reader.next(),
            Self::Ipc(reader) => reader.next(),
        }
    }
}

impl ParquetFile {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let (file, about) = flava_base::open(path)?;
        let length = about.len();
        let body = if is_arrow(path) {
            FileBody::Ipc(IpcIndex::read(path, &file, length)?)
        } else {
            parquet_footer::check(&file, path)?;
            let metadata = ArrowReaderMetadata::load(&file, ArrowReaderOptions::default());
            let broken = |e| Error::data(path, format!("is no whole parquet file: {e}"));
            FileBody::Parquet(metadata.map_err(broken)?)
        };
        Ok(Self {
            path: path.to_owned(),
            body,
            length,
        })
    }

    /// The columns.
    pub(super) fn schema(&self) -> &SchemaRef {
        match &self.body {
            FileBody::Parquet(metadata) => metadata.schema(),
            FileBody::Ipc(index) => &index.schema,
        }
    }

    /// What `datasets` says of the columns, if it wrote the file.
    pub(super) fn description(&self) -> Option<&String> {
        const KEY: &str = "huggingface";
        match &self.body {
            FileBody::Parquet(metadata) => {
                let about = metadata.metadata().file_metadata();
                let mut pairs = about.key_value_metadata().into_iter().flatten();
                pairs.find(|pair| pair.key == KEY)?.value.as_ref()
            }
            FileBody::Ipc(index) => index.schema.metadata().get(KEY),
        }
    }

    /// Its name, without its folder.
    pub(super) fn name(&self) -> String {
        let name = self.path.file_name();
        name.map_or_else(String::new, |name| name.to_string_lossy().into_owned())
    }

    pub(super) fn wrong(&self, reason: impl ToString) -> Error {
        Error::data(&self.path, reason)
    }

    /// What went wrong in reading some columns, of a row group or of all.
    pub(super) fn broken(&self, columns: &[&str], group: Option<usize>, e: &dyn ToString) -> Error {
        let position = group.map_or(String::new(), |group| format!(", row group {group}"));
        let columns = columns.join(", ");
        self.wrong(format!("column {columns}{position}: {}", e.to_string()))
    }

    /// The named columns are there, and the image is one.
    pub(super) fn check_columns(&self, columns: &Columns) -> Result<()> {
        let schema = self.schema();
        let names: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
        let image = Some(columns.image.as_str()).filter(|image| !image.is_empty());
        for column in small_columns(columns).into_iter().chain(image) {
            if !names.contains(&column) {
                let names = names.join(", ");
                return Err(self.wrong(format!("has no column {column}; its columns are {names}")));
            }
        }
        let Some(image) = image else { return Ok(()) };
        let field = schema.field_with_name(image);
        let kind = field.map_err(|e| self.wrong(e))?.data_type();
        if holds_images(kind) {
            return Ok(());
        }
        Err(self.wrong(format!(
            "column {image} is {kind}, not an image (a struct with bytes)"
        )))
    }

    /// Reads some columns: of a row group from a window on, a window at a time, or of all rows.
    pub(super) fn reader(&self, columns: &[&str], from: Option<&Window>) -> Result<RowReader> {
        let (file, _) = flava_base::open(&self.path)?;
        let metadata = match &self.body {
            FileBody::Parquet(metadata) => metadata.clone(),
            FileBody::Ipc(index) => {
                let from = from.map(|window| (window.group, window.skip, window.rows));
                return Ok(RowReader::Ipc(Box::new(index.reader(file, columns, from))));
            }
        };
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata);
        let mask = ProjectionMask::columns(builder.parquet_schema(), columns.iter().copied());
        let mut builder = builder
            .with_projection(mask)
            .with_batch_size(from.map_or(BATCH, |w| w.rows));
        if let Some(Window { group, skip, .. }) = from {
            let group_data = builder.metadata().row_group(*group);
            let rows = group_data.num_rows() as usize;
            let rest = vec![RowSelector::skip(*skip), RowSelector::select(rows - skip)];
            builder = builder
                .with_row_groups(vec![*group])
                .with_row_selection(RowSelection::from(rest));
        }
        let reader = builder.build();
        let reader = reader.map_err(|e| self.broken(columns, from.map(|w| w.group), &e))?;
        Ok(RowReader::Parquet(Box::new(reader)))
    }
}

/// The columns that are read when a split is opened: all but the images.
pub(super) fn small_columns(columns: &Columns) -> Vec<&str> {
    let c = columns;
    let one = [&c.captions, &c.label, &c.answers, &c.id, &c.group, &c.split];
    one.into_iter()
        .chain(&c.texts)
        .filter(|name| !name.is_empty())
        .map(String::as_str)
        .collect()
}

fn holds_images(kind: &DataType) -> bool {
    match kind {
        DataType::Struct(fields) => fields.iter().any(|f| match f.name().as_str() {
            "bytes" => is_binary(f.data_type()),
            "path" => true,
            _ => false,
        }),
        other => is_binary(other),
    }
}

/// Whether a file's name ends as those of parquet files do, or of Arrow's own.
pub fn is_parquet(file: &Path) -> bool {
    let ending = file.extension().unwrap_or_default();
    ending.eq_ignore_ascii_case("parquet") || is_arrow(file)
}

/// Whether a file's name ends as those of Arrow's own files do.
fn is_arrow(file: &Path) -> bool {
    let ending = file.extension().unwrap_or_default();
    ending.eq_ignore_ascii_case("arrow")
}
