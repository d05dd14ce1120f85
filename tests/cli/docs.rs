//! Documentation beside the code: tables name every key that there is, and what is shown works.

use std::{collections::BTreeSet, fs, path::PathBuf};

use flava_evaluator::GivenFolder;
use flava_tasks::{Recipe, Registry, Task};
use tempfile::tempdir;

use crate::support::place::root;

fn docs() -> PathBuf {
    root().join("docs")
}

/// The names in backticks.
fn quoted(text: &str) -> BTreeSet<String> {
    text.split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

/// The first column of the table behind a mark.
fn documented(file: &str, mark: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(docs().join(file)).unwrap();
    let mark = format!("<!-- keys: {mark} -->\n");
    let (_, table) = text
        .split_once(&mark)
        .unwrap_or_else(|| panic!("{file}: {mark}"));
    let rows = table.lines().take_while(|line| line.starts_with('|'));
    let first = |row: &str| row.split('|').nth(1).unwrap_or_default().to_owned();
    let cells: Vec<String> = rows.skip(2).map(first).collect();
    cells.iter().flat_map(|cell| quoted(cell)).collect()
}

/// The keys that serde would have taken instead of `zzz`.
fn expected(error: &str) -> BTreeSet<String> {
    let (_, list) = error
        .split_once("unknown field `zzz`, expected ")
        .unwrap_or_else(|| panic!("{error}"));
    quoted(list.split(['\n', ';']).next().unwrap())
}

fn assert_documented(file: &str, mark: &str, keys: &BTreeSet<String>) {
    assert_eq!(&documented(file, mark), keys, "{file}: {mark}");
}

#[test]
fn every_column_of_a_result_is_documented() {
    let head = flava_results::csv_table(&[], &[]);
    let columns = head.trim().split(',').map(str::to_owned).collect();
    assert_documented("results.md", "results.csv", &columns);
}

#[test]
fn every_key_of_a_task_file_is_documented() {
    let keys = |text: &str| {
        let error = toml::from_str::<Task>(text).unwrap_err();
        expected(&error.to_string())
    };
    assert_documented("your-own-data.md", "task", &keys("zzz = 1\n"));
    let split = "[[source]]\nformat = \"archive\"\nlayout = \"mnist\"\ntest = { zzz = 1 }\n";
    assert_documented("your-own-data.md", "split", &keys(split));
    let columns = "[[source]]\nformat = \"parquet\"\ncolumns = { zzz = 1 }\n\
                   test = { name = \"test\" }\n";
    assert_documented("your-own-data.md", "columns", &keys(columns));
}

#[test]
fn every_key_of_given_features_is_documented() {
    let folder = tempdir().unwrap();
    fs::write(folder.path().join("source.json"), r#"{"zzz": 1}"#).unwrap();
    let error = GivenFolder::open(folder.path()).unwrap_err().to_string();
    assert_documented("evaluate.md", "source.json", &expected(&error));
}

#[test]
fn every_key_of_a_recipe_is_documented() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("own.toml");
    fs::write(&path, "zzz = 1\n").unwrap();
    let registry = Registry::built_in().unwrap();
    let task = registry.get("glue-rte").unwrap();
    let error = Recipe::of(task, Some(&path), &[]).unwrap_err().to_string();
    assert_documented("fine-tune.md", "recipe", &expected(&error));
    for (mark, key) in [
        ("pretraining", "zzz"),
        ("schedule", "joint.schedule.zzz"),
        ("tokenizer", "tokenizer.zzz"),
        ("codebook", "codebook.zzz"),
        ("image", "image.zzz"),
        ("joint", "joint.zzz"),
    ] {
        let error = flava_pretrain::Recipe::open("mini", &[format!("{key}=1")]).unwrap_err();
        assert_documented("pretrain.md", mark, &expected(&error.to_string()));
    }
}

/// Links between files of the repository lead somewhere, and no line of README is too long.
#[test]
fn links_lead_somewhere() {
    let root = docs().parent().unwrap().to_owned();
    let mut files: Vec<PathBuf> = fs::read_dir(docs())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "md"))
        .collect();
    files.extend(["README.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(|name| root.join(name)));
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        for target in text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            let path = target.split('#').next().unwrap();
            if !path.contains("://") && !path.is_empty() {
                let leads = file.parent().unwrap().join(path);
                assert!(leads.exists(), "{}: {target}", file.display());
            }
        }
    }
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    assert!(readme.lines().count() <= 140, "README is a front page");
    let long = readme.lines().find(|line| line.chars().count() > 100);
    assert_eq!(long, None);
}
