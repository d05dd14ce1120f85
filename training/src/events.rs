//! Scalars for `TensorBoard`: its event files are `TFRecords` of small protocol buffers, written
//! here by hand.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

/// An event file that scalars are added to.
#[derive(Debug)]
pub struct EventWriter {
    file: File,
}

impl EventWriter {
    /// A new file in `folder`, named so that `TensorBoard` reads it after those that are there.
    pub fn create(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let name = format!("events.out.tfevents.{:.6}.flava", seconds());
        let mut writer = Self {
            file: OpenOptions::new()
                .create(true)
                .append(true)
                .open(folder.join(name))?,
        };
        // Event { wall_time: 1, file_version: 3 }
        let mut event = vec![0x09];
        event.extend(seconds().to_le_bytes());
        bytes(&mut event, 0x1a, b"brain.Event:2");
        writer.record(&event)?;
        Ok(writer)
    }

    /// Adds a scalar of a step.
    pub fn scalar(&mut self, name: &str, step: u64, value: f64) -> io::Result<()> {
        // Summary.Value { tag: 1, simple_value: 2 }
        let mut entry = Vec::new();
        bytes(&mut entry, 0x0a, name.as_bytes());
        entry.push(0x15);
        entry.extend((value as f32).to_le_bytes());
        let mut summary = Vec::new();
        bytes(&mut summary, 0x0a, &entry);
        // Event { wall_time: 1, step: 2, summary: 5 }
        let mut event = vec![0x09];
        event.extend(seconds().to_le_bytes());
        event.push(0x10);
        varint(&mut event, step);
        bytes(&mut event, 0x2a, &summary);
        self.record(&event)
    }

    fn record(&mut self, data: &[u8]) -> io::Result<()> {
        let length = (data.len() as u64).to_le_bytes();
        let mut record = length.to_vec();
        record.extend(masked_crc(&length).to_le_bytes());
        record.extend(data);
        record.extend(masked_crc(data).to_le_bytes());
        self.file.write_all(&record)
    }
}

fn seconds() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs_f64()
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn bytes(out: &mut Vec<u8>, tag: u8, content: &[u8]) {
    out.push(tag);
    varint(out, content.len() as u64);
    out.extend(content);
}

/// CRC-32C, rotated and shifted as `TFRecord` wants it.
fn masked_crc(data: &[u8]) -> u32 {
    let mut crc = !0u32;
    for byte in data {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 {
                (crc >> 1) ^ 0x82f6_3b78
            } else {
                crc >> 1
            };
        }
    }
    (!crc).rotate_right(15).wrapping_add(0xa282_ead8)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The check value of CRC-32C over "123456789" is 0xe3069283.
    #[test]
    fn checksums_are_castagnolis() {
        assert_eq!(
            masked_crc(b"123456789"),
            0xe306_9283u32.rotate_right(15).wrapping_add(0xa282_ead8)
        );
    }
}
