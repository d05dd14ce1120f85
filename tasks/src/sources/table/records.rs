//! The records of a table's files: indexed once when they are opened, read where they lie.

use std::{
    fs::File,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::{delimited::Dialect, json};
use crate::{
    Error, Result,
    sources::{folder::open_file, reading::allow_open_files},
};

/// Most rows of a table.
const MAX_ROWS: usize = 500_000_000;

/// How a file holds its records.
pub(super) enum FileForm {
    /// Fields with something between them, under a line of names.
    Delimited(Box<Dialect>),
    /// JSON objects.
    Json,
}

/// One file of a table.
pub(super) struct TableFile {
    pub(super) path: PathBuf,
    pub(super) file: File,
    pub(super) form: FileForm,
    /// The place of its first record among all.
    pub(super) first: usize,
}

impl TableFile {
    fn open(path: &Path, first: usize) -> Result<Self> {
        let file = open_file(path)?;
        let form = match kind_of(path)? {
            Ending::Delimited(delimiter) => {
                FileForm::Delimited(Box::new(Dialect::of_file(path, &file, delimiter)?))
            }
            Ending::Json => FileForm::Json,
        };
        Ok(Self {
            path: path.to_owned(),
            file,
            form,
            first,
        })
    }

    /// What is wrong with a row of it, the first being 1.
    pub(super) fn wrong(&self, row: usize, reason: impl std::fmt::Display) -> Error {
        Error::data(&self.path, format!("row {}: {reason}", row + 1))
    }

    /// The names of its columns; of JSON those of the first record.
    fn columns(&self, first: Option<Span>) -> Result<Vec<String>> {
        match (&self.form, first) {
            (FileForm::Delimited(dialect), _) => Ok(dialect.header.clone()),
            (FileForm::Json, None) => Ok(Vec::new()),
            (FileForm::Json, Some(span)) => match self.record(span, 0)? {
                Record::Object(object) => Ok(object.keys().cloned().collect()),
                Record::Fields(_) => Ok(Vec::new()),
            },
        }
    }

    fn record(&self, span: Span, row: usize) -> Result<Record> {
        let mut bytes = vec![0; span.length as usize];
        let read = self.file.read_exact_at(&mut bytes, span.start);
        read.map_err(|e| Error::io(&self.path, e))?;
        let record = match &self.form {
            FileForm::Delimited(dialect) => dialect.fields(&bytes).map(Record::Fields),
            FileForm::Json => json::object(&bytes).map(Record::Object),
        };
        record.map_err(|reason| self.wrong(row, reason))
    }
}

/// What a file's ending says of it.
enum Ending {
    /// The bytes that may stand between fields.
    Delimited(&'static [u8]),
    Json,
}

/// Endings of tables, in lower case.
pub(crate) const TABLE_ENDINGS: [&str; 6] = ["csv", "tsv", "tab", "jsonl", "ndjson", "json"];

fn kind_of(path: &Path) -> Result<Ending> {
    let ending = path.extension().unwrap_or_default().to_string_lossy();
    match ending.to_ascii_lowercase().as_str() {
        "csv" => Ok(Ending::Delimited(b",;\t")),
        "tsv" | "tab" => Ok(Ending::Delimited(b"\t")),
        "jsonl" | "ndjson" | "json" => Ok(Ending::Json),
        _ => {
            let endings = TABLE_ENDINGS.join(", ");
            let reason = format!("is no table: its name must end in one of {endings}");
            Err(Error::data(path, reason))
        }
    }
}

/// Where a record lies.
#[derive(Clone, Copy)]
pub(super) struct Span {
    pub(super) file: u32,
    pub(super) start: u64,
    pub(super) length: u32,
}

/// A row as it was written.
pub(super) enum Record {
    Fields(csv::StringRecord),
    Object(serde_json::Map<String, Value>),
}

/// The records of some files, one after the other.
pub(super) struct Records {
    pub(super) files: Vec<TableFile>,
    spans: Vec<Span>,
    /// The names of the columns, the same in all files.
    pub(super) columns: Vec<String>,
}

impl Records {
    /// Opens and indexes files.
    ///
    /// # Errors
    /// If one is no table, is damaged, or has other columns than the first.
    pub(super) fn open(paths: &[PathBuf]) -> Result<Self> {
        allow_open_files(paths.len());
        let mut all = Self {
            files: Vec::new(),
            spans: Vec::new(),
            columns: Vec::new(),
        };
        for path in paths {
            all.add(path)?;
        }
        Ok(all)
    }

    fn add(&mut self, path: &Path) -> Result<()> {
        let file = TableFile::open(path, self.spans.len())?;
        let number = self.files.len() as u32;
        let mut spans = Vec::new();
        let mut add = |start: u64, length: u64| {
            spans.push(Span {
                file: number,
                start,
                length: length as u32,
            });
        };
        match &file.form {
            FileForm::Delimited(dialect) => dialect.index(path, &file.file, &mut add)?,
            FileForm::Json => json::index(path, &file.file, &mut add)?,
        }
        if self.spans.len() + spans.len() > MAX_ROWS {
            return Err(Error::data(path, format!("has more than {MAX_ROWS} rows")));
        }
        let columns = file.columns(spans.first().copied())?;
        if self.files.is_empty() {
            self.columns = columns;
        } else if matches!(file.form, FileForm::Delimited(_)) && columns != self.columns {
            let (first, here) = (self.columns.join(", "), columns.join(", "));
            let reason = format!("has the columns {here}; the file before it has {first}");
            return Err(Error::data(path, reason));
        }
        self.spans.append(&mut spans);
        self.files.push(file);
        Ok(())
    }

    pub(super) fn len(&self) -> usize {
        self.spans.len()
    }

    /// The file of a record, and its place there.
    pub(super) fn place(&self, record: usize) -> (&TableFile, usize) {
        let file = &self.files[self.spans[record].file as usize];
        (file, record - file.first)
    }

    pub(super) fn read(&self, record: usize) -> Result<Record> {
        let (file, row) = self.place(record);
        file.record(self.spans[record], row)
    }

    /// What is wrong with a record.
    pub(super) fn wrong(&self, record: usize, reason: impl std::fmt::Display) -> Error {
        let (file, row) = self.place(record);
        file.wrong(row, reason)
    }

    /// What fields are divided by where that is no comma.
    pub(super) fn notes(&self) -> Vec<String> {
        let note = |file: &TableFile| {
            let FileForm::Delimited(dialect) = &file.form else {
                return None;
            };
            let between = dialect.told()?;
            let name = file.path.file_name().unwrap_or_default().to_string_lossy();
            Some(format!("{name}: its fields are divided by {between}"))
        };
        let ends_so = |file: &&TableFile| {
            let ending = file.path.extension().unwrap_or_default();
            ending.eq_ignore_ascii_case("csv")
        };
        self.files.iter().filter(ends_so).filter_map(note).collect()
    }
}
