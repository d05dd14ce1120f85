//! The images of parquet files, a window of rows at a time.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

use arrow_array::{
    Array, ArrayRef, LargeBinaryArray, LargeStringArray, RecordBatch, cast::AsArray,
};
use arrow_schema::DataType;

use super::{
    super::reading::{MAX_IMAGE, guarded, leads_out, read_limited},
    file::{FileBody, ParquetFile, RowReader, Window},
    values::cast_to,
};
use crate::Result;

/// The files of a split with their windows, and the windows that were read last.
pub(super) struct ImageWindows {
    /// The column of the images.
    column: String,
    files: Vec<ParquetFile>,
    windows: Vec<Window>,
    kept: Mutex<Kept>,
}

/// Windows that were read, and the reader that can go on from the last.
#[derive(Default)]
struct Kept {
    windows: VecDeque<(usize, Images)>,
    reader: Option<(usize, RowReader)>,
}

impl Kept {
    /// The images of a window, if they are kept; it is the last that was used then.
    fn get(&mut self, window: usize) -> Option<Images> {
        let position = self.windows.iter().position(|(w, _)| *w == window)?;
        let used = self.windows.remove(position)?;
        let images = used.1.clone();
        self.windows.push_back(used);
        Some(images)
    }

    fn add(&mut self, window: usize, images: Images) {
        self.windows.push_back((window, images));
        // One for each thread that may be at another place, and one that is left behind; the
        // longest unused goes.
        let room = std::thread::available_parallelism().map_or(4, usize::from) + 2;
        while self.windows.len() > room {
            self.windows.pop_front();
        }
    }
}

/// The images of a window: their bytes, or where there are none, the files that they are in.
#[derive(Clone)]
struct Images {
    bytes: Option<LargeBinaryArray>,
    paths: Option<LargeStringArray>,
}

impl ImageWindows {
    pub(super) fn new(column: &str) -> Self {
        Self {
            column: column.to_owned(),
            files: Vec::new(),
            windows: Vec::new(),
            kept: Mutex::default(),
        }
    }

    pub(super) fn add(&mut self, file: ParquetFile, windows: Vec<Window>) {
        self.files.push(file);
        self.windows.extend(windows);
    }

    /// Whether there is a column of images.
    pub(super) fn are_read(&self) -> bool {
        !self.column.is_empty()
    }

    /// The place of the next file.
    pub(super) fn files(&self) -> usize {
        self.files.len()
    }

    /// The place of the window of a row of all files.
    fn window_of(&self, row: usize) -> usize {
        self.windows.partition_point(|window| window.start <= row) - 1
    }

    /// Which file a row of all files is in, and which row of the file it is.
    pub(super) fn origin(&self, row: usize) -> (usize, usize) {
        let file = self.windows[self.window_of(row)].file;
        let mut windows = self.windows.iter();
        let first = windows.find(|other| other.file == file);
        (file, row - first.map_or(0, |first| first.start))
    }

    /// The images of a window, read or kept. Threads that want the same window wait for the one
    /// that reads it.
    fn images(&self, position: usize) -> Result<Images> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(images) = kept.get(position) {
            return Ok(images);
        }
        let window = &self.windows[position];
        let file = &self.files[window.file];
        // In order, one reader goes through a row group: a page that is larger than a window is
        // unpacked once.
        let reader = kept.reader.take().filter(|(next, _)| *next == position);
        let (batch, reader) = guarded(&file.path, || {
            let reader = reader.map(|(_, reader)| reader);
            self.next_batch(window, reader)
        })?;
        let batch = batch.filter(|batch| batch.num_rows() == window.rows);
        let batch = batch.ok_or_else(|| {
            let group = window.group;
            file.wrong(format!(
                "row group {group} has fewer images than the file says"
            ))
        })?;
        let images = guarded(&file.path, || Images::new(file, &self.column, &batch))?;
        let next = self.windows.get(position + 1);
        let goes_on =
            next.is_some_and(|next| (next.file, next.group) == (window.file, window.group));
        kept.reader = goes_on.then_some((position + 1, reader));
        kept.add(position, images.clone());
        Ok(images)
    }

    /// What a reader that stands at a window gives, or a new one; and the reader.
    fn next_batch(
        &self,
        window: &Window,
        reader: Option<RowReader>,
    ) -> Result<(Option<RecordBatch>, RowReader)> {
        let file = &self.files[window.file];
        let image = [self.column.as_str()];
        let mut reader = reader.map_or_else(|| file.reader(&image, Some(window)), Ok)?;
        let batch = reader.next().transpose();
        let batch = batch.map_err(|e| file.broken(&image, Some(window.group), &e))?;
        Ok((batch, reader))
    }

    /// The image of a row of all files; None if it is null.
    pub(super) fn image(&self, row: usize) -> Result<Option<Vec<u8>>> {
        let position = self.window_of(row);
        let window = &self.windows[position];
        let (images, index) = (self.images(position)?, row - window.start);
        if let Some(bytes) = images.bytes.filter(|bytes| bytes.is_valid(index)) {
            return Ok(Some(bytes.value(index).to_vec()));
        }
        let Some(paths) = images.paths.filter(|paths| paths.is_valid(index)) else {
            return Ok(None);
        };
        let (named, file) = (paths.value(index), &self.files[window.file]);
        if leads_out(named) {
            let row = index + window.skip;
            return Err(file.wrong(format!(
                "row {row}: holds no image but the path {named:?}, outside its folder"
            )));
        }
        let path = file.path.with_file_name(named);
        Ok(Some(read_limited(&path, MAX_IMAGE)?))
    }
}

impl Images {
    fn new(file: &ParquetFile, name: &str, batch: &RecordBatch) -> Result<Self> {
        let column = batch.column(0);
        let to = |column: &ArrayRef, kind| cast_to(&file.path, name, column, &kind);
        let bytes = |column| -> Result<LargeBinaryArray> {
            let column = to(column, DataType::LargeBinary)?;
            let images = column.as_binary::<i64>();
            // Rows of Arrow's own files share the bytes of their whole batch, which may go then.
            Ok(match &file.body {
                FileBody::Ipc(_) => images.iter().collect(),
                FileBody::Parquet(_) => images.clone(),
            })
        };
        let text = |column| -> Result<LargeStringArray> {
            let column = to(column, DataType::LargeUtf8)?;
            Ok(column.as_string::<i64>().clone())
        };
        let Some(fields) = column.as_struct_opt() else {
            return Ok(Self {
                bytes: Some(bytes(column)?),
                paths: None,
            });
        };
        let some_are_there = fields.null_count() < fields.len();
        let field = |name: &str| fields.column_by_name(name).filter(|_| some_are_there);
        Ok(Self {
            bytes: field("bytes").map(bytes).transpose()?,
            paths: field("path").map(text).transpose()?,
        })
    }
}
