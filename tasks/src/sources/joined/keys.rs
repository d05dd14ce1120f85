//! What images are called where they lie: by an id of their own, or by their files' names.

use std::collections::HashMap;

/// An image: of which place, and its number among all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) from: usize,
    pub(super) image: usize,
}

/// What is called so; None where it is several.
type Known = HashMap<String, Option<Named>>;

/// Images by what they are called.
#[derive(Default)]
pub(super) struct Keys {
    /// By their whole names, paths, or numbers.
    exact: Known,
    /// By the number that a file's name ends with.
    numbers: Known,
}

impl Keys {
    /// An image's id in a table, whose rows may repeat it: the first is taken.
    pub(super) fn add_id(&mut self, id: &str, image: Named) {
        put(&mut self.exact, plain(id), image, true);
    }

    /// An image file, which is called by its path, its name with and without the ending, or by the
    /// number that this ends with, as COCO's are.
    pub(super) fn add_file(&mut self, path: &str, image: Named) {
        let name = path.rsplit('/').next().unwrap_or(path);
        let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
        for called in [path.to_owned(), name.to_owned(), plain(stem)] {
            put(&mut self.exact, called, image, false);
        }
        let digits = stem.len() - stem.trim_end_matches(|c: char| c.is_ascii_digit()).len();
        if digits > 0 && digits < stem.len() {
            let number = plain(&stem[stem.len() - digits..]);
            put(&mut self.numbers, number, image, false);
        }
    }

    /// The image that a row means; None where it is not there.
    ///
    /// # Errors
    /// If it may be two.
    pub(super) fn place(&self, key: &str) -> Result<Option<usize>, String> {
        let found = |known: &Known, key: &str, reason: &str| match known.get(key) {
            Some(None) => Err(reason.to_owned()),
            Some(Some(named)) => Ok(Some(named.image)),
            None => Ok(None),
        };
        let plain = plain(key);
        for key in [key, &plain] {
            if let Some(image) = found(&self.exact, key, "several images are called so")? {
                return Ok(Some(image));
            }
        }
        found(
            &self.numbers,
            &plain,
            "the names of several files end with it",
        )
    }
}

fn put(known: &mut Known, called: String, image: Named, may_repeat: bool) {
    let before = known.entry(called).or_insert(Some(image));
    let same = before.is_some_and(|before| {
        before.image == image.image || may_repeat && before.from == image.from
    });
    if !same {
        *before = None;
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
        let named = |image| Named { from: 0, image };
        let files = [
            "train2014/COCO_train2014_000000000042.jpg",
            "a/7.png",
            "b/cat.jpg",
            "b/x_00.jpg",
        ];
        for (image, file) in files.iter().enumerate() {
            keys.add_file(file, named(image));
        }
        for (key, place) in [
            ("42", Some(0)),
            ("000042", Some(0)),
            ("COCO_train2014_000000000042.jpg", Some(0)),
            ("COCO_train2014_000000000042", Some(0)),
            ("train2014/COCO_train2014_000000000042.jpg", Some(0)),
            ("7", Some(1)),
            ("cat", Some(2)),
            ("0", Some(3)),
            ("43", None),
            ("", None),
        ] {
            assert_eq!(keys.place(key), Ok(place), "{key}");
        }
        keys.add_file("val2014/COCO_val2014_000000000042.jpg", named(4));
        assert!(keys.place("42").is_err());
        // Files of one name are told apart by their paths alone.
        keys.add_file("c/cat.jpg", named(5));
        assert!(keys.place("cat").is_err() && keys.place("cat.jpg").is_err());
        assert_eq!(keys.place("c/cat.jpg"), Ok(Some(5)));
    }

    #[test]
    fn rows_of_a_table_may_repeat_an_id_and_two_places_may_not() {
        let mut keys = Keys::default();
        for (from, image) in [(0, 0), (0, 1)] {
            keys.add_id("9", Named { from, image });
        }
        assert_eq!(keys.place("09"), Ok(Some(0)));
        keys.add_id("9", Named { from: 1, image: 2 });
        assert!(keys.place("9").is_err());
    }
}
