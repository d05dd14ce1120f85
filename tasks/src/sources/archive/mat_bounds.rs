//! What a MATLAB file may hold before it is given to its reader, which believes what it says of
//! itself: how much its parts inflate to, how deep arrays lie in arrays, and how many elements they
//! have. The format is that of `MathWorks`' "MAT-File Format", level 5.

use std::io::Read;

use flate2::read::ZlibDecoder;

/// Most bytes that all compressed parts inflate to.
const MOST_INFLATED: usize = 64 << 20;
/// How deep arrays lie in arrays at most: a structure in a list has three.
const MOST_DEEP: usize = 16;
const HEADER: usize = 128;

const ARRAY: u32 = 14;
const COMPRESSED: u32 = 15;
const SPARSE: u8 = 5;

type Outcome<T> = Result<T, &'static str>;

/// A part of a file: its type and its bytes.
struct Element<'a> {
    kind: u32,
    bytes: &'a [u8],
}

struct Walk {
    big_endian: bool,
    inflated: usize,
}

/// Whether a file stays within the bounds.
///
/// # Errors
/// What of it does not.
pub(super) fn check(file: &[u8]) -> Outcome<()> {
    let mut walk = Walk {
        big_endian: is_big_endian(file)?,
        inflated: 0,
    };
    let mut rest = &file[HEADER..];
    while !rest.is_empty() {
        let element = walk.element(&mut rest)?;
        match element.kind {
            COMPRESSED => {
                let inflated = walk.inflate(element.bytes)?;
                let mut inner = &inflated[..];
                let element = walk.element(&mut inner)?;
                if element.kind == ARRAY {
                    walk.array(element.bytes, 1)?;
                }
            }
            ARRAY => walk.array(element.bytes, 1)?,
            _ => {}
        }
    }
    Ok(())
}

/// Whether a file of version 5 to 7 has the most significant byte first.
fn is_big_endian(file: &[u8]) -> Outcome<bool> {
    let (Some(version), Some(order)) = (file.get(124..126), file.get(126..HEADER)) else {
        return Err("it is cut off");
    };
    match (version, order) {
        ([0, 1], b"IM") => Ok(false),
        ([1, 0], b"MI") => Ok(true),
        _ => Err("it is not of version 5 to 7 (save it with -v7)"),
    }
}

impl Walk {
    fn number(&self, bytes: &[u8]) -> Outcome<u32> {
        let bytes: [u8; 4] = bytes
            .get(..4)
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or("it is cut off")?;
        Ok(if self.big_endian {
            u32::from_be_bytes(bytes)
        } else {
            u32::from_le_bytes(bytes)
        })
    }

    /// Takes the next element off. Short ones lie in their own tag, others are filled up to eight
    /// bytes unless they are compressed.
    fn element<'a>(&self, rest: &mut &'a [u8]) -> Outcome<Element<'a>> {
        let tag = self.number(rest)?;
        let (kind, from, size) = match tag >> 16 {
            0 => (
                tag,
                8,
                self.number(rest.get(4..).unwrap_or_default())? as usize,
            ),
            size => (tag & 0xffff, 4, size as usize),
        };
        if from == 4 && size > 4 {
            return Err("a short element of it is too long");
        }
        let bytes = rest.get(from..from + size).ok_or("it is cut off")?;
        let filled = if kind == COMPRESSED {
            from + size
        } else {
            (from + size).next_multiple_of(8)
        };
        *rest = rest.get(filled..).unwrap_or_default();
        Ok(Element { kind, bytes })
    }

    fn inflate(&mut self, bytes: &[u8]) -> Outcome<Vec<u8>> {
        let left = MOST_INFLATED - self.inflated;
        let mut inflated = Vec::new();
        ZlibDecoder::new(bytes)
            .take(left as u64 + 1)
            .read_to_end(&mut inflated)
            .map_err(|_| "a compressed part of it is damaged")?;
        if inflated.len() > left {
            return Err("it inflates to too much");
        }
        self.inflated += inflated.len();
        Ok(inflated)
    }

    /// How many elements an array of such dimensions has, if they can be counted.
    fn elements(&self, dimensions: &[u8]) -> Outcome<Option<usize>> {
        let sizes = dimensions.chunks_exact(4).map(|size| self.number(size));
        let sizes = sizes.collect::<Outcome<Vec<u32>>>()?;
        let mut sizes = sizes.into_iter();
        Ok(sizes.try_fold(1usize, |product, size| product.checked_mul(size as usize)))
    }

    /// Flags, dimensions and name, then numbers or further arrays.
    fn array(&self, mut rest: &[u8], depth: usize) -> Outcome<()> {
        if depth > MOST_DEEP {
            return Err("its arrays lie too deep in each other");
        }
        if rest.is_empty() {
            return Ok(()); // how an empty place of a list is written
        }
        let length = rest.len();
        let class = self.number(self.element(&mut rest)?.bytes)? as u8;
        if class == SPARSE {
            return Err("sparse arrays are not read");
        }
        let dimensions = self.element(&mut rest)?.bytes;
        if self
            .elements(dimensions)?
            .is_none_or(|elements| elements > length)
        {
            return Err("an array of it claims more elements than there are bytes");
        }
        while !rest.is_empty() {
            let element = self.element(&mut rest)?;
            if element.kind == ARRAY {
                self.array(element.bytes, depth + 1)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::ZlibEncoder};

    use super::*;

    fn element(kind: u32, bytes: &[u8]) -> Vec<u8> {
        let mut element = [
            &kind.to_le_bytes()[..],
            &(bytes.len() as u32).to_le_bytes(),
            bytes,
        ]
        .concat();
        if kind != COMPRESSED {
            element.resize(element.len().next_multiple_of(8), 0);
        }
        element
    }

    /// An array of a class with such dimensions, and what comes after its name.
    fn array(class: u32, dimensions: &[u32], content: &[u8]) -> Vec<u8> {
        let flags = [class.to_le_bytes(), [0; 4]].concat();
        let dimensions: Vec<u8> = dimensions
            .iter()
            .flat_map(|size| size.to_le_bytes())
            .collect();
        element(
            ARRAY,
            &[
                element(6, &flags),
                element(5, &dimensions),
                element(1, b"name"),
                content.to_vec(),
            ]
            .concat(),
        )
    }

    fn file(elements: &[u8]) -> Vec<u8> {
        let mut file = vec![b' '; 124];
        file.extend([0, 1, b'I', b'M']);
        file.extend(elements);
        file
    }

    fn compressed(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        element(COMPRESSED, &encoder.finish().unwrap())
    }

    #[test]
    fn what_a_file_claims_is_bounded_before_it_is_believed() {
        let numbers = array(9, &[2, 3], &element(2, &[1, 2, 3, 4, 5, 6]));
        let nested =
            |depth: usize| (1..depth).fold(numbers.clone(), |inner, _| array(1, &[1, 1], &inner));
        for fine in [
            file(&numbers),
            file(&compressed(&numbers)),
            file(&nested(16)),
            file(&[numbers.clone(), compressed(&nested(3))].concat()),
        ] {
            assert_eq!(check(&fine), Ok(()));
        }
        for (hostile, reason) in [
            (
                file(
                    &vec![compressed(&array(9, &[1], &element(2, &vec![0; 8 << 20]))); 9].concat(),
                ),
                "inflates to too much",
            ),
            (file(&nested(17)), "too deep"),
            (file(&compressed(&nested(4000))), "too deep"),
            (
                file(&array(9, &[1 << 31, 1 << 31, 4], &[])),
                "more elements than there are bytes",
            ),
            (
                file(&array(1, &[1 << 30, 1], &[])),
                "more elements than there are bytes",
            ),
            (file(&array(5, &[4, 4], &[])), "sparse"),
            (file(&numbers[..numbers.len() - 9]), "cut off"),
            (file(&compressed(&numbers))[..140].to_vec(), "cut off"),
            (b"MATLAB 7.3 MAT-file".to_vec(), "cut off"),
            (vec![0; 200], "version 5 to 7"),
        ] {
            assert!(
                check(&hostile).is_err_and(|told| told.contains(reason)),
                "{reason}: {:?}",
                check(&hostile)
            );
        }
    }
}
