//! Event files of `TensorBoard`: `TFRecords` of small protocol buffers, written here by hand.

/// Bytes of a protocol buffer, field by field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProtoMessage(Vec<u8>);

impl ProtoMessage {
    /// A message without fields.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a field that is a whole number or an enumeration.
    #[must_use]
    pub fn varint(mut self, field: u8, value: u64) -> Self {
        self.0.push(field << 3);
        push_varint(&mut self.0, value);
        self
    }

    /// Adds a field that is a double.
    #[must_use]
    pub fn double(mut self, field: u8, value: f64) -> Self {
        self.0.push(field << 3 | 1);
        self.0.extend(value.to_le_bytes());
        self
    }

    /// Adds a field that is a float.
    #[must_use]
    pub fn float(mut self, field: u8, value: f32) -> Self {
        self.0.push(field << 3 | 5);
        self.0.extend(value.to_le_bytes());
        self
    }

    /// Adds a field that is text or bytes.
    #[must_use]
    pub fn bytes(mut self, field: u8, content: &[u8]) -> Self {
        self.0.push(field << 3 | 2);
        push_varint(&mut self.0, content.len() as u64);
        self.0.extend(content);
        self
    }

    /// Adds a field that is a message itself.
    #[must_use]
    pub fn message(self, field: u8, message: &Self) -> Self {
        self.bytes(field, &message.0)
    }

    /// What it is on the wire.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

fn push_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// The record that an event file begins with; times are UNIX seconds.
pub fn first_event(time: f64) -> Vec<u8> {
    // Event { wall_time: 1, file_version: 3 }
    let event = ProtoMessage::new().double(1, time);
    framed(&event.bytes(3, b"brain.Event:2"))
}

/// The record of one value of a step: a `Summary.Value` that has its tag
/// already.
pub fn value_event(time: f64, step: u64, value: &ProtoMessage) -> Vec<u8> {
    // Event { wall_time: 1, step: 2, summary: 5 }, Summary { value: 1 }
    let summary = ProtoMessage::new().message(1, value);
    let event = ProtoMessage::new().double(1, time).varint(2, step);
    framed(&event.message(5, &summary))
}

/// The record of a scalar of a step.
pub fn scalar_event(time: f64, step: u64, name: &str, value: f64) -> Vec<u8> {
    // Summary.Value { tag: 1, simple_value: 2 }
    let entry = ProtoMessage::new().bytes(1, name.as_bytes());
    value_event(time, step, &entry.float(2, value as f32))
}

/// An event as a `TFRecord`: its length and its bytes, each with a checksum.
fn framed(event: &ProtoMessage) -> Vec<u8> {
    let data = &event.0;
    let length = (data.len() as u64).to_le_bytes();
    let mut record = length.to_vec();
    record.extend(masked_crc(&length).to_le_bytes());
    record.extend(data);
    record.extend(masked_crc(data).to_le_bytes());
    record
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

    #[test]
    fn a_scalar_is_framed_byte_for_byte() {
        let record = scalar_event(1.0, 300, "a", 0.5);
        let mut data = vec![0x09];
        data.extend(1.0f64.to_le_bytes());
        data.extend([0x10, 0xac, 0x02]); // step 300
        data.extend([0x2a, 10, 0x0a, 8, 0x0a, 1, b'a', 0x15]);
        data.extend(0.5f32.to_le_bytes());
        assert_eq!(record[..8], (data.len() as u64).to_le_bytes());
        assert_eq!(record[12..record.len() - 4], data);
        assert_eq!(record[8..12], masked_crc(&record[..8]).to_le_bytes());
        assert_eq!(record[record.len() - 4..], masked_crc(&data).to_le_bytes());
    }
}
