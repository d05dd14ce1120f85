//! What a parquet file says of its columns, looked through before its reader believes it: the
//! reader goes down a tree of columns by calling itself, and makes room for as many children as are
//! claimed. The footer is in Thrift's compact protocol.

use std::{fs::File, os::unix::fs::FileExt, path::Path};

use crate::{Error, Result};

/// Largest footer: a million columns' worth.
const MOST_BYTES: u64 = 256 << 20;
/// How deep columns lie in columns at most: a list of structures of lists has seven.
const MOST_DEEP: usize = 64;
/// The field of the schema in a footer, and that of the number of children in one of its elements.
const SCHEMA: i64 = 2;
const CHILDREN: i64 = 5;

type Outcome<T> = std::result::Result<T, &'static str>;

/// Whether a file's footer is whole and its columns nested within reason.
///
/// # Errors
/// If the file is no parquet file, is cut off, or nests its columns deeper or wider than it has
/// any.
pub(crate) fn check(file: &File, path: &Path) -> Result<()> {
    let length = file.metadata().map_err(|e| Error::io(path, e))?.len();
    let mut end = [0; 8];
    let broken = |reason: &str| Error::data(path, format!("is no whole parquet file: {reason}"));
    let cut_off = || broken("it does not end with PAR1");
    let from = length.checked_sub(8).ok_or_else(cut_off)?;
    file.read_exact_at(&mut end, from)
        .map_err(|e| Error::io(path, e))?;
    let (size, magic) = end.split_at(4);
    let size = u64::from(u32::from_le_bytes([size[0], size[1], size[2], size[3]]));
    if magic != b"PAR1" {
        return Err(cut_off());
    }
    if size > from || size > MOST_BYTES {
        return Err(broken(&format!(
            "it claims a footer of {size} bytes and has {length}"
        )));
    }
    let mut footer = vec![0; size as usize];
    file.read_exact_at(&mut footer, from - size)
        .map_err(|e| Error::io(path, e))?;
    check_footer(&footer).map_err(|reason| broken(&format!("its footer {reason}")))
}

fn check_footer(footer: &[u8]) -> Outcome<()> {
    let mut rest = Bytes(footer);
    let mut field = 0;
    while let Some(kind) = rest.field(&mut field)? {
        if field == SCHEMA && kind == 9 {
            let (count, of) = rest.list()?;
            return if of == 12 {
                check_columns(&mut rest, count)
            } else {
                Err("has no list of columns")
            };
        }
        rest.skip(kind, MOST_DEEP)?;
    }
    Err("names no columns")
}

/// The elements are a tree, each before its children.
fn check_columns(rest: &mut Bytes, count: u64) -> Outcome<()> {
    let mut open: Vec<u64> = Vec::new(); // children still to come, of each column that is open
    for _ in 0..count {
        let children = rest.children()?;
        if let Some(left) = open.last_mut() {
            *left -= 1;
        }
        if children > count {
            return Err("claims more columns than it has");
        }
        open.push(children);
        while open.last() == Some(&0) {
            open.pop();
        }
        if open.len() > MOST_DEEP {
            return Err("nests columns too deep");
        }
    }
    Ok(())
}

/// What is left of a footer.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn take(&mut self, count: u64) -> Outcome<&[u8]> {
        let count = usize::try_from(count).map_err(|_| "is cut off")?;
        let (taken, rest) = self.0.split_at_checked(count).ok_or("is cut off")?;
        self.0 = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Outcome<u8> {
        Ok(self.take(1)?[0])
    }

    fn varint(&mut self) -> Outcome<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err("holds a number that is too long")
    }

    fn integer(&mut self) -> Outcome<i64> {
        let value = self.varint()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// The type of the next field of a structure, and its number; None at the structure's end.
    fn field(&mut self, number: &mut i64) -> Outcome<Option<u8>> {
        let head = self.byte()?;
        let (step, kind) = (head >> 4, head & 15);
        if kind == 0 {
            return Ok(None);
        }
        *number = if step == 0 {
            self.integer()?
        } else {
            number.wrapping_add(i64::from(step))
        };
        Ok(Some(kind))
    }

    /// How many elements a list has, and of which type.
    fn list(&mut self) -> Outcome<(u64, u8)> {
        let head = self.byte()?;
        let count = if head >> 4 == 15 {
            self.varint()?
        } else {
            u64::from(head >> 4)
        };
        // An element takes a byte at least.
        if count > self.0.len() as u64 {
            Err("claims a list longer than itself")
        } else {
            Ok((count, head & 15))
        }
    }

    /// How many children a column has, of its whole element.
    fn children(&mut self) -> Outcome<u64> {
        let (mut field, mut children) = (0, 0);
        while let Some(kind) = self.field(&mut field)? {
            if field == CHILDREN && kind == 5 {
                let claimed = self.integer()?;
                children = u64::try_from(claimed).map_err(|_| "claims fewer than no columns")?;
            } else {
                self.skip(kind, MOST_DEEP)?;
            }
        }
        Ok(children)
    }

    fn skip(&mut self, kind: u8, depth: usize) -> Outcome<()> {
        let inner = depth.checked_sub(1).ok_or("is nested too deep")?;
        match kind {
            1 | 2 => {} // the type is the value
            3 => drop(self.byte()?),
            4..=6 => drop(self.varint()?),
            7 => drop(self.take(8)?),
            8 => {
                let length = self.varint()?;
                self.take(length)?;
            }
            9 | 10 => self.skip_list(inner)?,
            11 => self.skip_map(inner)?,
            12 => {
                let mut number = 0;
                while let Some(kind) = self.field(&mut number)? {
                    self.skip(kind, inner)?;
                }
            }
            13 => drop(self.take(16)?),
            _ => return Err("holds a value of no known type"),
        }
        Ok(())
    }

    fn skip_list(&mut self, depth: usize) -> Outcome<()> {
        let (count, of) = self.list()?;
        for _ in 0..count {
            self.skip(if of <= 2 { 3 } else { of }, depth)?; // in a list a truth has a byte
        }
        Ok(())
    }

    fn skip_map(&mut self, depth: usize) -> Outcome<()> {
        let count = self.varint()?;
        if count > self.0.len() as u64 {
            return Err("claims a map longer than itself");
        }
        let kinds = if count > 0 { self.byte()? } else { 0 };
        for _ in 0..count {
            self.skip(kinds >> 4, depth)?;
            self.skip(kinds & 15, depth)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn varint(mut value: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        while value >= 0x80 {
            bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        bytes.push(value as u8);
        bytes
    }

    /// A file with columns of so many children each: field 1 (version), field 2 (list of elements
    /// with field 4, a name, and field 5).
    fn file(children: &[u64]) -> Vec<u8> {
        let element =
            |children: &u64| [&[0x48, 1, b'c', 0x15][..], &varint(children * 2), &[0]].concat();
        let elements: Vec<u8> = children.iter().flat_map(element).collect();
        let footer = [
            &[0x15, 2, 0x19, 0xfc][..],
            &varint(children.len() as u64),
            &elements,
            &[0],
        ]
        .concat();
        [
            b"PAR1",
            &footer[..],
            &(footer.len() as u32).to_le_bytes(),
            b"PAR1",
        ]
        .concat()
    }

    fn told(bytes: &[u8]) -> String {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        check(&file, Path::new("x.parquet"))
            .err()
            .map_or_else(String::new, |error| error.to_string())
    }

    #[test]
    fn columns_are_nested_within_reason() {
        let chain = |depth: usize| [vec![1; depth], vec![0]].concat();
        for fine in [vec![2, 0, 0], vec![1, 2, 0, 1, 0], chain(64), vec![0]] {
            assert_eq!(told(&file(&fine)), "", "{fine:?}");
        }
        for (hostile, reason) in [
            (file(&chain(65)), "too deep"),
            (file(&chain(200_000)), "too deep"),
            (file(&[i32::MAX as u64, 0, 0]), "more columns than it has"),
            (file(&[2, 0, 0])[..30].to_vec(), "does not end with PAR1"),
            (b"PAR1".to_vec(), "is no whole parquet file"),
            (
                [b"PAR1", &[0xff; 4][..], b"PAR1"].concat(),
                "claims a footer of 4294967295 bytes",
            ),
            // A list of lists of lists .. , and a map of more entries than bytes.
            (
                [
                    b"PAR1",
                    &[&[0x19][..], &[0x19; 500]].concat()[..],
                    &501u32.to_le_bytes(),
                    b"PAR1",
                ]
                .concat(),
                "too deep",
            ),
            (
                [
                    b"PAR1",
                    &[0x1b, 0xff, 0xff, 0x7f, 0x55][..],
                    &5u32.to_le_bytes(),
                    b"PAR1",
                ]
                .concat(),
                "longer than itself",
            ),
        ] {
            assert!(
                told(&hostile).contains(reason),
                "{reason}: {}",
                told(&hostile)
            );
        }
    }
}
