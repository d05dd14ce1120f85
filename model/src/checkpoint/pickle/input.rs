//! The bytes of a pickle, and the numbers and texts in them.

use super::view::Outcome;

/// Bytes, and how far they were read.
pub(super) struct Input<'a> {
    data: &'a [u8],
    pub(super) at: usize,
}

impl<'a> Input<'a> {
    pub(super) fn new(data: &'a [u8]) -> Self {
        Self { data, at: 0 }
    }

    pub(super) fn take<const N: usize>(&mut self) -> Outcome<[u8; N]> {
        let bytes = self.slice(N)?.first_chunk::<N>();
        bytes
            .copied()
            .ok_or_else(|| "data.pkl is cut off".to_owned())
    }

    fn slice(&mut self, count: usize) -> Outcome<&'a [u8]> {
        let end = self
            .at
            .checked_add(count)
            .filter(|&end| end <= self.data.len())
            .ok_or("data.pkl is cut off")?;
        let slice = &self.data[self.at..end];
        self.at = end;
        Ok(slice)
    }

    pub(super) fn int(&mut self, opcode: u8) -> Outcome<i64> {
        Ok(match opcode {
            b'K' => self.take::<1>()?[0].into(),
            b'M' => u16::from_le_bytes(self.take()?).into(),
            b'J' => i32::from_le_bytes(self.take()?).into(),
            _ => {
                let length = self.take::<1>()?[0] as usize;
                let bytes = self.slice(length)?;
                if length > 8 {
                    return Err(format!("an integer of {length} bytes"));
                }
                let negative = bytes.last().is_some_and(|b| b & 0x80 != 0);
                let mut wide = [if negative { 0xff } else { 0 }; 8];
                wide[..length].copy_from_slice(bytes);
                i64::from_le_bytes(wide)
            }
        })
    }

    pub(super) fn text(&mut self, opcode: u8) -> Outcome<String> {
        let length = if opcode == b'X' {
            u32::from_le_bytes(self.take()?) as usize
        } else {
            self.take::<1>()?[0] as usize
        };
        let bytes = self.slice(length)?;
        String::from_utf8(bytes.to_vec()).map_err(|_| "a text that is not UTF-8".into())
    }

    pub(super) fn line(&mut self) -> Outcome<String> {
        let length = self.data[self.at..]
            .iter()
            .position(|&b| b == b'\n')
            .ok_or("data.pkl is cut off")?;
        let line = String::from_utf8_lossy(self.slice(length)?).into_owned();
        self.slice(1)?;
        Ok(line)
    }
}
