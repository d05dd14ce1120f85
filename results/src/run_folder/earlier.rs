//! What other models or settings measured, put aside.

use std::{
    fs,
    path::{Path, PathBuf},
};

use flava_base::is_there;

use super::RunFolder;
use crate::{Error, Record, Result};

/// Letters of a model's fingerprint in the name of its folder.
const LETTERS: usize = 16;

impl RunFolder {
    /// Moves a task's record and predictions to `earlier/MODEL/`.
    pub(super) fn put_aside(&mut self, name: &str) -> Result<()> {
        let record = self.folder.join(format!("{name}.json"));
        if !is_there(&record) {
            return Ok(());
        }
        let before = Record::read(&record).ok().flatten();
        let aside = self.earlier(name, before.as_ref());
        let (from, to) = (self.folder.join("predictions"), aside.join("predictions"));
        fs::create_dir_all(&to).map_err(|e| Error::io(&aside, e))?;
        for file in self.prediction_files(name)? {
            rename(&from.join(&file), &to.join(&file))?;
        }
        rename(&record, &aside.join(format!("{name}.json")))?;
        let of = before.map_or_else(
            || "a damaged file".to_owned(),
            |before| format!("model {} under another key", before.model),
        );
        let place = aside.strip_prefix(&self.folder).unwrap_or(&aside).display();
        let note = format!("{name}: the earlier record, of {of}, is in {place} now");
        self.notes.push(note);
        Ok(())
    }

    /// The folder for an earlier record of a task: the first of its model that has none yet.
    fn earlier(&self, name: &str, before: Option<&Record>) -> PathBuf {
        let model = before.map_or("damaged", |before| before.model_fingerprint.as_str());
        let model = model.chars().filter(char::is_ascii_alphanumeric);
        let model: String = model.take(LETTERS).collect();
        let folder = |n: usize| {
            let folder = if n == 1 {
                model.clone()
            } else {
                format!("{model}-{n}")
            };
            self.folder.join("earlier").join(folder)
        };
        let file = format!("{name}.json");
        let free = |n: &usize| !is_there(&folder(*n).join(&file));
        folder((1..=usize::MAX).find(free).unwrap_or(1))
    }

    /// The files of a task's predictions.
    fn prediction_files(&self, name: &str) -> Result<Vec<String>> {
        let files = fs::read_dir(self.folder.join("predictions"))
            .map_err(|e| Error::io(&self.folder, e))?
            .flatten();
        let belongs = |file: &String| {
            file.strip_prefix(name)
                .is_some_and(|rest| rest == ".parquet" || self.is_split_of(name, rest))
        };
        let names = files.filter_map(|file| file.file_name().into_string().ok());
        Ok(names.filter(belongs).collect())
    }

    /// Whether `.SPLIT.parquet` behind a name is of a second split of that task, and not another
    /// task's variant.
    fn is_split_of(&self, name: &str, rest: &str) -> bool {
        let split = rest
            .strip_prefix('.')
            .and_then(|rest| rest.strip_suffix(".parquet"));
        split.is_some_and(|split| !is_there(&self.folder.join(format!("{name}.{split}.json"))))
    }
}

fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).map_err(|e| Error::io(from, e))
}
