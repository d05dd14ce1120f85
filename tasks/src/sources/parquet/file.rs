//! One parquet file of a split: its columns, and readers of them.

use std::path::{Path, PathBuf};

use arrow_schema::DataType;
use parquet::arrow::{
    ProjectionMask,
    arrow_reader::{
        ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
        ParquetRecordBatchReaderBuilder, RowSelection, RowSelector,
    },
};

use super::values::is_binary;
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
    pub(super) metadata: ArrowReaderMetadata,
    /// In bytes.
    pub(super) length: u64,
}

impl ParquetFile {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let (file, about) = flava_base::open(path)?;
        parquet_footer::check(&file, path)?;
        let metadata = ArrowReaderMetadata::load(&file, ArrowReaderOptions::default())
            .map_err(|e| Error::data(path, format!("is no whole parquet file: {e}")))?;
        Ok(Self {
            path: path.to_owned(),
            metadata,
            length: about.len(),
        })
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
        let schema = self.metadata.schema();
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
    pub(super) fn reader(
        &self,
        columns: &[&str],
        from: Option<&Window>,
    ) -> Result<ParquetRecordBatchReader> {
        let (file, _) = flava_base::open(&self.path)?;
        let metadata = self.metadata.clone();
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata);
        let mask = ProjectionMask::columns(builder.parquet_schema(), columns.iter().copied());
        let mut builder = builder
            .with_projection(mask)
            .with_batch_size(from.map_or(BATCH, |w| w.rows));
        if let Some(Window { group, skip, .. }) = from {
            let group_data = self.metadata.metadata().row_group(*group);
            let rows = group_data.num_rows() as usize;
            let rest = vec![RowSelector::skip(*skip), RowSelector::select(rows - skip)];
            builder = builder
                .with_row_groups(vec![*group])
                .with_row_selection(RowSelection::from(rest));
        }
        let reader = builder.build();
        reader.map_err(|e| self.broken(columns, from.map(|w| w.group), &e))
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
