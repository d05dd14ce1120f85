//! Patterns of files, with at most one `*`, and the files that they name.

use std::path::{Path, PathBuf};

use super::folder::Folder;
use crate::{Error, Result};

/// Whether a relative path is one that a pattern with at most one `*` names; the star stands for no
/// slash.
pub fn fits(pattern: &str, path: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == path,
        Some((start, end)) => {
            path.len() >= start.len() + end.len()
                && path.starts_with(start)
                && path.ends_with(end)
                && !path[start.len()..path.len() - end.len()].contains('/')
        }
    }
}

/// The files under `root` that a pattern names, sorted.
pub(super) fn matching(root: &Path, pattern: &str) -> Result<Vec<PathBuf>> {
    let (folder, name) = pattern.rsplit_once('/').unwrap_or(("", pattern));
    let folder = root.join(folder);
    let mut files = if folder.is_dir() {
        on_disk(&folder, name)?
    } else {
        let entries = Folder::open(&folder)?.entries()?.into_iter();
        let fitting = entries.filter(|(own, is_folder)| !is_folder && fits(name, own));
        fitting.map(|(own, _)| folder.join(own)).collect()
    };
    files.sort();
    if files.is_empty() {
        return Err(Error::data(&folder, format!("holds no file {name}")));
    }
    if let Some(problem) = problem_of_parts(&files) {
        return Err(Error::data(&folder, format!("{problem} of {name}")));
    }
    Ok(files)
}

fn on_disk(folder: &Path, name: &str) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|e| Error::io(folder, e))? {
        let path = entry.map_err(|e| Error::io(folder, e))?.path();
        let own = path.file_name().and_then(|own| own.to_str());
        if own.is_some_and(|own| fits(name, own)) {
            files.push(path);
        }
    }
    Ok(files)
}

/// Which part a file named `..-00003-of-00012..` is, and of how many.
fn part(path: &Path) -> Option<(usize, usize)> {
    let name = path.file_name()?.to_str()?;
    let (before, after) = name.split_once("-of-")?;
    let of = after
        .chars()
        .take_while(char::is_ascii_digit)
        .collect::<String>()
        .parse()
        .ok()?;
    Some((before.rsplit('-').next()?.parse().ok()?, of))
}

/// What is wrong with files named `..-00003-of-00012..`: one is missing, or there are two sets of
/// them.
fn problem_of_parts(files: &[PathBuf]) -> Option<String> {
    let parts: Vec<(usize, usize)> = files.iter().filter_map(|file| part(file)).collect();
    let of = parts.iter().map(|(_, of)| *of).max()?;
    if let Some((_, other)) = parts.iter().find(|(_, other)| *other != of) {
        return Some(format!("has parts of {of} and parts of {other}"));
    }
    let count = |i: usize| parts.iter().filter(|(part, _)| *part == i).count();
    let missing = (0..of)
        .find(|i| count(*i) == 0)
        .map(|part| format!("lacks part {part} of {of}"));
    missing.or_else(|| {
        (0..of)
            .find(|i| count(*i) > 1)
            .map(|part| format!("has part {part} of {of} twice"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_stand_for_no_slash() {
        assert!(fits(
            "data/train-*.parquet",
            "data/train-00000-of-00001.parquet"
        ));
        for other in [
            "data/test-0.parquet",
            "data/train-0/x.parquet",
            "data/train-0.tar",
            "x/data/train-0.parquet",
            "data/train-.parque",
        ] {
            assert!(!fits("data/train-*.parquet", other), "{other}");
        }
        assert!(fits("README.md", "README.md") && !fits("README.md", "docs/README.md"));
        assert!(!fits("a*a", "a"), "the ends do not overlap");
    }

    #[test]
    fn missing_parts_are_counted() {
        let files = |parts: &[usize]| {
            parts
                .iter()
                .map(|part| PathBuf::from(format!("x/train-{part:05}-of-00003-abc.parquet")))
                .collect::<Vec<_>>()
        };
        assert_eq!(problem_of_parts(&files(&[0, 1, 2])), None);
        assert_eq!(
            problem_of_parts(&files(&[0, 2])).unwrap(),
            "lacks part 1 of 3"
        );
        assert_eq!(
            problem_of_parts(&files(&[0, 1, 1, 2])).unwrap(),
            "has part 1 of 3 twice"
        );
        assert_eq!(problem_of_parts(&[PathBuf::from("train.parquet")]), None);
        let two = ["a-00000-of-00001.parquet", "b-00000-of-00002.parquet"].map(PathBuf::from);
        assert_eq!(
            problem_of_parts(&two).unwrap(),
            "has parts of 2 and parts of 1"
        );
    }
}
