//! Features on their way to a safetensors file.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Seek, Write},
    path::Path,
};

use flava_base::write_with;
use serde_json::json;
use tch::{Device, Kind, Tensor};

use crate::{Error, Result};

/// Largest header that the readers of safetensors take; ids stand in it.
const MAX_HEADER: usize = 90_000_000;

/// Rows on their way to the file: its header needs their number, which is known at the end.
pub(super) struct Spool {
    pub(super) ids: Vec<String>,
    parts: [BufWriter<File>; 2],
    widths: [i64; 2],
    /// Bytes of the ids in the header, about.
    header: usize,
}

impl Spool {
    /// Its temporary files lie beside `out`, unnamed: nothing is left of them if the program is
    /// killed.
    pub(super) fn create(out: &Path) -> Result<Self> {
        let folder = out
            .parent()
            .filter(|p| !p.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        if out.exists() && !out.is_file() {
            return Err(Error::Argument {
                argument: "--out",
                value: out.display().to_string(),
                reason: "is no file".into(),
            });
        }
        let io = |e: io::Error| flava_base::Error::io(folder, e);
        fs::create_dir_all(folder).map_err(io)?;
        let part = || {
            tempfile::tempfile_in(folder)
                .map(BufWriter::new)
                .map_err(io)
        };
        Ok(Self {
            ids: Vec::new(),
            parts: [part()?, part()?],
            widths: [0; 2],
            header: 0,
        })
    }

    pub(super) fn add(&mut self, ids: Vec<String>, cls: &Tensor, embedding: &Tensor) -> Result<()> {
        self.header += ids
            .iter()
            .map(|id| serde_json::to_string(id).map_or(0, |json| 2 * json.len()))
            .sum::<usize>();
        if self.header > MAX_HEADER {
            let reason = format!(
                "{} ids are too long for the head of a safetensors file: embed fewer at a time",
                self.ids.len() + ids.len()
            );
            return Err(Error::UnfitRows(reason));
        }
        self.ids.extend(ids);
        for (i, rows) in [cls, embedding].into_iter().enumerate() {
            let rows = rows
                .f_to_device(Device::Cpu)?
                .f_to_kind(Kind::Float)?
                .f_contiguous()?;
            self.widths[i] = rows.size()[1];
            let mut bytes = vec![0; rows.numel() * 4];
            rows.f_copy_data_u8(&mut bytes, rows.numel())?;
            self.parts[i].write_all(&bytes).map_err(Error::Spool)?;
        }
        Ok(())
    }

    pub(super) fn finish(self, out: &Path) -> Result<()> {
        Ok(write_with(out, |part| self.assemble(part))?)
    }

    fn assemble(self, part: &Path) -> io::Result<()> {
        let rows = self.ids.len();
        let sizes = self.widths.map(|width| rows * width as usize * 4);
        let tensor = |width: i64, start: usize, size: usize| json!({ "dtype": "F32", "shape": [rows, width], "data_offsets": [start, start + size] });
        let header = json!({
            "__metadata__": { "format": "pt", "ids": serde_json::to_string(&self.ids)? },
            "cls": tensor(self.widths[0], 0, sizes[0]),
            "embedding": tensor(self.widths[1], sizes[0], sizes[1]),
        });
        let mut header = header.to_string();
        header.extend(std::iter::repeat_n(' ', (8 - header.len() % 8) % 8)); // the tensors start on a multiple of 8
        let mut file = File::create(part)?;
        file.write_all(&(header.len() as u64).to_le_bytes())?;
        file.write_all(header.as_bytes())?;
        for part in self.parts {
            let mut part = part.into_inner()?;
            part.rewind()?;
            io::copy(&mut part, &mut file)?;
        }
        Ok(())
    }
}
