//! One file of given features, of which the rows are read that are asked for.

use std::{
    fs::File,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use tch::{Kind, Tensor};

use super::header::{Header, kind_name};
use crate::{Result, features::non_finite_rows};

/// Endings of the files that are read.
const ENDINGS: [&str; 2] = ["safetensors", "npy"];
/// Ending of the file of ids beside one of numbers.
const IDS: &str = "ids.txt";
/// Largest file of ids.
const MAX_IDS: u64 = 1 << 30;
/// Bytes that are read at once.
const AT_ONCE: usize = 1 << 23;
/// Numbers of a row at most.
const MAX_WIDTH: u64 = 1 << 20;

/// A file of numbers \[rows, width\], or \[classes, templates, width\], not yet read.
#[derive(Debug)]
pub(super) struct GivenFile {
    path: PathBuf,
    file: File,
    header: Header,
    /// The file of its ids, where there is one.
    ids: Option<PathBuf>,
}

impl GivenFile {
    /// The file of this name in a folder, whatever its ending.
    pub(super) fn open(folder: &Path, name: &str) -> Result<Self> {
        let file = |ending: &&str| folder.join(format!("{name}.{ending}"));
        let found: Vec<PathBuf> = ENDINGS.iter().map(file).collect();
        let there = found.iter().filter(|path| flava_base::is_there(path));
        let path = match there.collect::<Vec<_>>()[..] {
            [path] => path.clone(),
            [] => {
                let reason = format!("holds neither {name}.safetensors nor {name}.npy");
                return Err(wrong(folder, reason));
            }
            _ => {
                let reason = format!("holds {name}.safetensors and {name}.npy: which is meant?");
                return Err(wrong(folder, reason));
            }
        };
        let (file, metadata) = flava_base::open(&path)?;
        let header = if path.extension().is_some_and(|ending| ending == "npy") {
            Header::of_npy(&file, metadata.len())
        } else {
            Header::of_safetensors(&file, metadata.len())
        };
        let header = header.map_err(|reason| wrong(&path, reason))?;
        let ids = folder.join(format!("{name}.{IDS}"));
        let mut opened = Self {
            ids: flava_base::is_there(&ids).then_some(ids),
            path,
            file,
            header,
        };
        opened.check_shape()?;
        opened.read_ids()?;
        Ok(opened)
    }

    fn check_shape(&self) -> Result<()> {
        let shape = &self.header.shape;
        let is_empty = shape.contains(&0);
        if !(2..=3).contains(&shape.len()) || is_empty {
            let reason = format!("is of shape {shape:?}, no table [rows, width]");
            return Err(self.wrong(reason));
        }
        let width = shape[1..]
            .iter()
            .try_fold(1u64, |all, size| all.checked_mul(*size));
        match width {
            Some(width) if width <= MAX_WIDTH => Ok(()),
            _ => {
                let reason =
                    format!("is of shape {shape:?}: a row has {MAX_WIDTH} numbers at most");
                Err(self.wrong(reason))
            }
        }
    }

    fn read_ids(&mut self) -> Result<()> {
        if let Some(path) = &self.ids {
            if self.header.ids.is_some() {
                let reason = "the file has ids of its own in its metadata: which are meant?";
                return Err(wrong(path, reason.into()));
            }
            let text = flava_base::read_text(path, MAX_IDS)?;
            self.header.ids = Some(text.lines().map(str::to_owned).collect());
        }
        match &self.header.ids {
            Some(ids) if ids.len() != self.rows() => {
                let (ids, rows) = (ids.len(), self.rows());
                Err(self.wrong(format!("has {ids} ids for {rows} rows")))
            }
            _ => Ok(()),
        }
    }

    /// Its name without the folder.
    pub(super) fn name(&self) -> String {
        let name = self.path.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }

    /// An error about it.
    pub(super) fn wrong(&self, reason: String) -> crate::Error {
        wrong(&self.path, reason)
    }

    /// All files that are read.
    pub(super) fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        [&self.path].into_iter().chain(&self.ids)
    }

    pub(super) fn rows(&self) -> usize {
        self.header.shape[0] as usize
    }

    /// Numbers of one vector.
    pub(super) fn width(&self) -> usize {
        self.header.shape.last().map_or(0, |width| *width as usize)
    }

    /// Vectors of each row; None where it is the row itself.
    pub(super) fn templates(&self) -> Option<usize> {
        match self.header.shape[..] {
            [_, templates, _] => Some(templates as usize),
            _ => None,
        }
    }

    pub(super) fn ids(&self) -> Option<&[String]> {
        self.header.ids.as_deref()
    }

    /// Forgets the ids once they are no longer needed.
    pub(super) fn drop_ids(&mut self) {
        self.header.ids = None;
    }

    /// f32, f16, bf16 or f64.
    pub(super) fn precision(&self) -> &'static str {
        kind_name(self.header.kind)
    }

    /// The shape, as it is printed.
    pub(super) fn shape(&self) -> String {
        format!("{:?}", self.header.shape)
    }

    /// These of its rows, in this order, f32: \[rows, width\] or \[rows, templates, width\].
    ///
    /// # Errors
    /// If a number of one is not finite, or the file cannot be read.
    pub(super) fn read(&self, rows: &[usize]) -> Result<Tensor> {
        let mut shape: Vec<i64> = self.header.shape.iter().map(|size| *size as i64).collect();
        let width: i64 = shape[1..].iter().product();
        shape[0] = rows.len() as i64;
        let mut values = Tensor::f_empty([shape[0], width], (Kind::Float, tch::Device::Cpu))?;
        let at_once = (AT_ONCE / self.row_bytes()).max(1);
        let mut start = 0;
        for some in rows.chunks(at_once) {
            let count = some.len() as i64;
            let read = self.read_some(some, width)?;
            let mut place = values.f_narrow(0, start, count)?;
            place.f_copy_(&read)?;
            start += count;
        }
        values = values.f_reshape(shape)?;
        Ok(values)
    }

    fn row_bytes(&self) -> usize {
        let numbers: u64 = self.header.shape[1..].iter().product();
        numbers as usize * self.header.kind.elt_size_in_bytes()
    }

    /// Rows that are in memory at once, \[rows, width\].
    fn read_some(&self, rows: &[usize], width: i64) -> Result<Tensor> {
        let size = self.row_bytes();
        let mut bytes = vec![0; rows.len() * size];
        let mut rest = &mut bytes[..];
        for run in rows.chunk_by(|a, b| a + 1 == *b) {
            let (some, behind) = rest.split_at_mut(run.len() * size);
            let at = self.header.start + (run[0] * size) as u64;
            let read = self.file.read_exact_at(some, at);
            read.map_err(|e| flava_base::Error::io(&self.path, e))?;
            rest = behind;
        }
        let shape = [rows.len() as i64, width];
        let values = Tensor::f_from_data_size(&bytes, &shape, self.header.kind)?;
        let values = values.f_to_kind(Kind::Float)?;
        match non_finite_rows(&values)?.first() {
            None => Ok(values),
            Some(bad) => {
                let row = rows[*bad as usize];
                let reason = format!("row {row} (from 0): a number of it is not finite in f32");
                Err(self.wrong(reason))
            }
        }
    }
}

fn wrong(path: &Path, reason: String) -> crate::Error {
    flava_base::Error::file(path, reason).into()
}
