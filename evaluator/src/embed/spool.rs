//! Features on their way to a file.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Seek, Write},
    path::Path,
};

use flava_base::{write_atomic, write_with};
use tch::{Device, Kind, Tensor};

use super::format::{Columns, EmbedFormat};
use crate::{Error, Result};

/// Largest header that the readers of safetensors take; ids stand in it.
const MAX_HEADER: usize = 90_000_000;

/// Rows on their way to the file, which begins with their number: that is known at the end.
pub(super) struct Spool {
    format: EmbedFormat,
    names: Vec<String>,
    ids: Vec<String>,
    parts: Vec<BufWriter<File>>,
    widths: Vec<i64>,
}

impl Spool {
    /// Its temporary files lie beside `out`, unnamed: nothing is left of them if the program is
    /// killed.
    pub(super) fn create(out: &Path, names: &[String], format: EmbedFormat) -> Result<Self> {
        let folder = out
            .parent()
            .filter(|p| !p.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        let io = |e: io::Error| flava_base::Error::io(folder, e);
        fs::create_dir_all(folder).map_err(io)?;
        let part = |_: &String| {
            tempfile::tempfile_in(folder)
                .map(BufWriter::new)
                .map_err(io)
        };
        Ok(Self {
            format,
            names: names.to_vec(),
            ids: Vec::new(),
            parts: names
                .iter()
                .map(part)
                .collect::<std::result::Result<_, _>>()?,
            widths: vec![0; names.len()],
        })
    }

    /// Adds rows: each feature of them, [rows, width].
    pub(super) fn add(&mut self, ids: Vec<String>, values: &[Tensor]) -> Result<()> {
        if ids.is_empty() {
            return Ok(());
        }
        self.ids.extend(ids);
        let parts = self.parts.iter_mut().zip(&mut self.widths);
        for (rows, (part, width)) in values.iter().zip(parts) {
            let rows = rows
                .f_to_device(Device::Cpu)?
                .f_to_kind(Kind::Float)?
                .f_contiguous()?;
            *width = rows.size()[1];
            let mut bytes = vec![0; rows.numel() * 4];
            rows.f_copy_data_u8(&mut bytes, rows.numel())?;
            part.write_all(&bytes).map_err(Error::Spool)?;
        }
        Ok(())
    }

    /// The file can hold the ids of all rows, which is known before any is encoded.
    ///
    /// # Errors
    /// If it cannot.
    pub(super) fn check_ids(&self, ids: impl Iterator<Item = String>) -> Result<()> {
        let unfit = |reason: String| Err(Error::UnfitRows(reason));
        let (mut count, mut header) = (0, 0);
        for id in ids {
            count += 1;
            match self.format {
                EmbedFormat::Safetensors => header += bytes_in_header(&id),
                EmbedFormat::Npy if id.contains(['\n', '\r']) => {
                    return unfit(format!(
                        "{id:?} has a line end, and beside a .npy file ids are lines: write .safetensors or .parquet"
                    ));
                }
                EmbedFormat::Npy | EmbedFormat::Parquet => {}
            }
        }
        if header > MAX_HEADER {
            return unfit(format!(
                "{count} ids are too long for the head of a safetensors file: write .parquet, or embed fewer at a time"
            ));
        }
        Ok(())
    }

    /// Writes the files; the number of rows.
    pub(super) fn finish(self, out: &Path) -> Result<usize> {
        if self.ids.is_empty() {
            let reason = "nothing to embed: every image is broken";
            return Err(Error::UnfitRows(reason.into()));
        }
        let Self {
            format, names, ids, ..
        } = self;
        let mut parts = Vec::new();
        for part in self.parts {
            let mut part = part
                .into_inner()
                .map_err(|e| Error::Spool(e.into_error()))?;
            part.rewind().map_err(Error::Spool)?;
            parts.push(part);
        }
        let mut columns = Columns {
            ids: &ids,
            names: &names,
            widths: &self.widths,
            parts: &mut parts,
        };
        write_with(out, |part| format.write(File::create(part)?, &mut columns))?;
        if let [_, beside] = &format.files(out)[..] {
            let text = format!("{}\n", ids.join("\n"));
            write_atomic(beside, text.as_bytes()).inspect_err(|_| {
                // Numbers without their ids are nobody's.
                let _gone = fs::remove_file(out);
            })?;
        }
        Ok(ids.len())
    }
}

/// Bytes of an id in a header, where it stands in a list in a text.
fn bytes_in_header(id: &str) -> usize {
    let json = serde_json::to_string(id).unwrap_or_default();
    let escaped = json
        .bytes()
        .filter(|byte| matches!(byte, b'"' | b'\\'))
        .count();
    json.len() + escaped + 1
}
