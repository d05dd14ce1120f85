//! The splits of a folder that a task of one's own names and says nothing more of, and the parts
//! that stand in for splits that there are none of.

use std::path::Path;

use crate::{
    Error, Result, Source, Split, SplitPart,
    sources::{TABLE_ENDINGS, folder_entries},
};

/// What people call the splits: for training, for choosing, to score.
pub const SPLIT_NAMES: [(&str, &[&str]); 3] = [
    ("train", &["train", "training"]),
    ("validation", &["validation", "valid", "val", "dev"]),
    ("test", &["test", "testing"]),
];

/// Finds the splits of a source that names none: folders or files of their names, or else the
/// folder itself.
pub(super) fn find(source: &mut Source, root: &Path) -> Result<()> {
    if !source.test.name.is_empty() || source.train.is_some() {
        return Ok(());
    }
    let mut found: [Option<Split>; 3] = [None, None, None];
    for (name, is_folder) in folder_entries(root)? {
        let stem = match name.rsplit_once('.') {
            _ if is_folder => name.as_str(),
            Some((stem, ending)) if is_data(ending) => stem,
            _ => continue,
        };
        let stem = stem.to_lowercase();
        for ((split, names), found) in SPLIT_NAMES.iter().zip(&mut found) {
            if names.contains(&stem.as_str()) {
                if let Some(before) = found {
                    let reason = format!(
                        "both {} and {name} may be the split {split}: name the files in the task's source",
                        before.files
                    );
                    return Err(Error::data(root, reason));
                }
                *found = Some(Split::new(split, &name));
            }
        }
    }
    let [train, validation, test] = found;
    if train.is_none() && test.is_none() {
        source.train = Some(Split::new("train", "."));
        return Ok(());
    }
    (source.train, source.validation) = (train, validation);
    if let Some(test) = test {
        source.test = test;
    }
    Ok(())
}

fn is_data(ending: &str) -> bool {
    let ending = ending.to_ascii_lowercase();
    ["parquet", "arrow"].contains(&ending.as_str()) || TABLE_ENDINGS.contains(&ending.as_str())
}

/// Gives a source the splits that it lacks: without rows to score a fifth of the training rows is
/// set apart, without rows to choose on a tenth, where `chooses` says that something is chosen.
/// What a method that does not train is given to train on, it scores. Says what was done.
pub(super) fn divide(source: &mut Source, trains: bool, chooses: bool) -> Vec<String> {
    let mut notes = Vec::new();
    let none = source.test.name.is_empty();
    let keeps_name = source.names_files_by_split();
    if !trains {
        if let Some(train) = source.train.take().filter(|_| none) {
            source.test = named(&train, "test", keeps_name);
        }
        (source.train, source.validation) = (None, None);
        return notes;
    }
    let Some(train) = &mut source.train else {
        return notes;
    };
    if none {
        source.test = Split {
            only: vec![SplitPart::Test],
            ..named(train, "test", keeps_name)
        };
        train.without.push(SplitPart::Test);
        notes.push("there is no test split: a fifth of the rows, by the hash of their ids, is scored and not trained on".into());
    }
    if chooses && source.validation.is_none() {
        let mut only = vec![SplitPart::Validation];
        only.extend(&train.only);
        source.validation = Some(Split {
            only,
            ..named(train, "validation", keeps_name)
        });
        train.without.push(SplitPart::Validation);
        notes.push("there is no validation split: the checkpoint is chosen on a tenth of the training rows, by the hash of their ids".into());
    }
    notes
}

/// A split of the same files by another name, unless files are found by the name.
fn named(split: &Split, name: &str, keeps_name: bool) -> Split {
    let mut other = split.clone();
    if !keeps_name {
        name.clone_into(&mut other.name);
    }
    other
}
