//! What users of such suites have stumbled over: numbers under names that their data does not
//! deserve.

use std::{fs, path::Path, thread, time::Duration};

use flava_model::checkpoint::Architecture;
use flava_tasks::{Protocol, Registry, Source, Task};
use serde_json::Value;
use tempfile::{TempDir, tempdir};

use crate::support::{
    fixtures::{digits, write_model, write_webdataset},
    program::{Run, command, flava_eval},
    sources::write_source,
};

fn task(name: &str) -> Task {
    Registry::built_in().unwrap().get(name).unwrap().clone()
}

fn source<'a>(task: &'a Task, position: &str) -> &'a Source {
    task.sources
        .iter()
        .find(|source| source.data_folder() == position)
        .unwrap()
}

/// A folder with a model and, under `data`, some sources of a task.
fn lab(name: &str, positions: &[&str]) -> TempDir {
    let folder = tempdir().unwrap();
    write_model(
        &folder.path().join("model"),
        Architecture::FlavaForPreTraining,
    );
    let task = task(name);
    for position in positions {
        write_source(&folder.path().join("data"), &task, source(&task, position));
    }
    folder
}

fn run(folder: &Path, tasks: &str, more: &[&str]) -> Run {
    flava_eval(
        folder,
        &[
            &[
                "--model", "model", "--data", "data", "--tasks", tasks, "--quiet", "--out", "runs",
            ],
            more,
        ]
        .concat(),
    )
}

fn record(folder: &Path, task: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(folder.join(format!("runs/{task}.json"))).unwrap())
        .unwrap()
}

#[test]
fn coco_5k_is_5000_images_and_25010_captions() {
    let folder = lab("coco", &["clip-benchmark/wds_mscoco_captions"]);
    let refused = run(folder.path(), "coco", &[]);
    assert_eq!(refused.code, 1);
    for needle in [
        "split test has 4 rows, 5000 are expected",
        "has 8 captions, 25010 are expected",
        "--allow-mismatch",
    ] {
        assert!(
            refused.stderr.contains(needle),
            "{needle} is not in {}",
            refused.stderr
        );
    }
    let allowed = run(folder.path(), "coco", &["--allow-mismatch"]);
    assert_eq!(allowed.code, 0, "{}", allowed.stderr);
    let record = record(folder.path(), "coco-retrieval");
    assert_eq!(
        (
            record["publishable"].as_bool(),
            record["mismatches"].as_array().map(Vec::len)
        ),
        (Some(false), Some(2))
    );
    assert!(
        fs::read_to_string(folder.path().join("runs/results.csv"))
            .unwrap()
            .lines()
            .nth(1)
            .unwrap()
            .contains(",false,")
    );
}

#[test]
fn shortened_training_splits_and_exchanged_ones_are_refused_under_the_papers_name() {
    let folder = lab("pets", &["clip-benchmark/wds_vtab-pets"]);
    let refused = run(folder.path(), "pets", &[]);
    assert!(
        refused.code == 1
            && refused
                .stderr
                .contains("2944 rows to fit on, not 3680 (VTAB's training slice"),
        "{}",
        refused.stderr
    );
    let flowers = lab("flowers102", &["mteb/oxford-flowers"]);
    let refused = run(flowers.path(), "flowers102", &[]);
    assert!(
        refused
            .stderr
            .contains("training and test rows are exchanged"),
        "{}",
        refused.stderr
    );
    // Under its own name the same data is only counted.
    let published = run(folder.path(), "pets", &["--protocol", "as-published"]);
    assert!(
        published
            .stderr
            .contains("split train has 4 rows, 2944 are expected")
            && !published.stderr.contains("3680"),
        "{}",
        published.stderr
    );
}

#[test]
fn kitti_runs_clips_rows_and_says_so() {
    assert_eq!(
        task("kitti").assign(Protocol::Flava).unwrap().protocol,
        Protocol::Clip
    );
    let folder = lab(
        "kitti",
        &["clip-benchmark/wds_vtab-kitti_closest_vehicle_distance"],
    );
    let root = folder
        .path()
        .join("data/clip-benchmark/wds_vtab-kitti_closest_vehicle_distance");
    let rows: Vec<_> = digits(40)
        .into_iter()
        .map(|(image, label)| (image, label % 4))
        .collect();
    write_webdataset(&root.join("train"), &rows, 40);
    write_webdataset(&root.join("test"), &rows, 40);
    let run = run(folder.path(), "kitti", &["--allow-mismatch"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let record = record(folder.path(), "kitti");
    assert_eq!(record["protocol"], "clip");
    assert!(
        record["notes"]
            .to_string()
            .contains("run under protocol clip: the rows of flava are not known"),
        "{record}"
    );
}

#[test]
fn a_source_that_is_gone_is_replaced_by_the_next_that_has_the_rows() {
    let data = tempdir().unwrap();
    let task = task("pets");
    for position in ["clip-benchmark/wds_vtab-pets", "oxford-iiit-pet"] {
        write_source(data.path(), &task, source(&task, position));
    }
    let folder = tempdir().unwrap();
    let data = data.path().to_str().unwrap();
    let run = flava_eval(
        folder.path(),
        &[
            "--dry-run",
            "--tasks",
            "pets",
            "--suite",
            "paper",
            "--data",
            data,
        ],
    );
    assert!(
        run.stdout
            .contains("mismatched: oxford-iiit-pet: split trainval has"),
        "{}",
        run.stdout
    );
}

#[test]
fn mnli_has_two_development_sets_and_hidden_labels_are_no_class() {
    let folder = lab("glue-mnli", &["nyu-mll/glue"]);
    let run = flava_eval(
        folder.path(),
        &[
            "verify", "--data", "data", "--tasks", "mnli", "--json", "--quiet",
        ],
    );
    let report: Value = serde_json::from_str(&run.stdout).unwrap();
    let splits: Vec<&str> = report["tasks"][0]["splits"]
        .as_array()
        .unwrap()
        .iter()
        .map(|split| split["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        splits,
        ["train", "validation_matched", "validation_mismatched"]
    );
    assert!(
        report["tasks"][0]["reasons"]
            .to_string()
            .contains("split validation_mismatched has 4 rows, 9832 are expected")
    );
}

/// VQAv2's test sets and Hateful Memes' hidden ones come without answers: nothing can be scored on
/// them.
#[test]
fn splits_without_labels_are_not_ready() {
    let folder = lab("vqav2", &["vqav2"]);
    fs::remove_file(
        folder
            .path()
            .join("data/vqav2/v2_mscoco_val2014_annotations.json"),
    )
    .unwrap();
    let dry = |task: &str| {
        flava_eval(
            folder.path(),
            &[
                "--dry-run",
                "--tasks",
                task,
                "--suite",
                "paper",
                "--data",
                "data",
            ],
        )
        .stdout
    };
    assert!(
        dry("vqa").contains("split val2014 has 4 rows without a label"),
        "{}",
        dry("vqa")
    );
    let memes = task("hateful-memes");
    write_source(
        &folder.path().join("data"),
        &memes,
        source(&memes, "hateful_memes"),
    );
    let lines = folder.path().join("data/hateful_memes/test_unseen.jsonl");
    let hidden: String = fs::read_to_string(&lines)
        .unwrap()
        .replace(",\"label\":0", "")
        .replace(",\"label\":1", "");
    fs::write(&lines, hidden).unwrap();
    assert!(
        dry("hateful-memes").contains("split test_unseen has 4 rows without a label"),
        "{}",
        dry("hateful-memes")
    );
}

#[test]
fn rows_that_came_in_twice_are_noticed() {
    let folder = tempdir().unwrap();
    let split = folder.path().join("data/nyu-mll/glue/rte");
    let glue = task("glue-rte");
    write_source(&folder.path().join("data"), &glue, &glue.sources[0]);
    // A second part with the same ids, as a sampler that pads its last batch would give.
    fs::rename(
        split.join("validation-00000-of-00001.parquet"),
        split.join("validation-00000-of-00002.parquet"),
    )
    .unwrap();
    fs::copy(
        split.join("validation-00000-of-00002.parquet"),
        split.join("validation-00001-of-00002.parquet"),
    )
    .unwrap();
    let run = flava_eval(
        folder.path(),
        &[
            "--dry-run",
            "--tasks",
            "rte",
            "--suite",
            "paper",
            "--data",
            "data",
        ],
    );
    assert!(
        run.stdout.contains("split validation has the id 100 twice"),
        "{}",
        run.stdout
    );
}

#[test]
fn results_do_not_depend_on_threads_or_shards() {
    let folder = tempdir().unwrap();
    write_model(
        &folder.path().join("model"),
        Architecture::FlavaForPreTraining,
    );
    let root = folder.path().join("data/clip-benchmark/wds_vtab-cifar10");
    let scores = |shard_rows: usize, threads: &str| {
        write_webdataset(&root.join("train"), &digits(120), shard_rows);
        write_webdataset(&root.join("test"), &digits(60), shard_rows);
        let run = run(
            folder.path(),
            "cifar10",
            &["--allow-mismatch", "--threads", threads, "--json"],
        );
        assert_eq!(run.code, 0, "{}", run.stderr);
        serde_json::from_str::<Value>(&run.stdout).unwrap()[0]["metrics"].clone()
    };
    let (many, few) = (scores(7, "5"), scores(60, "5"));
    assert_eq!(
        many, few,
        "twenty shards or two, and more threads than shards"
    );
}

#[test]
fn a_changed_shard_is_indexed_again() {
    let folder = tempdir().unwrap();
    let root = folder.path().join("data/clip-benchmark/wds_vtab-cifar10");
    write_webdataset(&root.join("train"), &digits(20), 10);
    let report = |test: &[(Vec<u8>, i64)]| -> Value {
        write_webdataset(&root.join("test"), test, 10);
        let args = [
            "verify", "--data", "data", "--tasks", "cifar10", "--json", "--quiet",
        ];
        let run = Run::from(
            command(folder.path(), &[("FLAVA_CACHE", "cache")], &args)
                .output()
                .unwrap(),
        );
        serde_json::from_str::<Value>(&run.stdout).unwrap_or_else(|e| panic!("{e}: {}", run.stderr))
            ["tasks"][0]["splits"][1]
            .clone()
    };
    let first = report(&digits(20));
    assert_eq!(
        fs::read_dir(folder.path().join("cache/indexes"))
            .unwrap()
            .count(),
        2
    );
    assert_eq!(report(&digits(20)), first, "the same rows written again");
    let mut rows = digits(20);
    rows[4].1 = 9;
    assert_ne!(report(&rows)["fingerprint"], first["fingerprint"]);
    assert_eq!(report(&digits(30))["rows"], 30);
    // An index that is no index is as good as none.
    for entry in fs::read_dir(folder.path().join("cache/indexes")).unwrap() {
        fs::write(
            entry.unwrap().path(),
            b"\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        )
        .unwrap();
    }
    assert_eq!(report(&digits(20)), first);
}

/// One bit of a kept index: the shards are indexed again, which is said, and read as they are.
#[test]
fn a_damaged_index_is_made_again_and_said() {
    let folder = tempdir().unwrap();
    let root = folder.path().join("data/clip-benchmark/wds_vtab-cifar10");
    for split in ["train", "test"] {
        write_webdataset(&root.join(split), &digits(20), 10);
    }
    thread::sleep(Duration::from_secs(3)); // younger files are hashed whatever the index says
    let report = || {
        let args = [
            "verify", "--data", "data", "--tasks", "cifar10", "--json", "--quiet",
        ];
        Run::from(
            command(folder.path(), &[("FLAVA_CACHE", "cache")], &args)
                .output()
                .unwrap(),
        )
    };
    let first = report();
    let again = report();
    assert!(
        again.stdout == first.stdout && !again.stderr.contains("is damaged"),
        "{}",
        again.stderr
    );
    let indexes: Vec<_> = fs::read_dir(folder.path().join("cache/indexes"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    for bit in [3, 77, 1200] {
        for index in &indexes {
            let mut bytes = fs::read(index).unwrap();
            let at = bit % (bytes.len() * 8);
            bytes[at / 8] ^= 1 << (at % 8);
            fs::write(index, bytes).unwrap();
        }
        let damaged = report();
        assert_eq!(damaged.stdout, first.stdout);
        assert_eq!(
            damaged
                .stderr
                .matches("is damaged or of another version")
                .count(),
            indexes.len(),
            "{}",
            damaged.stderr
        );
    }
}
