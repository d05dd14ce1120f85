//! Parquet as the Hub serves it: labels, texts and ids are read when a split is opened, pictures a
//! window of rows at a time.

use std::{
    collections::{HashMap, VecDeque},
    fs::File,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use arrow_array::{Array, LargeBinaryArray, LargeStringArray, RecordBatch, cast::AsArray};
use arrow_schema::DataType;
use parquet::arrow::{
    ProjectionMask,
    arrow_reader::{
        ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
        ParquetRecordBatchReaderBuilder, RowSelection, RowSelector,
    },
};

use super::{
    Dataset, Example, ImageOrigin, Label, class_names, guarded,
    label_space::LabelSpace,
    listing::{MAX_PICTURE, read_limited},
    parquet_columns as values,
};
use crate::{Columns, Error, Result, parquet_footer};

/// Bytes of pictures that are read at once, about; one picture at least.
const WINDOW: u64 = 16 << 20;
/// Most rows of a split; the largest of the tasks has two million.
const MAX_ROWS: usize = 50_000_000;
/// Rows of labels and texts decoded at once.
const BATCH: usize = 8192;
/// How much more a column may unpack to than it takes in the file, beside what is small: images do
/// not compress.
const MAX_RATIO: u64 = 1000;
/// Largest unpacked column of a row group whatever it takes in the file.
const SMALL: u64 = 256 << 20;

/// Some rows of one row group of one file.
struct Window {
    file: usize,
    group: usize,
    /// Rows of the group before it.
    skip: usize,
    rows: usize,
    /// Row of all files that it starts with.
    start: usize,
}

/// Windows that were read, and the reader that can go on from the last.
#[derive(Default)]
struct Kept {
    windows: VecDeque<(usize, Pictures)>,
    reader: Option<(usize, ParquetRecordBatchReader)>,
}

/// The pictures of a window: their bytes, or where there are none, the files that they are in.
#[derive(Clone)]
struct Pictures {
    bytes: Option<LargeBinaryArray>,
    paths: Option<LargeStringArray>,
}

/// What is known of the rows without their pictures.
#[derive(Default)]
struct Known {
    /// Row of all files; in order, but not all of them where a column picks the split or several
    /// rows are one.
    row: Vec<usize>,
    label: Vec<Label>,
    texts: Vec<Vec<String>>,
    id: Vec<String>,
    cluster: Vec<usize>,
}

/// The files of one split.
pub(super) struct ParquetDataset {
    files: Vec<(PathBuf, ArrowReaderMetadata)>,
    columns: Columns,
    windows: Vec<Window>,
    known: Known,
    class_names: Vec<String>,
    notes: Vec<String>,
    /// The path of each file, for the origins of images.
    origins: Vec<Arc<[PathBuf]>>,
    kept: Mutex<Kept>,
}

/// Which rows of a file are read, and what is remembered from one file to the next.
struct Reading<'a> {
    split: &'a str,
    classes: usize,
    /// Rows by the value of the `group` column.
    groups: HashMap<String, usize>,
    /// The names of the classes, as the first file that has any gives them.
    space: Option<LabelSpace>,
    /// For each class of the file at hand, which class it is of all.
    map: Option<Vec<usize>>,
    interner: super::vqa::Interner,
}

impl ParquetDataset {
    /// Opens `files`, checks their columns and reads all that is small.
    pub(super) fn open(
        files: &[PathBuf],
        columns: &Columns,
        split: &str,
        classes: usize,
        root: &Path,
    ) -> Result<Self> {
        let mut dataset = Self {
            files: Vec::new(),
            columns: columns.clone(),
            windows: Vec::new(),
            known: Known::default(),
            class_names: Vec::new(),
            notes: Vec::new(),
            origins: Vec::new(),
            kept: Mutex::default(),
        };
        let interner = super::vqa::Interner::default();
        let mut reading = Reading {
            split,
            classes,
            groups: HashMap::new(),
            space: None,
            map: None,
            interner,
        };
        let mut rows = 0;
        for path in files {
            rows += guarded(path, || dataset.add(path, rows, &mut reading))?;
        }
        let names = match (columns.label_names.as_slice(), reading.space) {
            // Where labels are texts, the row's names give them their numbers.
            ([_, ..], None) => columns.label_names.clone(),
            (_, Some(space)) => space.names,
            ([], None) => class_names::of_readme(root, &columns.label).unwrap_or_default(),
        };
        dataset.class_names = names;
        Ok(dataset)
    }

    /// Compares what a file calls its classes with what the files before it do.
    fn map_classes(
        &mut self,
        path: &Path,
        metadata: &ArrowReaderMetadata,
        reading: &mut Reading,
    ) -> Result<()> {
        reading.map = None;
        let Some(names) = class_names::of_parquet(path, metadata, &self.columns.label)? else {
            return Ok(());
        };
        let name = file_name(path);
        match &reading.space {
            None => {
                reading.space = Some(
                    LabelSpace::new(&name, names).map_err(|reason| Error::data(path, reason))?,
                );
            }
            Some(space) => {
                reading.map = space
                    .map(&name, &names)
                    .map_err(|reason| Error::data(path, reason))?;
                if reading.map.is_some() {
                    self.notes.push(format!("the classes of {name} stand in another order than those of {}: mapped by name", space.of));
                }
            }
        }
        Ok(())
    }

    fn wanted(&self) -> Vec<&str> {
        let c = &self.columns;
        let one = [&c.captions, &c.label, &c.answers, &c.id, &c.group, &c.split];
        one.into_iter()
            .chain(&c.texts)
            .filter(|name| !name.is_empty())
            .map(String::as_str)
            .collect()
    }

    fn add(&mut self, path: &Path, start: usize, reading: &mut Reading) -> Result<usize> {
        let (file, about) = flava_base::open(path)?;
        parquet_footer::check(&file, path)?;
        let metadata = ArrowReaderMetadata::load(&file, ArrowReaderOptions::default())
            .map_err(|e| Error::data(path, format!("is no whole parquet file: {e}")))?;
        let length = about.len();
        self.check_columns(path, &metadata)?;
        self.map_classes(path, &metadata, reading)?;
        let rows = self.add_windows(path, &metadata, length, start)?;
        self.files.push((path.to_owned(), metadata));
        self.origins.push([path.to_owned()].into());
        let wanted = self.wanted();
        if wanted.is_empty() {
            let name = file_name(path);
            self.known.row.extend(start..start + rows);
            self.known
                .id
                .extend((0..rows).map(|row| format!("{name}:{row}")));
            return Ok(rows);
        }
        let reader = reader_of(path, &self.files[self.files.len() - 1].1, &wanted, None)?;
        let batches: Vec<RecordBatch> = reader
            .collect::<std::result::Result<_, _>>()
            .map_err(|e| broken(path, &wanted, None, &e))?;
        let count: usize = batches.iter().map(RecordBatch::num_rows).sum();
        if count != rows {
            return Err(Error::data(
                path,
                format!(
                    "column {} has {count} rows, the file says {rows}",
                    wanted[0]
                ),
            ));
        }
        let mut first = 0;
        for batch in &batches {
            self.add_rows(path, batch, (start, first), reading)?;
            first += batch.num_rows();
        }
        Ok(rows)
    }

    /// Divides the row groups into windows; returns the number of rows.
    fn add_windows(
        &mut self,
        path: &Path,
        metadata: &ArrowReaderMetadata,
        length: u64,
        start: usize,
    ) -> Result<usize> {
        let mut total = 0;
        for (group, meta) in metadata.metadata().row_groups().iter().enumerate() {
            let sizes = (
                usize::try_from(meta.num_rows()),
                u64::try_from(meta.compressed_size()),
                u64::try_from(meta.total_byte_size()),
            );
            let (Ok(rows), Ok(compressed), Ok(unpacked)) = sizes else {
                return Err(Error::data(
                    path,
                    format!("row group {group} has {} rows", meta.num_rows()),
                ));
            };
            if compressed > length || rows as u64 > unpacked.max(compressed).saturating_mul(1 << 16)
            {
                let claim = format!(
                    "row group {group} claims {rows} rows in {compressed} bytes, {unpacked} unpacked; the file has {length}"
                );
                return Err(Error::data(path, claim));
            }
            for column in meta.columns() {
                let (packed, unpacked) = (
                    column.compressed_size().max(0) as u64,
                    column.uncompressed_size().max(0) as u64,
                );
                if unpacked > SMALL && unpacked / MAX_RATIO > packed {
                    let claim = format!(
                        "row group {group}, column {}: {packed} bytes unpack to {unpacked}",
                        column.column_path()
                    );
                    return Err(Error::data(path, claim));
                }
            }
            if start + total + rows > MAX_ROWS {
                return Err(Error::data(path, format!("has more than {MAX_ROWS} rows")));
            }
            let at_once = (WINDOW / (unpacked / rows.max(1) as u64).max(1))
                .clamp(1, rows.max(1) as u64) as usize;
            for skip in (0..rows).step_by(at_once) {
                let window = Window {
                    file: self.files.len(),
                    group,
                    skip,
                    rows: at_once.min(rows - skip),
                    start: start + total + skip,
                };
                self.windows.push(window);
            }
            total += rows;
        }
        Ok(total)
    }

    fn add_rows(
        &mut self,
        path: &Path,
        batch: &RecordBatch,
        (start, first): (usize, usize),
        reading: &mut Reading,
    ) -> Result<()> {
        let column = |name: &str| batch.column_by_name(name).filter(|_| !name.is_empty());
        let text = |name: &str| {
            column(name)
                .map(|c| values::as_text(path, name, c))
                .transpose()
        };
        let texts = |name: &str| {
            column(name)
                .map(|c| values::Texts::new(path, name, c))
                .transpose()
        };
        let (c, name) = (self.columns.clone(), file_name(path));
        let (ids, groups, splits) = (text(&c.id)?, text(&c.group)?, text(&c.split)?);
        let (captions, answers) = (texts(&c.captions)?, texts(&c.answers)?);
        let inputs = c
            .texts
            .iter()
            .map(|name| texts(name))
            .collect::<Result<Vec<_>>>()?;
        let labels = column(&c.label)
            .map(|l| values::Labels::new(path, &c, l, reading.classes))
            .transpose()?;
        for row in 0..batch.num_rows() {
            if splits
                .as_ref()
                .is_some_and(|splits| splits.value(row) != reading.split)
            {
                continue;
            }
            let place = format!("row {}", first + row);
            let captions = captions
                .as_ref()
                .filter(|column| !(c.gaps && column.is_null(row)));
            let captions = captions
                .map(|column| column.get(path, &place, row))
                .transpose()?;
            let group = groups.as_ref().map(|groups| groups.value(row).to_owned());
            let next = self.known.row.len();
            let owner = group.map(|group| *reading.groups.entry(group).or_insert(next));
            if let (Some(owner), Some(captions)) = (owner.filter(|owner| *owner < next), &captions)
            {
                self.known.texts[owner].extend(captions.iter().cloned());
                continue;
            }
            let label = match (&labels, &answers) {
                (Some(labels), _) => match (labels.get(path, &place, row)?, &reading.map) {
                    (Label::Class(class), Some(map)) => {
                        Label::Class(map.get(class).copied().unwrap_or(class))
                    }
                    (label, _) => label,
                },
                (None, Some(answers)) => {
                    let answers = answers.get(path, &place, row)?;
                    Label::Answers(
                        answers
                            .iter()
                            .map(|answer| reading.interner.get(answer))
                            .collect(),
                    )
                }
                (None, None) => Label::None,
            };
            let mut texts = captions.unwrap_or_default();
            for column in inputs.iter().flatten() {
                texts.extend(column.get(path, &place, row)?);
            }
            self.known.row.push(start + first + row);
            self.known.label.push(label);
            self.known.texts.push(texts);
            self.known.id.push(ids.as_ref().map_or_else(
                || format!("{name}:{}", first + row),
                |ids| ids.value(row).to_owned(),
            ));
            self.known.cluster.extend(owner);
        }
        Ok(())
    }

    /// The named columns are there, and the picture is one.
    fn check_columns(&self, path: &Path, metadata: &ArrowReaderMetadata) -> Result<()> {
        let schema = metadata.schema();
        let names: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
        let image = self.columns.image.as_str();
        for column in self
            .wanted()
            .into_iter()
            .chain(Some(image).filter(|image| !image.is_empty()))
        {
            if !names.contains(&column) {
                return Err(Error::data(
                    path,
                    format!(
                        "has no column {column}; its columns are {}",
                        names.join(", ")
                    ),
                ));
            }
        }
        if image.is_empty() {
            return Ok(());
        }
        let kind = schema
            .field_with_name(image)
            .map_err(|e| Error::data(path, e))?
            .data_type();
        let fits = match kind {
            DataType::Struct(fields) => fields.iter().any(|f| match f.name().as_str() {
                "bytes" => values::is_binary(f.data_type()),
                "path" => true,
                _ => false,
            }),
            other => values::is_binary(other),
        };
        if fits {
            Ok(())
        } else {
            Err(Error::data(
                path,
                format!("column {image} is {kind}, not a picture (a struct with bytes)"),
            ))
        }
    }

    /// The pictures of a window, read or kept. Threads that want the same window wait for the one
    /// that reads it.
    fn pictures(&self, window: usize) -> Result<Pictures> {
        let mut kept = self
            .kept
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(place) = kept.windows.iter().position(|(w, _)| *w == window) {
            let used = kept.windows.remove(place).expect("it was found");
            let pictures = used.1.clone();
            kept.windows.push_back(used);
            return Ok(pictures);
        }
        let Window {
            file, rows, group, ..
        } = self.windows[window];
        let (path, metadata) = &self.files[file];
        let image = [self.columns.image.as_str()];
        // In order, one reader goes through a row group: a page that is larger than a window is
        // unpacked once.
        let reader = kept
            .reader
            .take()
            .filter(|(next, _)| *next == window)
            .map(|(_, reader)| reader);
        let (batch, reader) = guarded(path, || {
            let mut reader = reader.map_or_else(
                || reader_of(path, metadata, &image, Some(&self.windows[window])),
                Ok,
            )?;
            let batch = reader
                .next()
                .transpose()
                .map_err(|e| broken(path, &image, Some(group), &e))?;
            Ok((batch, reader))
        })?;
        let batch = batch.filter(|batch| batch.num_rows() == rows);
        let batch = batch.ok_or_else(|| {
            Error::data(
                path,
                format!("row group {group} has fewer pictures than the file says"),
            )
        })?;
        let pictures = guarded(path, || Pictures::new(path, &self.columns.image, &batch))?;
        let goes_on = self
            .windows
            .get(window + 1)
            .is_some_and(|next| (next.file, next.group) == (file, group));
        kept.reader = goes_on.then_some((window + 1, reader));
        kept.windows.push_back((window, pictures.clone()));
        // One for each thread that may be at another place, and one that is left behind; the
        // longest unused goes.
        let room = std::thread::available_parallelism().map_or(4, usize::from) + 2;
        while kept.windows.len() > room {
            kept.windows.pop_front();
        }
        Ok(pictures)
    }

    /// The picture of a row of all files; None if it is null.
    fn picture(&self, row: usize) -> Result<Option<Vec<u8>>> {
        let window = self.windows.partition_point(|window| window.start <= row) - 1;
        let (pictures, index) = (self.pictures(window)?, row - self.windows[window].start);
        if let Some(bytes) = pictures
            .bytes
            .as_ref()
            .filter(|bytes| bytes.is_valid(index))
        {
            return Ok(Some(bytes.value(index).to_vec()));
        }
        let named = pictures
            .paths
            .as_ref()
            .filter(|paths| paths.is_valid(index))
            .map(|paths| paths.value(index));
        let Some(named) = named else { return Ok(None) };
        let (file, _) = &self.files[self.windows[window].file];
        let leads_out = named.starts_with('/') || named.split(['/', '\\']).any(|part| part == "..");
        if leads_out {
            let place = format!(
                "row {}",
                row - self.windows[window].start + self.windows[window].skip
            );
            return Err(Error::data(
                file,
                format!("{place}: holds no image but the path {named:?}, outside its folder"),
            ));
        }
        Ok(Some(read_limited(
            &file.with_file_name(named),
            MAX_PICTURE,
        )?))
    }
}

impl Pictures {
    fn new(path: &Path, name: &str, batch: &RecordBatch) -> Result<Self> {
        let column = batch.column(0);
        let bytes = |column| -> Result<LargeBinaryArray> {
            Ok(values::cast_to(path, name, column, &DataType::LargeBinary)?
                .as_binary::<i64>()
                .clone())
        };
        let Some(fields) = column.as_struct_opt() else {
            return Ok(Self {
                bytes: Some(bytes(column)?),
                paths: None,
            });
        };
        let text = |column| -> Result<LargeStringArray> {
            Ok(values::cast_to(path, name, column, &DataType::LargeUtf8)?
                .as_string::<i64>()
                .clone())
        };
        let whole = |field: &str| {
            fields
                .column_by_name(field)
                .filter(|_| fields.null_count() < fields.len())
        };
        Ok(Self {
            bytes: whole("bytes").map(bytes).transpose()?,
            paths: whole("path").map(text).transpose()?,
        })
    }
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

/// Reads some columns: of a row group from a window on, a window at a time, or of all rows.
fn reader_of(
    path: &Path,
    metadata: &ArrowReaderMetadata,
    columns: &[&str],
    from: Option<&Window>,
) -> Result<ParquetRecordBatchReader> {
    let file: File = flava_base::open(path)?.0;
    let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata.clone());
    let mask = ProjectionMask::columns(builder.parquet_schema(), columns.iter().copied());
    let builder = builder
        .with_projection(mask)
        .with_batch_size(from.map_or(BATCH, |w| w.rows));
    let builder = match from {
        Some(Window { group, skip, .. }) => {
            let rows = metadata.metadata().row_group(*group).num_rows() as usize;
            let selection = RowSelection::from(vec![
                RowSelector::skip(*skip),
                RowSelector::select(rows - skip),
            ]);
            builder
                .with_row_groups(vec![*group])
                .with_row_selection(selection)
        }
        None => builder,
    };
    builder
        .build()
        .map_err(|e| broken(path, columns, from.map(|w| w.group), &e))
}

fn broken(path: &Path, columns: &[&str], group: Option<usize>, e: &dyn ToString) -> Error {
    let place = group.map_or(String::new(), |group| format!(", row group {group}"));
    Error::data(
        path,
        format!("column {}{place}: {}", columns.join(", "), e.to_string()),
    )
}

impl Dataset for ParquetDataset {
    fn len(&self) -> usize {
        self.known.row.len()
    }

    fn id(&self, index: usize) -> String {
        self.known.id[index].clone()
    }

    fn label(&self, index: usize) -> Label {
        self.known.label.get(index).cloned().unwrap_or(Label::None)
    }

    fn cluster(&self, index: usize) -> usize {
        self.known.cluster.get(index).copied().unwrap_or(index)
    }

    fn texts(&self, index: usize) -> usize {
        self.known.texts.get(index).map_or(0, Vec::len)
    }

    fn class_names(&self) -> Option<&[String]> {
        Some(self.class_names.as_slice()).filter(|names| !names.is_empty())
    }

    fn notes(&self) -> Vec<String> {
        self.notes.clone()
    }

    fn texts_of(&self, index: usize) -> Result<Vec<String>> {
        Ok(self.known.texts.get(index).cloned().unwrap_or_default())
    }

    fn image_origin(&self, index: usize) -> ImageOrigin {
        if self.columns.image.is_empty() {
            return ImageOrigin::None;
        }
        let row = self.known.row[index];
        let window = &self.windows[self.windows.partition_point(|window| window.start <= row) - 1];
        let first = self
            .windows
            .iter()
            .find(|other| other.file == window.file)
            .map_or(0, |first| first.start);
        ImageOrigin::Part {
            files: Arc::clone(&self.origins[window.file]),
            at: (row - first) as u64,
        }
    }

    fn get(&self, index: usize) -> Result<Example> {
        let image = if self.columns.image.is_empty() {
            None
        } else {
            self.picture(self.known.row[index])?
        };
        let texts = self.known.texts.get(index).cloned().unwrap_or_default();
        Ok(Example {
            id: self.id(index),
            image,
            texts,
            label: self.label(index),
        })
    }
}
