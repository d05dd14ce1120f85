//! What lies beside an image in a shard: a class, several, or captions.

use serde::{Deserialize, Serialize};

use super::super::lines;

/// Largest member that is no image.
pub(super) const MAX_SIDE: u64 = 1 << 20;

/// What goes with an image.
#[derive(Clone, Copy, Debug)]
pub(in super::super) enum SampleKind {
    /// Of so many classes.
    Labels(usize),
    /// A caption on each line.
    Captions,
    /// Nothing, or a text; a text may also be without an image.
    Anything,
}

impl SampleKind {
    /// Endings of the members that are read beside images.
    pub(super) fn sides(self) -> &'static [&'static str] {
        match self {
            Self::Labels(_) | Self::Captions => &["cls", "txt", "npy"],
            Self::Anything => &["txt", "json"],
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Side {
    Class(i64),
    Classes(Vec<u32>),
    Captions(Vec<String>),
}

/// A value, or why the member has none.
type Parsed<T> = std::result::Result<T, String>;

/// Reads a member by its ending.
pub(super) fn read_side(ending: &str, bytes: &[u8], kind: SampleKind) -> Parsed<Side> {
    if bytes.len() as u64 > MAX_SIDE {
        return Err("is too large".into());
    }
    if ending == "npy" {
        let classes = match kind {
            SampleKind::Labels(classes) => Some(classes),
            _ => None,
        };
        return hot_entries(bytes, classes).map(Side::Classes);
    }
    let text = flava_base::text_of(bytes.to_vec())?;
    match ending {
        "json" => captions_of_json(&text).map(Side::Captions),
        "cls" => text
            .trim()
            .parse()
            .map(Side::Class)
            .map_err(|_| format!("{text:?} is no label")),
        _ => {
            let lines = text.lines().map(str::trim);
            let captions = lines.filter(|line| !line.is_empty()).map(str::to_owned);
            Ok(Side::Captions(captions.collect()))
        }
    }
}

/// The captions of an object: those under `caption`, or else those under `text`.
fn captions_of_json(text: &str) -> Parsed<Vec<String>> {
    let object: serde_json::Value = flava_base::json_of(text).map_err(|e| e.to_string())?;
    let texts = ["caption", "text"].map(|name| lines::texts(&object[name]));
    let mut told = texts.into_iter().filter(|texts| !texts.is_empty());
    Ok(told.next().unwrap_or_default())
}

/// The places of a vector of zeros and ones that are one; it has one for each class.
fn hot_entries(bytes: &[u8], classes: Option<usize>) -> Parsed<Vec<u32>> {
    flava_base::npy_start(bytes)?;
    // It multiplies the shape out, and may overflow.
    let opened = flava_base::guarded(|| npyz::NpyFile::new(bytes));
    let file = opened
        .ok_or("an array of an impossible shape")?
        .map_err(|e| e.to_string())?;
    let mut sizes = file.shape().iter();
    let entries = sizes.try_fold(1u64, |count, size| count.checked_mul(*size));
    if entries.is_none_or(|entries| entries > MAX_SIDE) {
        return Err(format!("an array of {:?}", file.shape()));
    }
    let kind = file.dtype().descr();
    match kind.trim_matches(['\'', '<', '|', '=', '>']) {
        "i8" => hot::<i64>(file, classes),
        "i4" => hot::<i32>(file, classes),
        "u1" => hot::<u8>(file, classes),
        "i1" => hot::<i8>(file, classes),
        "f4" => hot::<f32>(file, classes),
        "f8" => hot::<f64>(file, classes),
        "b1" => hot::<bool>(file, classes),
        other => Err(format!("a vector of {other}")),
    }
}

/// The same of numbers of one type.
fn hot<T: npyz::Deserialize + Default + PartialEq + From<bool>>(
    file: npyz::NpyFile<&[u8]>,
    classes: Option<usize>,
) -> Parsed<Vec<u32>> {
    let values: Vec<T> = file.into_vec().map_err(|e| e.to_string())?;
    if let Some(classes) = classes.filter(|classes| *classes != values.len()) {
        return Err(format!(
            "a vector of {} for {classes} classes",
            values.len()
        ));
    }
    let plain = |value: &T| *value == T::from(false) || *value == T::from(true);
    if !values.iter().all(plain) {
        return Err("a vector of other numbers than zeros and ones".into());
    }
    let numbered = (0u32..).zip(values);
    let hot = numbered.filter(|(_, value)| *value != T::default());
    Ok(hot.map(|(position, _)| position).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn npy(descr: &str, shape: &str, data: &[u8]) -> Vec<u8> {
        let mut header =
            format!("{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}");
        header.extend(std::iter::repeat_n(' ', 63 - (header.len() + 10) % 64));
        header.push('\n');
        [
            b"\x93NUMPY\x01\x00".as_slice(),
            &(header.len() as u16).to_le_bytes(),
            header.as_bytes(),
            data,
        ]
        .concat()
    }

    #[test]
    fn vectors_are_of_zeros_and_ones_for_each_class() {
        let of = |bytes: &[u8]| hot_entries(bytes, Some(3));
        assert_eq!(of(&npy("'|u1'", "(3,)", &[0, 1, 1])), Ok(vec![1, 2]));
        assert!(
            of(&npy("'|u1'", "(3,)", &[0, 2, 1]))
                .unwrap_err()
                .contains("zeros and ones")
        );
        assert!(
            of(&npy("'|u1'", "(2,)", &[0, 1]))
                .unwrap_err()
                .contains("for 3 classes")
        );
        assert!(of(&npy("'|u1'", "(9000000000, 9000000000)", &[0])).is_err());
        let deep = format!("{}'|u1'{}", "[".repeat(40), "]".repeat(40));
        assert!(
            of(&npy(&deep, "(3,)", &[0, 1, 1]))
                .unwrap_err()
                .contains("no plain array")
        );
    }
}
