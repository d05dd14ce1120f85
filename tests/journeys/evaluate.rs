//! Evaluations from data to table, JSON and CSV.

use std::{collections::BTreeMap, fs, path::Path};

use flava_model::checkpoint::Architecture;
use serde_json::Value;
use tempfile::tempdir;

use crate::support::{
    fixtures::{digit, digits, write_data, write_model, write_parquet},
    place::root,
    program::flava_eval,
};

const MINI: [&str; 14] = [
    "mini-groups",
    "mini-things-knn",
    "mini-things-few-shot",
    "mini-zero-shot",
    "mini-retrieval",
    "mini-retrieval-reranked",
    "mini-vqa",
    "mini-entailment",
    "mini-sentence",
    "mini-paraphrase",
    "mini-groups-tuned",
    "mini-paraphrase-tuned",
    "mini-entailment-tuned",
    "mini-vqa-tuned",
];

fn record(folder: &Path, task: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(folder.join(format!("{task}.json"))).unwrap()).unwrap()
}

/// The scores of each task in a folder of results.
fn scores(folder: &Path, tasks: &[&str]) -> BTreeMap<String, Vec<f64>> {
    let values = |task: &&str| {
        let metrics = record(folder, task)["metrics"].as_array().unwrap().clone();
        (
            (*task).to_owned(),
            metrics
                .iter()
                .map(|m| m["value"].as_f64().unwrap())
                .collect(),
        )
    };
    tasks.iter().map(values).collect()
}

#[test]
fn the_first_command_ends_with_a_table_json_and_csv() {
    let folder = tempdir().unwrap();
    let run = flava_eval(folder.path(), &["--tasks", "all", "--limit", "100"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    // A folder for each model, which is told.
    let listed = flava_eval(folder.path(), &["runs", "--json"]);
    let listed: Value = serde_json::from_str(&listed.stdout).unwrap();
    let out = listed[0]["folder"].as_str().unwrap();
    assert!(out.starts_with("runs/embedded-") && run.stderr.contains(out));
    assert_eq!(listed[0]["done"], MINI.len());
    let out = folder.path().join(out);
    for task in MINI {
        assert!(
            run.stdout
                .lines()
                .any(|line| line.trim_start().starts_with(task)),
            "{task} in {}",
            run.stdout
        );
        assert_eq!(record(&out, task)["task"], task);
    }
    assert!(
        run.stdout.contains("the embedded model is a small one"),
        "the table says what the model is: {}",
        run.stdout
    );
    let csv = fs::read_to_string(out.join("results.csv")).unwrap();
    assert!(csv.lines().count() > MINI.len() && csv.starts_with("task,variant,task_version,"));
    assert!(
        run.stderr.contains("device: cpu") || run.stderr.contains("device: cuda"),
        "{}",
        run.stderr
    );
}

#[test]
fn scores_repeat_and_hardly_depend_on_batches_or_threads() {
    let folder = tempdir().unwrap();
    let run = |out: &str, tasks: &[&str], more: &[&str]| {
        let list = tasks.join(",");
        let args = [
            &[
                "--tasks", &list, "--limit", "80", "--out", out, "--device", "cpu",
            ],
            more,
        ]
        .concat();
        let run = flava_eval(folder.path(), &args);
        assert_eq!(run.code, 0, "{}", run.stderr);
        scores(&folder.path().join(out), tasks)
    };
    let tasks = [
        "mini-groups",
        "mini-retrieval",
        "mini-vqa",
        "mini-paraphrase",
    ];
    assert_eq!(
        run("a", &tasks, &[]),
        run("b", &tasks, &[]),
        "twice the same"
    );
    // Other batches change features by rounding (1e-6). Where nothing is fitted, no more than a row
    // may flip; a probe on sixteen held-out rows may choose another penalty for it, so that probes
    // are compared by their features (embed.rs).
    let tasks = ["mini-zero-shot", "mini-retrieval"];
    let (first, other) = (
        run("c", &tasks, &[]),
        run("d", &tasks, &["--batch-size", "7", "--threads", "1"]),
    );
    for (task, scores) in &first {
        for (a, b) in scores.iter().zip(&other[task]) {
            assert!(
                (a - b).abs() <= 1.01 / 80.0,
                "{task}: {a} in one kind of batches, {b} in another"
            );
        }
    }
}

#[test]
fn parquet_and_shards_are_probed_in_one_run() {
    let folder = tempdir().unwrap();
    write_model(&folder.path().join("model"), Architecture::FlavaModel);
    write_data(&folder.path().join("data"));
    let run = flava_eval(
        folder.path(),
        &[
            "--model",
            "model",
            "--data",
            "data",
            "--tasks",
            "mnist,cifar10",
            "--allow-mismatch",
            "--json",
        ],
    );
    assert_eq!(run.code, 0, "{}", run.stderr);
    let records: Vec<Value> = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(records.len(), 2);
    for (record, data) in records
        .iter()
        .zip(["ylecun/mnist", "clip-benchmark/wds_vtab-cifar10"])
    {
        assert_eq!(record["data"], data);
        assert_eq!(
            (
                record["train_rows"].as_u64(),
                record["metrics"][0]["n"].as_u64()
            ),
            (Some(120), Some(60))
        );
        let accuracy = record["metrics"][0]["value"].as_f64().unwrap();
        assert!(
            accuracy > 0.8,
            "bars are told apart even by random features: {accuracy}"
        );
        let notes = record["notes"].to_string();
        assert!(
            notes.contains("split train has 120 rows") && notes.contains("split test has 60 rows"),
            "{notes}"
        );
    }
    // The same rows in either format give the same numbers.
    assert_eq!(
        records[0]["metrics"][0]["value"],
        records[1]["metrics"][0]["value"]
    );
}

#[test]
fn a_failed_task_leaves_the_others_written() {
    let folder = tempdir().unwrap();
    write_model(
        &folder.path().join("model"),
        Architecture::FlavaForPreTraining,
    );
    write_data(&folder.path().join("data"));
    let mut rows = digits(60);
    rows[33].0.truncate(40);
    write_parquet(
        &folder
            .path()
            .join("data/ylecun/mnist/mnist/test-00000-of-00001.parquet"),
        "image",
        &rows,
        50,
    );
    let args = [
        "--model",
        "model",
        "--data",
        "data",
        "--tasks",
        "mnist,cifar10",
        "--allow-mismatch",
        "--out",
        "runs",
    ];
    let run = flava_eval(folder.path(), &args);
    assert_eq!(run.code, 1, "{}", run.stderr);
    assert!(
        run.stderr.contains("test-00000-of-00001.parquet:33")
            && run
                .stderr
                .contains("\nhint: --skip-broken leaves such rows out\n"),
        "{}",
        run.stderr
    );
    assert!(
        folder.path().join("runs/cifar10.json").exists()
            && !folder.path().join("runs/mnist.json").exists()
    );
    let run = flava_eval(folder.path(), &[&args[..], &["--skip-broken"]].concat());
    assert_eq!(run.code, 0, "{}", run.stderr);
    let mnist = record(&folder.path().join("runs"), "mnist");
    assert_eq!(
        (mnist["skipped"].as_u64(), mnist["metrics"][0]["n"].as_u64()),
        (Some(1), Some(59))
    );
}

/// The task file that the documentation shows, on a folder as it describes.
#[test]
fn the_task_that_is_documented_runs() {
    let folder = tempdir().unwrap();
    let page = root().join("docs/your-own-data.md");
    let page = fs::read_to_string(page).unwrap();
    let toml = page
        .split("```toml\n")
        .skip(1)
        .map(|rest| rest.split_once("```").unwrap().0)
        .find(|toml| toml.contains("mushrooms"))
        .unwrap();
    fs::write(
        folder.path().join("mushrooms.toml"),
        toml.replace("rows = 800", "rows = 40")
            .replace("rows = 200", "rows = 20"),
    )
    .unwrap();
    for (split, rows) in [("train", 40), ("test", 20), ("valid", 20)] {
        for row in 0..rows {
            let class = folder
                .path()
                .join("data/mushrooms")
                .join(split)
                .join(["edible", "poisonous"][row % 2]);
            fs::create_dir_all(&class).unwrap();
            fs::write(class.join(format!("{row}.png")), digit(row % 2 * 7, row)).unwrap();
        }
    }
    let args = [
        "--task-file",
        "mushrooms.toml",
        "--tasks",
        "mushrooms",
        "--data",
        "data",
        "--out",
        "runs",
    ];
    assert!(
        flava_eval(folder.path(), &[&args[..], &["--dry-run"]].concat())
            .stdout
            .contains("ready: mushrooms: 40 train, 20 test")
    );
    let run = flava_eval(folder.path(), &args);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let mushrooms = record(&folder.path().join("runs"), "mushrooms");
    assert_eq!(
        (
            mushrooms["publishable"].as_bool(),
            mushrooms["metrics"][0]["value"].as_f64()
        ),
        (Some(true), Some(1.0)),
        "two bars are told apart"
    );
    // With a validation split the penalty is chosen on it, and the fit in the end is on both.
    let mine = fs::read_to_string(folder.path().join("mushrooms.toml")).unwrap();
    fs::write(
        folder.path().join("mushrooms.toml"),
        mine.replace(
            "\ntest = ",
            "\nvalidation = { name = \"valid\", rows = 20 }\ntest = ",
        ),
    )
    .unwrap();
    let run = flava_eval(folder.path(), &args);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!(
        (
            mushrooms["train_rows"].as_u64(),
            record(&folder.path().join("runs"), "mushrooms")["train_rows"].as_u64()
        ),
        (Some(40), Some(60))
    );
}

#[test]
fn tasks_of_ones_own_need_no_rebuild() {
    let folder = tempdir().unwrap();
    let shown = flava_eval(folder.path(), &["tasks", "show", "mini-groups"]);
    let own = shown
        .stdout
        .replace("mini-groups", "my-groups")
        .replace("suite = \"mini\"", "suite = \"own\"");
    fs::write(folder.path().join("mine.toml"), own).unwrap();
    let run = flava_eval(
        folder.path(),
        &[
            "--task-file",
            "mine.toml",
            "--tasks",
            "my-groups",
            "--limit",
            "60",
        ],
    );
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(run.stdout.contains("my-groups"));
}
