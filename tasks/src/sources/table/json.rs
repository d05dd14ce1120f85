//! JSON lines, and JSON lists of objects: where each object lies.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufRead, BufReader, Read, Seek, SeekFrom},
    path::Path,
};

use serde_json::{Map, Value, value::RawValue};

use crate::{Error, Result, sources::reading::LONGEST_RECORD as LONGEST};

/// Largest file that is one JSON list.
const MAX_LIST: u64 = 4 << 30;
/// Bytes of a file's beginning that tell what it is.
const HEAD: usize = 1 << 16;

/// The object that the bytes of a record are.
pub(super) fn object(bytes: &[u8]) -> std::result::Result<Map<String, Value>, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "is no UTF-8".to_owned())?;
    let value: Value = flava_base::json_of(text.trim()).map_err(|e| format!("is no JSON: {e}"))?;
    match value {
        Value::Object(object) => Ok(object),
        _ => Err("is no JSON object with a key for each column".into()),
    }
}

/// Tells where each object lies, and how long it is.
pub(super) fn index(path: &Path, file: &File, add: &mut dyn FnMut(u64, u64)) -> Result<()> {
    let mut source = file;
    let mut rewind = || {
        let start = source.seek(SeekFrom::Start(0));
        start.map_err(|e| Error::io(path, e))
    };
    rewind()?;
    let mut head = vec![0; HEAD];
    let count = file.take(HEAD as u64).read(&mut head);
    head.truncate(count.map_err(|e| Error::io(path, e))?);
    if head.starts_with(b"\xff\xfe") || head.starts_with(b"\xfe\xff") {
        return Err(Error::data(path, "is UTF-16; save it as UTF-8"));
    }
    let after_mark = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&head);
    let begin = after_mark.trim_ascii_start();
    if is_of_lines(path, begin) {
        rewind()?;
        return lines(path, file, add);
    }
    rewind()?;
    let mut bytes = Vec::new();
    let read = file.take(MAX_LIST + 1).read_to_end(&mut bytes);
    read.map_err(|e| Error::io(path, e))?;
    if bytes.len() as u64 > MAX_LIST {
        return Err(Error::data(
            path,
            format!("is a list of more than {MAX_LIST} bytes: write a row on each line"),
        ));
    }
    let mark = head.len() - after_mark.len();
    let text = String::from_utf8(bytes.split_off(mark));
    let text = text.map_err(|_| Error::data(path, "is no UTF-8"))?;
    let objects = list(&text).map_err(|reason| Error::data(path, reason))?;
    for object in objects {
        let text_of = object.get();
        let start = text_of.as_ptr() as usize - text.as_ptr() as usize + mark;
        if text_of.len() as u64 > LONGEST {
            return Err(Error::data(
                path,
                format!("a row is longer than {LONGEST} bytes"),
            ));
        }
        add(start as u64, text_of.len() as u64);
    }
    Ok(())
}

/// Whether each line is an object of its own, whatever the file is called.
fn is_of_lines(path: &Path, begin: &[u8]) -> bool {
    let ending = path.extension().unwrap_or_default();
    if !ending.eq_ignore_ascii_case("json") {
        return true;
    }
    let line = begin
        .split(|byte| *byte == b'\n')
        .next()
        .unwrap_or_default();
    begin.starts_with(b"{") && line.len() < begin.len() && object(line).is_ok()
}

fn lines(path: &Path, file: &File, add: &mut dyn FnMut(u64, u64)) -> Result<()> {
    let mut reader = BufReader::with_capacity(1 << 20, file);
    let (mut start, mut number, mut line) = (0u64, 0usize, Vec::new());
    loop {
        line.clear();
        let mut limited = reader.by_ref().take(LONGEST + 1);
        let read = limited.read_until(b'\n', &mut line);
        let read = read.map_err(|e| Error::io(path, e))? as u64;
        if read == 0 {
            return Ok(());
        }
        number += 1;
        if read > LONGEST {
            let reason = format!("line {number} is longer than {LONGEST} bytes");
            return Err(Error::data(path, reason));
        }
        let mark = if start == 0 && line.starts_with(b"\xef\xbb\xbf") {
            3
        } else {
            0
        };
        if !line[mark as usize..].trim_ascii().is_empty() {
            add(start + mark, read - mark);
        }
        start += read;
    }
}

/// The objects of a list, or of the one list that an object holds.
fn list(text: &str) -> std::result::Result<Vec<&RawValue>, String> {
    const WANTED: &str = "a list of objects, or one object a line";
    let broken = |e: serde_json::Error| format!("is no JSON: {e}");
    let text = text.trim_start_matches('\u{feff}').trim();
    if text.starts_with('[') {
        return serde_json::from_str(text).map_err(broken);
    }
    let keys: BTreeMap<String, &RawValue> = serde_json::from_str(text).map_err(broken)?;
    let mut lists = keys.values().filter(|value| value.get().starts_with('['));
    match (lists.next(), lists.next()) {
        (Some(one), None) => serde_json::from_str(one.get()).map_err(broken),
        (None, _) => Err(format!(
            "is one object of columns, not {WANTED}: pandas writes those with orient=\"records\""
        )),
        _ => Err(format!("holds several lists, not {WANTED}")),
    }
}
