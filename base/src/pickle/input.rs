//! The bytes of a pickle, and the numbers and texts in them.

/// What is said of a pickle that ends too early.
const CUT_OFF: &str = "is cut off";

/// Bytes, and how far they were read.
pub(super) struct Input<'a> {
    data: &'a [u8],
    pub(super) position: usize,
}

impl<'a> Input<'a> {
    pub(super) fn new(data: &'a [u8]) -> Self {
        Self { data, position: 0 }
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let end = self.position.checked_add(count);
        let bytes = end.and_then(|end| self.data.get(self.position..end));
        self.position += bytes.map_or(0, <[u8]>::len);
        bytes.ok_or_else(|| CUT_OFF.to_owned())
    }

    /// The next byte.
    pub(super) fn byte(&mut self) -> Result<u8, String> {
        Ok(self.take(1)?[0])
    }

    /// An unsigned integer of at most eight bytes, the lowest first.
    pub(super) fn unsigned(&mut self, bytes: usize) -> Result<u64, String> {
        let bytes = self.take(bytes)?.iter().rev();
        Ok(bytes.fold(0, |sum, &byte| sum << 8 | u64::from(byte)))
    }

    /// A signed integer of at most eight bytes, the lowest first.
    pub(super) fn signed(&mut self, count: usize) -> Result<i64, String> {
        let bytes = self.take(count)?;
        if count > 8 {
            return Err(format!("an integer of {count} bytes"));
        }
        let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
        let mut full = [if negative { 0xff } else { 0 }; 8];
        full[..count].copy_from_slice(bytes);
        Ok(i64::from_le_bytes(full))
    }

    /// Bytes after their count, which takes `length` bytes itself.
    pub(super) fn counted(&mut self, length: usize) -> Result<&'a [u8], String> {
        let count = self.unsigned(length)?;
        self.take(usize::try_from(count).map_err(|_| CUT_OFF)?)
    }

    /// The bytes up to the end of the line.
    pub(super) fn line(&mut self) -> Result<&'a [u8], String> {
        let mut rest = self.data[self.position..].iter();
        let length = rest.position(|&byte| byte == b'\n').ok_or(CUT_OFF)?;
        let line = self.take(length)?;
        self.position += 1;
        Ok(line)
    }
}
