//! Files of lines: a text on each, or a JSON object. They are indexed once when they are opened and
//! read where they lie.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::{
    dataset::{Dataset, Example, ImageOrigin, Label},
    reading::{MAX_IMAGE, allow_open_files, leads_out, read_limited},
};
use crate::{Error, Result};

/// Longest line in bytes.
const LONGEST: u64 = 1 << 20;

/// Bytes between two places of a file whose line numbers are kept.
const MARK_EVERY: u64 = 1 << 16;

/// What a line holds.
#[derive(Clone, Debug)]
pub(super) enum Form {
    /// A text.
    Text,
    /// A JSON object with these keys; an empty one is not read. An image is the path of a file,
    /// from the folder of the lines' own.
    Json { image: String, text: String },
}

/// One line.
#[derive(Clone, Copy)]
struct Line {
    file: u32,
    start: u64,
    length: u32,
}

/// The lines of some files that are not blank.
pub(super) struct Lines {
    files: Vec<(PathBuf, File)>,
    lines: Vec<Line>,
    /// Of each file, here and there, where a line begins and its number.
    marks: Vec<Vec<(u64, usize)>>,
    form: Form,
}

impl Lines {
    pub(super) fn open(paths: &[PathBuf], form: Form) -> Result<Self> {
        allow_open_files(paths.len());
        let mut all = Self {
            files: Vec::new(),
            lines: Vec::new(),
            marks: Vec::new(),
            form,
        };
        for path in paths {
            let (file, _) = flava_base::open(path)?;
            all.index(path, &file)?;
            all.files.push((path.clone(), file));
        }
        Ok(all)
    }

    fn index(&mut self, path: &Path, file: &File) -> Result<()> {
        let mut reader = BufReader::with_capacity(1 << 20, file);
        let (mut start, mut number, mut line) = (0, 0, Vec::new());
        let mut marks = vec![(0, 1)];
        loop {
            line.clear();
            let mut limited = reader.by_ref().take(LONGEST + 1);
            let read = limited.read_until(b'\n', &mut line);
            let read = read.map_err(|e| Error::io(path, e))? as u64;
            if read == 0 {
                self.marks.push(marks);
                return Ok(());
            }
            number += 1;
            if start >= marks[marks.len() - 1].0 + MARK_EVERY {
                marks.push((start, number));
            }
            if read > LONGEST {
                return Err(too_long(path, number));
            }
            if !line.trim_ascii().is_empty() {
                self.lines.push(Line {
                    file: self.files.len() as u32,
                    start,
                    length: read as u32,
                });
            }
            start += read;
        }
    }

    fn read(&self, index: usize) -> Result<(&Path, String)> {
        let Line {
            file,
            start,
            length,
        } = self.lines[index];
        let (path, file) = &self.files[file as usize];
        let mut bytes = vec![0; length as usize];
        file.read_exact_at(&mut bytes, start)
            .map_err(|e| Error::io(path, e))?;
        let text = String::from_utf8(bytes)
            .map_err(|_| Error::data(path, format!("line {} is no UTF-8", self.number(index))))?;
        Ok((path, text.trim().to_owned()))
    }

    /// The number of a line in its file, counted from the mark before it.
    fn number(&self, index: usize) -> usize {
        let Line { file, start, .. } = self.lines[index];
        let marks = &self.marks[file as usize];
        let (mark, number) = marks[marks.partition_point(|(position, _)| *position <= start) - 1];
        let mut between = vec![0; (start - mark) as usize];
        let _read = self.files[file as usize]
            .1
            .read_exact_at(&mut between, mark);
        number + between.split(|byte| *byte == b'\n').count() - 1
    }

    /// The file of a line's image, and its texts.
    fn parsed(&self, index: usize) -> Result<(Option<PathBuf>, Vec<String>)> {
        let (path, line) = self.read(index)?;
        let Form::Json { image, text } = &self.form else {
            return Ok((None, vec![line]));
        };
        let folder = path.parent().unwrap_or(Path::new(""));
        let parsed = || -> std::result::Result<_, String> {
            let object: Value =
                flava_base::json_of(&line).map_err(|e| format!("is no JSON: {e}"))?;
            let texts = texts_under(&object, text)?;
            let image = image_under(&object, image)?;
            Ok((image.map(|image| folder.join(image)), texts))
        };
        parsed()
            .map_err(|reason| Error::data(path, format!("line {} {reason}", self.number(index))))
    }
}

/// The texts under a key; an empty one is not read.
fn texts_under(object: &Value, key: &str) -> std::result::Result<Vec<String>, String> {
    if key.is_empty() {
        return Ok(Vec::new());
    }
    let texts = texts(&object[key]);
    if texts.is_empty() {
        return Err(format!("has no text under {key:?}"));
    }
    Ok(texts)
}

/// The image's path under a key, inside its folder; an empty key is not read.
fn image_under<'a>(object: &'a Value, key: &str) -> std::result::Result<Option<&'a str>, String> {
    if key.is_empty() {
        return Ok(None);
    }
    let image = object[key]
        .as_str()
        .ok_or_else(|| format!("has no path under {key:?}"))?;
    if leads_out(image) {
        return Err(format!("names the image {image:?}, outside its folder"));
    }
    Ok(Some(image))
}

fn too_long(path: &Path, number: usize) -> Error {
    let reason =
        format!("line {number} is longer than {LONGEST} bytes; a document or sentence is one line");
    Error::data(path, reason)
}

/// A text, or a list of them.
pub(super) fn texts(value: &Value) -> Vec<String> {
    let text = |value: &Value| {
        value
            .as_str()
            .map(str::trim)
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
    };
    match value {
        Value::Array(all) => all.iter().filter_map(text).collect(),
        one => text(one).into_iter().collect(),
    }
}

impl Dataset for Lines {
    fn len(&self) -> usize {
        self.lines.len()
    }

    fn id(&self, index: usize) -> String {
        let Line { file, start, .. } = self.lines[index];
        let name = self.files[file as usize]
            .0
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        format!("{name}@{start}")
    }

    fn label(&self, _index: usize) -> Label {
        Label::None
    }

    fn texts(&self, index: usize) -> usize {
        self.texts_of(index).map_or(0, |texts| texts.len())
    }

    fn texts_of(&self, index: usize) -> Result<Vec<String>> {
        Ok(self.parsed(index)?.1)
    }

    fn image_origin(&self, index: usize) -> ImageOrigin {
        self.parsed(index)
            .ok()
            .and_then(|(image, _)| image)
            .map_or(ImageOrigin::None, ImageOrigin::File)
    }

    fn get(&self, index: usize) -> Result<Example> {
        let (image, texts) = self.parsed(index)?;
        let image = image
            .map(|path| read_limited(&path, MAX_IMAGE))
            .transpose()?;
        Ok(Example {
            id: self.id(index),
            image,
            texts,
            label: Label::None,
        })
    }
}
