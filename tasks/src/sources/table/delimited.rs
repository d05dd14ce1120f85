//! CSV and TSV: the line of names, what stands between fields, and where each record begins.

use std::{
    fs::File,
    io::{BufReader, Read, Seek, SeekFrom},
    os::unix::fs::FileExt,
    path::Path,
    sync::{Mutex, PoisonError},
};

use csv::{ByteRecord, ReaderBuilder, StringRecord};

use crate::{Error, Result, sources::reading::LONGEST_RECORD as LONGEST};

/// Longest line of names.
const HEADER: usize = 1 << 20;
/// Most columns.
const MAX_COLUMNS: usize = 10_000;

/// How a file's fields are told apart.
pub(super) struct Dialect {
    delimiter: u8,
    /// What reads a record; one for all, as it takes long to make, and a copy of one is broken (of
    /// csv-core 0.1.13).
    reader: Mutex<csv_core::Reader>,
    /// The names of the columns.
    pub(super) header: Vec<String>,
}

/// What a file begins with.
struct Head {
    bytes: Vec<u8>,
    /// Whether it is all of the file.
    whole: bool,
}

impl Dialect {
    /// The dialect of a file whose fields are divided by one of `delimiters`: the one that divides
    /// its first line into the most.
    pub(super) fn of_file(path: &Path, file: &File, delimiters: &[u8]) -> Result<Self> {
        let head = Head::read(path, file)?;
        let wrong = |reason: String| Error::data(path, reason);
        head.check().map_err(wrong)?;
        let mut best: Option<Self> = None;
        for &delimiter in delimiters {
            let header = names(&head.bytes, delimiter).map_err(wrong)?;
            let more = best
                .as_ref()
                .is_none_or(|best| header.len() > best.header.len());
            if more {
                let mut builder = csv_core::ReaderBuilder::new();
                let reader = Mutex::new(builder.delimiter(delimiter).build());
                best = Some(Self {
                    delimiter,
                    reader,
                    header,
                });
            }
        }
        let dialect = best.ok_or_else(|| wrong("is empty".into()))?;
        dialect.check().map_err(wrong)?;
        Ok(dialect)
    }

    /// The names are names, each once.
    fn check(&self) -> std::result::Result<(), String> {
        let named = self.header.iter().filter(|name| !name.is_empty());
        let mut names: Vec<&String> = named.collect();
        if names.is_empty() {
            return Err("its first line names no column".into());
        }
        names.sort_unstable();
        match names.array_windows::<2>().find(|[a, b]| a == b) {
            Some([name, _]) => Err(format!("two columns are called {name:?}")),
            None => Ok(()),
        }
    }

    /// What divides the fields, where it is no comma.
    pub(super) fn told(&self) -> Option<&'static str> {
        match self.delimiter {
            b';' => Some("semicolons"),
            b'\t' => Some("tabs"),
            _ => None,
        }
    }

    fn builder(&self) -> ReaderBuilder {
        let mut builder = ReaderBuilder::new();
        builder.has_headers(false).delimiter(self.delimiter);
        builder
    }

    /// The fields of a record's bytes.
    pub(super) fn fields(&self, bytes: &[u8]) -> std::result::Result<StringRecord, String> {
        let mut reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        reader.reset();
        // The end of the line before belongs to no record.
        let breaks = bytes.iter().take_while(|byte| b"\r\n".contains(byte));
        let bytes = &bytes[breaks.count()..];
        // No field is longer than the record, and a record that was indexed has as many as there
        // are names.
        let (mut text, mut ends) = (vec![0; bytes.len() + 1], vec![0; self.header.len() + 1]);
        let (mut written, mut fields, mut rest) = (0, 0, bytes);
        loop {
            let (result, read, text_more, ends_more) =
                reader.read_record(rest, &mut text[written..], &mut ends[fields..]);
            written += text_more;
            fields += ends_more;
            rest = &rest[read..];
            match result {
                csv_core::ReadRecordResult::InputEmpty => {}
                csv_core::ReadRecordResult::Record | csv_core::ReadRecordResult::End => break,
                _ => return Err("has more fields than there are columns".into()),
            }
        }
        let mut record = ByteRecord::with_capacity(written, fields);
        let mut start = 0;
        for &end in &ends[..fields] {
            record.push_field(&text[start..end]);
            start = end;
        }
        StringRecord::from_byte_record(record).map_err(|error| {
            let field = error.utf8_error().field();
            let name = self.header.get(field).map_or("", String::as_str);
            format!("column {name}: is no UTF-8; save the file as UTF-8")
        })
    }

    /// Tells where each record after the names begins, and how long it is.
    pub(super) fn index(
        &self,
        path: &Path,
        file: &File,
        add: &mut dyn FnMut(u64, u64),
    ) -> Result<()> {
        let mut source = file;
        let start = source.seek(SeekFrom::Start(0));
        start.map_err(|e| Error::io(path, e))?;
        let length = file.metadata().map_err(|e| Error::io(path, e))?.len();
        let buffered = BufReader::with_capacity(1 << 20, source);
        let mut reader = self.builder().from_reader(buffered);
        let (mut record, mut row) = (ByteRecord::new(), 0usize);
        let mut last = None;
        loop {
            let read = reader.read_byte_record(&mut record);
            let more = match read {
                Ok(more) => more,
                Err(error) => return Err(self.told_of(path, file, length, &error, row)),
            };
            let end = reader.position().byte();
            if !more {
                break;
            }
            let start = record.position().map_or(0, csv::Position::byte);
            if end - start > LONGEST {
                let reason = format!(
                    "row {row} is longer than {LONGEST} bytes: is a quote never closed before?"
                );
                return Err(Error::data(path, reason));
            }
            if record.iter().any(|field| field.contains(&0)) {
                return Err(Error::data(path, format!("row {row} holds a NUL byte")));
            }
            if row > 0 {
                add(start, end - start);
            }
            last = Some((start, row, record.position().map_or(0, csv::Position::line)));
            row += 1;
        }
        match last {
            Some((start, row, line)) => self.check_end(path, file, start..length, row, line),
            None => Ok(()),
        }
    }

    /// The last record's quotes are closed.
    fn check_end(
        &self,
        path: &Path,
        file: &File,
        bytes: std::ops::Range<u64>,
        row: usize,
        line: u64,
    ) -> Result<()> {
        let mut last = vec![0; (bytes.end - bytes.start).min(LONGEST) as usize];
        let read = file.read_exact_at(&mut last, bytes.start);
        read.map_err(|e| Error::io(path, e))?;
        let Some(column) = open_quote(&last, self.delimiter) else {
            return Ok(());
        };
        let name = self.header.get(column).map_or("?", String::as_str);
        let reason = format!(
            "row {row} (line {line}), column {name}: its quote is never closed; a quote inside of a text is written twice"
        );
        Err(Error::data(path, reason))
    }

    fn told_of(
        &self,
        path: &Path,
        file: &File,
        length: u64,
        error: &csv::Error,
        row: usize,
    ) -> Error {
        let csv::ErrorKind::UnequalLengths { pos, len, .. } = error.kind() else {
            return Error::data(path, format!("row {row}: {error}"));
        };
        let line = pos.as_ref().map_or(0, csv::Position::line);
        let start = pos.as_ref().map_or(0, csv::Position::byte);
        // What a quote swallowed has too few fields.
        if let Err(unclosed) = self.check_end(path, file, start..length, row, line) {
            return unclosed;
        }
        let expected = self.header.len() as u64;
        let hint = if *len > expected {
            "; a text that holds what divides fields stands in quotes"
        } else {
            ""
        };
        Error::data(
            path,
            format!("row {row} (line {line}) has {len} fields for {expected} columns{hint}"),
        )
    }
}

impl Head {
    fn read(path: &Path, file: &File) -> Result<Self> {
        let mut bytes = Vec::new();
        let mut source = file;
        let start = source.seek(SeekFrom::Start(0));
        start.map_err(|e| Error::io(path, e))?;
        let read = source.take(HEADER as u64).read_to_end(&mut bytes);
        read.map_err(|e| Error::io(path, e))?;
        Ok(Self {
            whole: bytes.len() < HEADER,
            bytes,
        })
    }

    /// It is text in UTF-8, as far as it tells.
    fn check(&self) -> std::result::Result<(), String> {
        if self.bytes.starts_with(b"\xff\xfe") || self.bytes.starts_with(b"\xfe\xff") {
            return Err("is UTF-16; save it as UTF-8 (in Excel: CSV UTF-8)".into());
        }
        let line = self.bytes.iter().position(|byte| *byte == b'\n');
        if line.is_none() && !self.whole {
            return Err(format!(
                "its first line is longer than {HEADER} bytes: is it a table?"
            ));
        }
        let first = &self.bytes[..line.unwrap_or(self.bytes.len())];
        if first.contains(&0) {
            return Err("its first line holds a NUL byte: is it a table, in UTF-8?".into());
        }
        if first.trim_ascii().is_empty() && self.whole && line.is_none() {
            return Err("is empty".into());
        }
        Ok(())
    }
}

/// The names in the first line, divided by a byte.
fn names(head: &[u8], delimiter: u8) -> std::result::Result<Vec<String>, String> {
    let mut reader = ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(delimiter)
        .from_reader(head);
    let mut record = ByteRecord::new();
    reader
        .read_byte_record(&mut record)
        .map_err(|e| e.to_string())?;
    if record.len() > MAX_COLUMNS {
        return Err(format!("has {} columns", record.len()));
    }
    let record = StringRecord::from_byte_record(record)
        .map_err(|_| "its first line is no UTF-8; save the file as UTF-8".to_owned())?;
    let plain = |name: &str| name.trim_start_matches('\u{feff}').trim().to_owned();
    Ok(record.iter().map(plain).collect())
}

/// The column of a quote that the bytes of a record open and do not close.
fn open_quote(record: &[u8], delimiter: u8) -> Option<usize> {
    let (mut column, mut quoted, mut at_start) = (0, false, true);
    let mut bytes = record.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        if quoted {
            if byte == b'"' && bytes.next_if_eq(&b'"').is_none() {
                quoted = false;
            }
        } else if byte == delimiter {
            (column, at_start) = (column + 1, true);
            continue;
        } else if byte == b'"' && at_start {
            quoted = true;
        }
        at_start = false;
    }
    quoted.then_some(column)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn records_are_read_as_they_were_written() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"\xef\xbb\xbfa;b\r\n\"x;\"\"y\"\"\";1\r\n\"two\nlines\";\r\nlast;3")
            .unwrap();
        let dialect = Dialect::of_file(Path::new("t.csv"), &file, b",;").unwrap();
        assert_eq!(dialect.header, ["a", "b"]);
        let mut spans = Vec::new();
        let mut add = |start, length| spans.push((start, length));
        dialect.index(Path::new("t.csv"), &file, &mut add).unwrap();
        let read = |(start, length): &(u64, u64)| {
            let mut bytes = vec![0; *length as usize];
            file.read_exact_at(&mut bytes, *start).unwrap();
            let fields = dialect.fields(&bytes).unwrap();
            fields.iter().map(str::to_owned).collect::<Vec<_>>()
        };
        let records: Vec<Vec<String>> = spans.iter().map(read).collect();
        assert_eq!(
            records,
            [
                vec!["x;\"y\"", "1"],
                vec!["two\nlines", ""],
                vec!["last", "3"]
            ]
        );
    }
}
