//! Arrow's own files, as `datasets` saves them to disk: a schema and batches of rows, one after
//! another, in a stream or a file.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::Path,
    sync::Arc,
};

use arrow_array::RecordBatch;
use arrow_buffer::Buffer;
use arrow_ipc::{
    Block, MessageHeader, MetadataVersion, convert::try_fb_to_schema, reader::FileDecoder,
    root_as_message,
};
use arrow_schema::{ArrowError, Schema, SchemaRef};

use crate::{Error, Result};

/// How a file begins that has a footer; a stream begins with its first message.
const MAGIC: &[u8; 8] = b"ARROW1\0\0";
/// Most bytes before the first message of a file with a footer.
const MAX_ALIGNMENT: u64 = 64;
/// What stands before the length of a message.
const CONTINUES: [u8; 4] = [0xff; 4];
/// Longest description of a message.
const MAX_HEAD: usize = 64 << 20;

/// A batch of rows in a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct IpcBatch {
    /// Where its message begins, and the bytes of its description and of its body.
    offset: u64,
    head: usize,
    body: usize,
    pub(super) rows: usize,
}

/// What is known of a file before its rows are read.
#[derive(Clone, Debug)]
pub(super) struct IpcIndex {
    pub(super) schema: SchemaRef,
    version: MetadataVersion,
    pub(super) batches: Arc<[IpcBatch]>,
}

/// A message's description, and where it stands.
struct MessageHead {
    bytes: Vec<u8>,
    /// Bytes before the description.
    prefix: usize,
}

impl IpcIndex {
    /// Goes through the messages of a file of so many bytes.
    ///
    /// # Errors
    /// If it is cut off, is nothing that is read, or has columns of codes.
    pub(super) fn read(path: &Path, file: &File, length: u64) -> Result<Self> {
        let broken =
            |reason: String| Error::data(path, format!("is no whole Arrow file: {reason}"));
        let mut walk = Messages::new(file, length).map_err(|e| Error::io(path, e))?;
        let (mut schema, mut version) = (None, MetadataVersion::V5);
        let mut batches = Vec::new();
        while let Some(head) = walk.head().map_err(&broken)? {
            let message = root_as_message(&head.bytes).map_err(|e| broken(e.to_string()))?;
            let body = usize::try_from(message.bodyLength());
            let body = body.map_err(|_| broken("a body of no length".into()))?;
            let size = head.prefix + head.bytes.len();
            match (message.header_type(), &schema) {
                (MessageHeader::Schema, None) => {
                    let own = message.header_as_schema();
                    let own = own.ok_or_else(|| broken("its schema is none".into()))?;
                    version = message.version();
                    let own = try_fb_to_schema(own).map_err(|e| broken(e.to_string()))?;
                    schema = Some(Arc::new(own));
                }
                (MessageHeader::RecordBatch, Some(_)) => {
                    let batch = message.header_as_record_batch();
                    let batch = batch.ok_or_else(|| broken("a batch is none".into()))?;
                    let rows = usize::try_from(batch.length());
                    batches.push(IpcBatch {
                        offset: walk.at,
                        head: size,
                        body,
                        rows: rows.map_err(|_| broken("a batch of no length".into()))?,
                    });
                }
                (kind, _) => {
                    let kind = kind.variant_name().unwrap_or("something unknown");
                    return Err(broken(format!("{kind} is not read there")));
                }
            }
            walk.skip(size, body).map_err(&broken)?;
        }
        let schema: Arc<Schema> = schema.ok_or_else(|| broken("it has no schema".into()))?;
        Ok(Self {
            schema,
            version,
            batches: batches.into(),
        })
    }

    /// Bytes of a batch.
    pub(super) fn bytes_of(&self, batch: usize) -> u64 {
        self.batches[batch].body as u64
    }

    /// Reads some columns of a batch from a row on, so many rows at a time; or of all batches.
    pub(super) fn reader(
        &self,
        file: File,
        columns: &[&str],
        from: Option<(usize, usize, usize)>,
    ) -> IpcReader {
        let (batches, skip, at_once) = match from {
            Some((batch, skip, rows)) => (batch..batch + 1, skip, Some(rows)),
            None => (0..self.batches.len(), 0, None),
        };
        let fields = self.schema.fields().iter().enumerate();
        let wanted = fields.filter(|(_, field)| columns.contains(&field.name().as_str()));
        IpcReader {
            file,
            decoder: FileDecoder::new(Arc::clone(&self.schema), self.version)
                .with_projection(wanted.map(|(place, _)| place).collect()),
            batches: self.batches[batches].iter().copied().collect(),
            rest: None,
            skip,
            at_once,
        }
    }
}

/// The messages of a file, one after another.
struct Messages<'f> {
    file: &'f File,
    at: u64,
    length: u64,
}

impl<'f> Messages<'f> {
    fn new(mut file: &'f File, length: u64) -> io::Result<Self> {
        let mut first = [0; 8];
        file.seek(SeekFrom::Start(0))?;
        let mut at = 0;
        if file.read_exact(&mut first).is_ok() && first == *MAGIC {
            // Writers fill up to what they align to.
            while at < MAX_ALIGNMENT && (at == 0 || first == [0; 8]) {
                at += first.len() as u64;
                file.read_exact(&mut first)?;
            }
        }
        Ok(Self { file, at, length })
    }

    /// The next description; None at the end.
    fn head(&mut self) -> std::result::Result<Option<MessageHead>, String> {
        let read = |at: u64, bytes: &mut [u8]| -> std::result::Result<(), String> {
            let mut file = self.file;
            let found = file
                .seek(SeekFrom::Start(at))
                .and_then(|_| file.read_exact(bytes));
            found.map_err(|e| format!("it is cut off at byte {at}: {e}"))
        };
        if self.at == self.length {
            return Ok(None); // a stream may end without a word
        }
        let mut four = [0; 4];
        read(self.at, &mut four)?;
        let mut prefix = 4;
        if four == CONTINUES {
            read(self.at + 4, &mut four)?;
            prefix = 8;
        }
        let size = u32::from_le_bytes(four) as usize;
        if size == 0 {
            return Ok(None);
        }
        if size > MAX_HEAD || self.at + (prefix + size) as u64 > self.length {
            return Err(format!("a description of {size} bytes at byte {}", self.at));
        }
        let mut bytes = vec![0; size];
        read(self.at + prefix as u64, &mut bytes)?;
        Ok(Some(MessageHead { bytes, prefix }))
    }

    /// Goes behind a message.
    fn skip(&mut self, head: usize, body: usize) -> std::result::Result<(), String> {
        let end = self.at.checked_add(head as u64);
        let end = end.and_then(|end| end.checked_add(body as u64));
        match end.filter(|end| *end <= self.length) {
            Some(end) => {
                self.at = end;
                Ok(())
            }
            None => Err(format!("it is cut off in the batch at byte {}", self.at)),
        }
    }
}

/// Rows of a file.
pub(super) struct IpcReader {
    file: File,
    decoder: FileDecoder,
    batches: VecDeque<IpcBatch>,
    /// What is left of the batch that was decoded last.
    rest: Option<RecordBatch>,
    /// Rows that are left out first.
    skip: usize,
    /// Rows that are given at a time; without, whole batches.
    at_once: Option<usize>,
}

impl IpcReader {
    fn decode(&mut self, batch: &IpcBatch) -> std::result::Result<RecordBatch, ArrowError> {
        let mut bytes = vec![0; batch.head + batch.body];
        self.file.seek(SeekFrom::Start(batch.offset))?;
        self.file.read_exact(&mut bytes)?;
        let block = Block::new(0, batch.head as i32, batch.body as i64);
        let decoded = self
            .decoder
            .read_record_batch(&block, &Buffer::from_vec(bytes))?;
        decoded.ok_or_else(|| ArrowError::IpcError("a batch has no rows".into()))
    }

    fn next_rows(&mut self) -> std::result::Result<Option<RecordBatch>, ArrowError> {
        let whole = if let Some(rest) = self.rest.take() {
            rest
        } else {
            let Some(batch) = self.batches.pop_front() else {
                return Ok(None);
            };
            let decoded = self.decode(&batch)?;
            let skip = std::mem::take(&mut self.skip).min(decoded.num_rows());
            decoded.slice(skip, decoded.num_rows() - skip)
        };
        let rows = self.at_once.unwrap_or(usize::MAX).min(whole.num_rows());
        if rows < whole.num_rows() {
            self.rest = Some(whole.slice(rows, whole.num_rows() - rows));
        }
        Ok(Some(whole.slice(0, rows)))
    }
}

impl Iterator for IpcReader {
    type Item = std::result::Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_rows().transpose()
    }
}
