//! A file's row groups, divided into windows of images that are read at once, after a look at
//! what they claim.

use parquet::file::metadata::{ColumnChunkMetaData, RowGroupMetaData};

use super::{
    file::{FileBody, ParquetFile, Window},
    ipc::IpcBatch,
};
use crate::Result;

/// Bytes of images that are read at once, about; one image at least.
const WINDOW: u64 = 16 << 20;
/// Most rows of a split; the largest of the tasks has two million.
const MAX_ROWS: usize = 50_000_000;
/// How much more a column may unpack to than it takes in the file, beside what is small: images do
/// not compress.
const MAX_RATIO: u64 = 1000;
/// Largest unpacked column of a row group whatever it takes in the file.
const SMALL: u64 = 256 << 20;

/// The windows of one file.
pub(super) struct Division {
    pub(super) windows: Vec<Window>,
    /// Rows of the file.
    pub(super) rows: usize,
}

impl Division {
    /// Of the file with this place among all, whose first row has this number among all.
    pub(super) fn new(file: &ParquetFile, position: usize, start: usize) -> Result<Self> {
        let mut division = Self {
            windows: Vec::new(),
            rows: 0,
        };
        for (group, claim) in claims(file)?.into_iter().enumerate() {
            let before = start + division.rows;
            if before + claim.rows > MAX_ROWS {
                return Err(file.wrong(format!("has more than {MAX_ROWS} rows")));
            }
            let at_once = claim.rows_at_once();
            for skip in (0..claim.rows).step_by(at_once) {
                division.windows.push(Window {
                    file: position,
                    group,
                    skip,
                    rows: at_once.min(claim.rows - skip),
                    start: before + skip,
                });
            }
            division.rows += claim.rows;
        }
        Ok(division)
    }
}

/// What the row groups of a file claim, or its batches.
fn claims(file: &ParquetFile) -> Result<Vec<Claim>> {
    match &file.body {
        FileBody::Parquet(metadata) => {
            let groups = metadata.metadata().row_groups().iter().enumerate();
            let claim = |(group, meta)| Claim::new(group, meta, file.length);
            let claims: Believed<Vec<Claim>> = groups.map(claim).collect();
            claims.map_err(|e| file.wrong(e))
        }
        FileBody::Ipc(index) => {
            let numbered = index.batches.iter().enumerate();
            let claim = |(number, batch): (usize, &IpcBatch)| {
                Claim::of_batch(number, batch.rows, index.bytes_of(number))
            };
            let claims: Believed<Vec<Claim>> = numbered.map(claim).collect();
            claims.map_err(|e| file.wrong(e))
        }
    }
}

/// What a row group claims of itself: its rows, and their bytes unpacked.
struct Claim {
    rows: usize,
    unpacked: u64,
}

/// A value, or why a claim cannot be true.
type Believed<T> = std::result::Result<T, String>;

impl Claim {
    /// Of a row group in a file of so many bytes.
    fn new(group: usize, meta: &RowGroupMetaData, length: u64) -> Believed<Self> {
        let sizes = (
            usize::try_from(meta.num_rows()),
            u64::try_from(meta.compressed_size()),
            u64::try_from(meta.total_byte_size()),
        );
        let (Ok(rows), Ok(compressed), Ok(unpacked)) = sizes else {
            return Err(format!("row group {group} has {} rows", meta.num_rows()));
        };
        if compressed > length || rows as u64 > unpacked.max(compressed).saturating_mul(1 << 16) {
            return Err(format!(
                "row group {group} claims {rows} rows in {compressed} bytes, {unpacked} unpacked; the file has {length}"
            ));
        }
        for column in meta.columns() {
            check_column(group, column)?;
        }
        Ok(Self { rows, unpacked })
    }

    /// Of a batch of Arrow, which is as large as it is in the file.
    fn of_batch(number: usize, rows: usize, bytes: u64) -> Believed<Self> {
        if rows as u64 > bytes.saturating_mul(1 << 16) {
            return Err(format!(
                "batch {number} claims {rows} rows in {bytes} bytes"
            ));
        }
        Ok(Self {
            rows,
            unpacked: bytes,
        })
    }

    /// Rows of one window.
    fn rows_at_once(&self) -> usize {
        let rows = self.rows.max(1) as u64;
        (WINDOW / (self.unpacked / rows).max(1)).clamp(1, rows) as usize
    }
}

fn check_column(group: usize, column: &ColumnChunkMetaData) -> Believed<()> {
    let packed = column.compressed_size().max(0) as u64;
    let unpacked = column.uncompressed_size().max(0) as u64;
    if unpacked > SMALL && unpacked / MAX_RATIO > packed {
        let column = column.column_path();
        return Err(format!(
            "row group {group}, column {column}: {packed} bytes unpack to {unpacked}"
        ));
    }
    Ok(())
}
