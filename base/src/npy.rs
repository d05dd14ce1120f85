//! numpy's files, as far as they must be looked at before their reader may.

/// Largest header: numpy's has some 128 bytes.
const MAX_HEADER: usize = 1024;

/// Where the numbers of a `.npy` file begin, of which these are the first bytes.
///
/// The header is a Python dictionary, which its reader parses in time that doubles with each level:
/// that of a plain array has one.
///
/// # Errors
/// Why it is no such file.
pub fn npy_start(bytes: &[u8]) -> Result<usize, String> {
    let (start, length) = match bytes.get(6..12) {
        Some(&[1, _, a, b, ..]) => (10, usize::from(u16::from_le_bytes([a, b]))),
        Some(&[2 | 3, _, a, b, c, d]) => (12, u32::from_le_bytes([a, b, c, d]) as usize),
        _ => return Err("is no file of numpy".into()),
    };
    let header = bytes
        .get(start..start + length.min(MAX_HEADER))
        .filter(|_| length <= MAX_HEADER);
    let header = header.ok_or("has a header that is cut off or too long")?;
    let more_than = |most: usize, byte: u8| {
        let found = header.iter().filter(|other| **other == byte);
        found.count() > most
    };
    if more_than(1, b'{') || more_than(1, b'(') || more_than(0, b'[') {
        return Err("has a header that describes no plain array".into());
    }
    Ok(start + length)
}

/// Bytes that hold every header that is read.
pub const NPY_HEAD: usize = MAX_HEADER + 12;
