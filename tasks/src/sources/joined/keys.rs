//! What images are called where they lie: by an id of their own, or by their files' names.

use std::collections::HashMap;

/// Images by what they are called.
#[derive(Default)]
pub(super) struct Keys {
    /// By their whole names, or numbers.
    exact: HashMap<String, usize>,
    /// By the number that a file's name ends with; None where two end alike.
    numbers: HashMap<String, Option<usize>>,
}

impl Keys {
    /// An image's id. The first of several with the same is taken: rows of one image repeat it.
    pub(super) fn add_id(&mut self, id: &str, place: usize) {
        self.exact.entry(plain(id)).or_insert(place);
    }

    /// An image file, which is called by its name without folder and ending, or by the number that
    /// this ends with, as COCO's are.
    pub(super) fn add_file(&mut self, path: &str, place: usize) {
        let name = path.rsplit('/').next().unwrap_or(path);
        let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
        self.add_id(stem, place);
        self.exact.entry(name.to_owned()).or_insert(place);
        let digits = stem.len() - stem.trim_end_matches(|c: char| c.is_ascii_digit()).len();
        if digits > 0 && digits < stem.len() {
            let number = plain(&stem[stem.len() - digits..]);
            let known = self.numbers.entry(number).or_insert(Some(place));
            if *known != Some(place) {
                *known = None;
            }
        }
    }

    /// The image that a row means; None where it is not there.
    ///
    /// # Errors
    /// If it may be two.
    pub(super) fn place(&self, key: &str) -> Result<Option<usize>, String> {
        let key = plain(key);
        if let Some(place) = self.exact.get(&key) {
            return Ok(Some(*place));
        }
        match self.numbers.get(&key) {
            Some(None) => Err("the names of several files end with it".into()),
            Some(place) => Ok(*place),
            None => Ok(None),
        }
    }
}

/// A number without its leading zeros, or a name as it is.
fn plain(key: &str) -> String {
    let key = key.trim();
    let digits = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_digit());
    let number = key.trim_start_matches('0');
    match (digits, number.is_empty()) {
        (true, true) => "0".to_owned(),
        (true, false) => number.to_owned(),
        (false, _) => key.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_found_by_numbers_and_names() {
        let mut keys = Keys::default();
        keys.add_file("train2014/COCO_train2014_000000000042.jpg", 0);
        keys.add_file("a/7.png", 1);
        keys.add_file("b/cat.jpg", 2);
        keys.add_file("b/x_00.jpg", 3);
        for (key, place) in [
            ("42", Some(0)),
            ("000042", Some(0)),
            ("COCO_train2014_000000000042.jpg", Some(0)),
            ("COCO_train2014_000000000042", Some(0)),
            ("7", Some(1)),
            ("cat", Some(2)),
            ("0", Some(3)),
            ("43", None),
            ("", None),
        ] {
            assert_eq!(keys.place(key), Ok(place), "{key}");
        }
        keys.add_file("val2014/COCO_val2014_000000000042.jpg", 4);
        assert!(keys.place("42").is_err());
        keys.add_id("42", 5);
        assert_eq!(keys.place("42"), Ok(Some(5)));
    }
}
