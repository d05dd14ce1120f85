//! `flava-eval verify`.

use std::{fs, path::Path};

use flava_tasks::Registry;
use serde_json::Value;
use tempfile::tempdir;

use crate::support::{
    fixtures::{digits, write_data, write_parquet},
    program::flava_eval,
    sources::write_source,
};

fn verify(folder: &Path, tasks: &str) -> (i32, Value) {
    let run = flava_eval(
        folder,
        &[
            "verify", "--data", "data", "--tasks", tasks, "--json", "--quiet",
        ],
    );
    (
        run.code,
        serde_json::from_str(&run.stdout)
            .unwrap_or_else(|e| panic!("{e}: {} {}", run.stdout, run.stderr)),
    )
}

#[test]
fn counts_labels_and_copies_are_reported() {
    let folder = tempdir().unwrap();
    write_data(&folder.path().join("data"));
    let mut rows = digits(60);
    // Row 50 is row 3 of the split again, and all are rows of the training split, which has two
    // hundred others.
    rows[50] = rows[3].clone();
    write_parquet(
        &folder
            .path()
            .join("data/ylecun/mnist/mnist/test-00000-of-00001.parquet"),
        "image",
        &rows,
        50,
    );
    let (code, report) = verify(folder.path(), "mnist,dtd");
    assert_eq!(code, 1);
    let mnist = &report["tasks"][0];
    assert_eq!(
        (mnist["state"].as_str(), mnist["source"].as_str()),
        (Some("mismatched"), Some("ylecun/mnist"))
    );
    assert!(
        mnist["reasons"]
            .to_string()
            .contains("split test has 60 rows, 10000 are expected"),
        "{mnist}"
    );
    let test = &mnist["splits"][1];
    assert_eq!(
        (test["rows"].as_u64(), test["duplicates"]["exact"].as_u64()),
        (Some(60), Some(1)),
        "{test}"
    );
    assert_eq!(
        (&test["classes"][0], &test["classes"][3]),
        (&5.into(), &7.into()),
        "row 50 became another digit"
    );
    assert_eq!(
        (
            mnist["leaks"][0]["of"].as_str(),
            mnist["leaks"][0]["also_in"].as_str()
        ),
        (Some("test"), Some("train"))
    );
    assert_eq!(mnist["leaks"][0]["duplicates"]["exact"], 60);
    assert_eq!(report["tasks"][1]["state"], "missing");
    let table = flava_eval(
        folder.path(),
        &["verify", "--data", "data", "--tasks", "mnist"],
    );
    assert!(
        table
            .stdout
            .contains("60 exactly and 0 nearly also in train, of 60"),
        "{}",
        table.stdout
    );
}

#[test]
fn answers_that_are_chosen_from_are_counted() {
    let folder = tempdir().unwrap();
    let task = Registry::built_in().unwrap().get("vqa").unwrap().clone();
    write_source(&folder.path().join("data"), &task, &task.sources[0]);
    let (_, report) = verify(folder.path(), "vqa");
    // No answer is that of nine of the four questions.
    assert_eq!(
        (
            &report["tasks"][0]["answers"]["vocabulary"],
            &report["tasks"][0]["answers"]["ceiling"]
        ),
        (&0.into(), &0.0.into())
    );
}

#[test]
fn unreadable_images_are_named() {
    let folder = tempdir().unwrap();
    write_data(&folder.path().join("data"));
    let mut rows = digits(60);
    rows[7].0.truncate(30);
    write_parquet(
        &folder
            .path()
            .join("data/ylecun/mnist/mnist/test-00000-of-00001.parquet"),
        "image",
        &rows,
        50,
    );
    let (code, report) = verify(folder.path(), "mnist");
    assert_eq!(
        (code, report["tasks"][0]["state"].as_str()),
        (1, Some("broken"))
    );
    assert_eq!(
        report["tasks"][0]["splits"][1]["unreadable"][0],
        "test-00000-of-00001.parquet:7"
    );
}

#[test]
fn drawn_data_is_ready() {
    let folder = tempdir().unwrap();
    let run = flava_eval(
        folder.path(),
        &[
            "verify",
            "--suite",
            "mini",
            "--tasks",
            "mini-groups,mini-sentence",
        ],
    );
    assert_eq!(run.code, 0, "{} {}", run.stdout, run.stderr);
    assert_eq!(run.stdout.matches(" ready ").count(), 2, "{}", run.stdout);
    assert!(fs::read_dir(folder.path()).unwrap().next().is_none());
}
