//! A TIFF made a grey one, in place.

const PHOTOMETRIC: u16 = 262;
/// Most entries of a directory that are looked at.
const MAX_ENTRIES: u64 = 4096;

/// A file and the order of its numbers' bytes.
struct Numbers<'a> {
    bytes: &'a [u8],
    little: bool,
}

impl Numbers<'_> {
    /// The number of `size` bytes at `at`.
    fn read(&self, at: usize, size: usize) -> Option<u64> {
        let part = self.bytes.get(at..at.checked_add(size)?)?;
        let fold = |sum: u64, byte: &u8| (sum << 8) | u64::from(*byte);
        Some(if self.little {
            part.iter().rev().fold(0, fold)
        } else {
            part.iter().fold(0, fold)
        })
    }
}

/// Sizes in a directory of 32-bit or 64-bit offsets.
struct Directory {
    start: u64,
    count_size: usize,
    entry_size: usize,
    /// Where in an entry its value stands.
    value_at: usize,
}

impl Directory {
    fn of(numbers: &Numbers) -> Option<Self> {
        let big = if numbers.little { [43, 0] } else { [0, 43] };
        Some(if numbers.bytes.get(2..4)? == big {
            Self {
                start: numbers.read(8, 8)?,
                count_size: 8,
                entry_size: 20,
                value_at: 12,
            }
        } else {
            Self {
                start: numbers.read(4, 4)?,
                count_size: 2,
                entry_size: 12,
                value_at: 8,
            }
        })
    }

    /// Where the entry of the colour model begins.
    fn photometric(&self, numbers: &Numbers) -> Option<usize> {
        let start = usize::try_from(self.start).ok()?;
        let count = numbers.read(start, self.count_size)?.min(MAX_ENTRIES) as usize;
        let first = start + self.count_size;
        let mut entries = (0..count).map(|i| first + i * self.entry_size);
        entries.find(|&at| numbers.read(at, 2) == Some(PHOTOMETRIC.into()))
    }
}

/// Says that black is zero, and gives what was said before; None where that cannot be said in
/// place.
pub(super) fn as_grey(bytes: &mut [u8]) -> Option<u16> {
    let little = bytes.starts_with(b"II");
    let numbers = Numbers { bytes, little };
    let directory = Directory::of(&numbers)?;
    let entry = directory.photometric(&numbers)?;
    // One SHORT, which stands in the entry itself.
    let count = numbers.read(entry + 4, directory.value_at - 4);
    let short = numbers.read(entry + 2, 2)? == 3 && count? == 1;
    let value = entry + directory.value_at;
    let before = numbers.read(value, 2).filter(|_| short)? as u16;
    let grey: [u8; 2] = if little {
        1u16.to_le_bytes()
    } else {
        1u16.to_be_bytes()
    };
    bytes[value..value + 2].copy_from_slice(&grey);
    Some(before)
}
