//! As what features are written: safetensors, numpy's or parquet.

use std::{
    fs::File,
    io::{self, BufWriter, Read, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use arrow_array::{ArrayRef, FixedSizeListArray, Float32Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
use npyz::WriterBuilder;
use parquet::{arrow::ArrowWriter, file::properties::WriterProperties};
use serde_json::{Map, Value, json};

use crate::{Error, Result};

/// Rows of a parquet file that are in memory at once.
const AT_ONCE: usize = 4096;

/// As what features are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EmbedFormat {
    /// A tensor for each feature; the metadata's `ids` is a JSON list.
    Safetensors,
    /// One array, and the ids in `NAME.ids.txt` beside it.
    Npy,
    /// A column `id`, and one of lists for each feature.
    Parquet,
}

/// Features that are written, f32, row by row.
pub(super) struct Columns<'a> {
    pub(super) ids: &'a [String],
    pub(super) names: &'a [String],
    pub(super) widths: &'a [i64],
    /// Their numbers, from the first row.
    pub(super) parts: &'a mut [File],
}

impl EmbedFormat {
    /// By the ending of a file's name.
    pub(super) fn of(out: &Path) -> Result<Self> {
        let ending = out.extension().unwrap_or_default().to_string_lossy();
        match ending.to_ascii_lowercase().as_str() {
            "safetensors" => Ok(Self::Safetensors),
            "npy" => Ok(Self::Npy),
            "parquet" => Ok(Self::Parquet),
            _ => Err(Error::Argument {
                argument: "--out",
                value: out.display().to_string(),
                reason: "is to be written as its name ends: .safetensors, .npy or .parquet".into(),
            }),
        }
    }

    /// The files that are written.
    pub(super) fn files(self, out: &Path) -> Vec<PathBuf> {
        let mut files = vec![out.to_owned()];
        if self == Self::Npy {
            files.push(out.with_extension("ids.txt"));
        }
        files
    }

    /// Writes the file that holds the numbers.
    pub(super) fn write(self, file: File, columns: &mut Columns) -> io::Result<()> {
        match self {
            Self::Safetensors => write_safetensors(file, columns),
            Self::Npy => write_npy(file, columns),
            Self::Parquet => write_parquet(file, columns),
        }
    }
}

fn write_safetensors(mut file: File, columns: &mut Columns) -> io::Result<()> {
    let rows = columns.ids.len();
    let ids = serde_json::to_string(columns.ids)?;
    let mut header = Map::new();
    header.insert("__metadata__".into(), json!({ "format": "pt", "ids": ids }));
    let mut start = 0;
    for (name, width) in columns.names.iter().zip(columns.widths) {
        let end = start + rows * *width as usize * 4;
        let tensor =
            json!({ "dtype": "F32", "shape": [rows, width], "data_offsets": [start, end] });
        header.insert(name.clone(), tensor);
        start = end;
    }
    let mut header = Value::Object(header).to_string();
    header.extend(std::iter::repeat_n(' ', (8 - header.len() % 8) % 8)); // the tensors start on a multiple of 8
    file.write_all(&(header.len() as u64).to_le_bytes())?;
    file.write_all(header.as_bytes())?;
    for part in columns.parts.iter_mut() {
        io::copy(part, &mut file)?;
    }
    Ok(())
}

fn write_npy(file: File, columns: &mut Columns) -> io::Result<()> {
    let shape = [columns.ids.len() as u64, columns.widths[0] as u64];
    let mut writer = npyz::WriteOptions::<f32>::new()
        .default_dtype()
        .shape(&shape)
        .writer(BufWriter::new(file))
        .begin_nd()?;
    for _ in 0..columns.ids.len() {
        let row = numbers(&mut columns.parts[0], columns.widths[0] as usize)?;
        writer.extend(row)?;
    }
    writer.finish()
}

fn write_parquet(file: File, columns: &mut Columns) -> io::Result<()> {
    let item = Arc::new(Field::new("element", DataType::Float32, false));
    let list = |width: i64| DataType::FixedSizeList(Arc::clone(&item), width as i32);
    let of_features = columns.names.iter().zip(columns.widths);
    let mut fields = vec![Field::new("id", DataType::Utf8, false)];
    fields.extend(of_features.map(|(name, width)| Field::new(name, list(*width), false)));
    let schema = Arc::new(Schema::new(fields));
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(4 * AT_ONCE))
        .build();
    let mut writer = ArrowWriter::try_new(file, Arc::clone(&schema), Some(properties))
        .map_err(io::Error::other)?;
    for ids in columns.ids.chunks(AT_ONCE) {
        let names: StringArray = ids.iter().map(|id| Some(id.as_str())).collect();
        let mut arrays: Vec<ArrayRef> = vec![Arc::new(names)];
        for (part, width) in columns.parts.iter_mut().zip(columns.widths) {
            let values = numbers(part, ids.len() * *width as usize)?;
            let values: ArrayRef = Arc::new(Float32Array::from(values));
            let lists = FixedSizeListArray::try_new(Arc::clone(&item), *width as i32, values, None);
            arrays.push(Arc::new(lists.map_err(io::Error::other)?));
        }
        let batch = RecordBatch::try_new(Arc::clone(&schema), arrays).map_err(io::Error::other)?;
        writer.write(&batch).map_err(io::Error::other)?;
    }
    writer.close().map(|_| ()).map_err(io::Error::other)
}

/// The next numbers of a part.
fn numbers(part: &mut File, count: usize) -> io::Result<Vec<f32>> {
    let mut bytes = vec![0; count * 4];
    part.read_exact(&mut bytes)?;
    let number = |four: &[u8]| f32::from_le_bytes([four[0], four[1], four[2], four[3]]);
    Ok(bytes.chunks_exact(4).map(number).collect())
}
