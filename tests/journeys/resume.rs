//! Runs that are killed, interrupted or run twice.

use std::{
    fs,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use flava_base::stream;
use rand::Rng;
use serde_json::Value;
use tempfile::tempdir;

use crate::support::program::{Run, command, flava_eval};

/// Every kind of task there is.
const ARGS: [&str; 8] = [
    "--tasks", "all", "--limit", "48", "--device", "cpu", "--out", "runs",
];
const KILLS: usize = 20;

fn start(folder: &Path, more: &[&str]) -> Command {
    let mut command = command(folder, &[("FLAVA_CACHE", "cache")], &[&ARGS, more].concat());
    command
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null());
    command
}

fn finish(folder: &Path, more: &[&str]) -> Run {
    let args = [&ARGS, more].concat();
    command(folder, &[("FLAVA_CACHE", "cache")], &args)
        .output()
        .unwrap()
        .into()
}

/// Killed at random moments again and again, a run ends with the bytes of one that was left alone.
#[test]
fn a_run_that_is_killed_twenty_times_ends_as_if_it_had_not_been() {
    let (whole, killed) = (tempdir().unwrap(), tempdir().unwrap());
    let began = Instant::now();
    let run = finish(whole.path(), &[]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let seconds = began.elapsed().as_secs_f64();
    let mut rng = stream(7, "moments of killing");
    let mut ended = 0;
    for _ in 0..KILLS {
        // Anywhere from the start of the program to a good way through what is left.
        let mut process = start(killed.path(), &[]).spawn().unwrap();
        let moment =
            Instant::now() + Duration::from_secs_f64(rng.random_range(0.02..0.3) * seconds);
        while Instant::now() < moment && process.try_wait().unwrap().is_none() {
            thread::sleep(Duration::from_millis(5));
        }
        ended += usize::from(process.try_wait().unwrap().is_some());
        process.kill().unwrap();
        process.wait().unwrap();
        let csv = fs::read_to_string(killed.path().join("runs/results.csv")).unwrap_or_default();
        assert!(
            csv.is_empty() || csv.ends_with('\n'),
            "a table is whole or not there"
        );
    }
    assert!(ended < KILLS, "some runs were killed in their midst");
    let run = finish(killed.path(), &[]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let csv = |folder: &Path| fs::read_to_string(folder.join("runs/results.csv")).unwrap();
    assert_eq!(csv(whole.path()), csv(killed.path()));
    let names = fs::read_dir(whole.path().join("runs/predictions"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    for name in names {
        let predictions =
            |folder: &Path| fs::read(folder.join("runs/predictions").join(&name)).unwrap();
        assert!(
            predictions(whole.path()) == predictions(killed.path()),
            "{name:?}"
        );
    }
    let status: Value =
        serde_json::from_str(&fs::read_to_string(killed.path().join("runs/status.json")).unwrap())
            .unwrap();
    assert!(
        status
            .as_object()
            .unwrap()
            .values()
            .all(|task| task["state"] == "done"),
        "{status}"
    );
}

#[test]
fn what_is_finished_is_not_done_again_unless_something_changed() {
    let folder = tempdir().unwrap();
    let run = |more: &[&str]| {
        let run = flava_eval(
            folder.path(),
            &[&["--tasks", "mini-sentence"], more].concat(),
        );
        assert_eq!(run.code, 0, "{}", run.stderr);
        run.stderr.contains("its record is there already")
    };
    assert!(!run(&[]) && run(&[]), "the second finds the first");
    assert!(
        !run(&["--again"])
            && !run(&["--seed", "1"])
            && !run(&["--limit", "60"])
            && !run(&["--precision", "bf16"])
    );
    assert!(
        !run(&[]) && run(&[]),
        "the first settings again are other settings than the last"
    );
}

#[test]
fn ctrl_c_leaves_a_run_that_goes_on() {
    let folder = tempdir().unwrap();
    let mut process = start(folder.path(), &[]).spawn().unwrap();
    while !folder.path().join("runs/journal.jsonl").exists() {
        thread::sleep(Duration::from_millis(5));
    }
    thread::sleep(Duration::from_millis(300));
    Command::new("kill")
        .args(["-INT", &process.id().to_string()])
        .status()
        .unwrap();
    let code = process.wait().unwrap().code();
    assert!([Some(130), Some(0)].contains(&code), "{code:?}"); // 0 where it was done by then
    assert_eq!(finish(folder.path(), &[]).code, 0);
}

#[test]
fn a_second_run_in_a_folder_is_told_of_the_first() {
    let folder = tempdir().unwrap();
    let mut process = start(folder.path(), &["--again"]).spawn().unwrap();
    while !folder.path().join("runs/journal.jsonl").exists() {
        thread::sleep(Duration::from_millis(5));
    }
    let second = finish(folder.path(), &[]);
    process.kill().unwrap();
    process.wait().unwrap();
    assert!(
        second.code == 2 && second.stderr.contains("another run (process"),
        "{}",
        second.stderr
    );
}

/// What is done to the bytes of a shard, of which this is the number.
type Damage<'a> = &'a dyn Fn(&mut Vec<u8>, usize);

/// Features that lie in the store are used: a run without them gives the same.
#[test]
fn stored_features_are_used_listed_and_removed() {
    let folder = tempdir().unwrap();
    let run = |args: &[&str]| -> Run {
        command(folder.path(), &[("FLAVA_CACHE", "cache")], args)
            .output()
            .unwrap()
            .into()
    };
    let measure = |out: &str, more: &[&str]| {
        let run = run(&[
            &[
                "--tasks",
                "mini-groups,mini-zero-shot",
                "--limit",
                "90",
                "--out",
                out,
                "--json",
            ],
            more,
        ]
        .concat());
        assert_eq!(run.code, 0, "{}", run.stderr);
        let records: Vec<Value> = serde_json::from_str(&run.stdout).unwrap();
        records
            .iter()
            .map(|record| record["metrics"].clone())
            .collect::<Vec<Value>>()
    };
    let first = measure("a", &[]);
    let shards = |of: &str| fs::read_dir(folder.path().join(of)).unwrap().count();
    let stored = shards("cache/features");
    assert!(
        stored >= 4,
        "train and test features, embeddings and prompts: {stored}"
    );
    assert_eq!(
        (measure("b", &[]), shards("cache/features")),
        (first.clone(), stored)
    );
    assert_eq!(measure("c", &["--no-cache"]), first);
    let listed = run(&["cache", "ls"]).stdout;
    assert!(
        listed.contains("image_cls")
            && listed.contains("(90 rows)")
            && listed.contains(&format!("{stored} kinds")),
        "{listed}"
    );
    // A shard that was cut, whose tail is zeros, or that is another split's is made again, and not
    // read.
    let shards_of = || -> Vec<_> {
        let kinds = fs::read_dir(folder.path().join("cache/features")).unwrap();
        kinds
            .map(|entry| entry.unwrap().path().join("000000.safetensors"))
            .collect()
    };
    let predictions = |out: &str| {
        fs::read(
            folder
                .path()
                .join(out)
                .join("predictions/mini-groups.parquet"),
        )
        .unwrap()
    };
    let others: Vec<Vec<u8>> = shards_of()
        .iter()
        .map(|shard| fs::read(shard).unwrap())
        .collect();
    let damage: [Damage; 3] = [
        &|bytes, _| bytes.truncate(bytes.len() - 7),
        &|bytes, _| {
            let from = bytes.len().saturating_sub(4096).max(bytes.len() / 2);
            bytes[from..].fill(0);
        },
        &|bytes, shard| bytes.clone_from(&others[(shard + 1) % others.len()]),
    ];
    for (kind, damage) in damage.iter().enumerate() {
        for (shard, path) in shards_of().iter().enumerate() {
            let mut bytes = fs::read(path).unwrap();
            damage(&mut bytes, shard);
            fs::write(path, bytes).unwrap();
        }
        let out = format!("d{kind}");
        let broken = run(&[
            "--tasks",
            "mini-groups,mini-zero-shot",
            "--limit",
            "90",
            "--out",
            &out,
        ]);
        assert!(
            broken.code == 0
                && broken
                    .stderr
                    .contains(["is damaged", "is damaged", "is the shard of other features"][kind]),
            "{kind}: {}",
            broken.stderr
        );
        assert_eq!(predictions(&out), predictions("a"), "{kind}");
    }
    assert_eq!(measure("e", &[]), first);
    assert_eq!(measure("f", &[]), first);
    assert!(
        run(&["cache", "prune", "--days", "0"])
            .stdout
            .contains("removed")
            && shards("cache/features") == 0
    );
}

/// Probes of several states, neighbours and few shots by the same command; each has a record of its
/// own.
#[test]
fn methods_and_features_have_records_of_their_own() {
    let folder = tempdir().unwrap();
    let run = |args: &[&str]| {
        let run = flava_eval(
            folder.path(),
            &[&["--limit", "60", "--out", "runs", "--tasks"], args].concat(),
        );
        assert_eq!(run.code, 0, "{args:?}: {}", run.stderr);
        run
    };
    run(&[
        "mini-groups",
        "--features",
        "image_cls,image_mean,image_pooler,image_embedding,image_layer1",
    ]);
    run(&["mini-groups", "--method", "knn"]);
    run(&[
        "mini-groups",
        "--method",
        "few-shot",
        "--features",
        "image_mean",
    ]);
    run(&[
        "mini-vqa",
        "--features",
        "multimodal_mean,multimodal_pooler,multimodal_layer2",
    ]);
    run(&[
        "mini-sentence",
        "--features",
        "text_mean,text_layer3",
        "--sweep",
        "full",
        "--preview",
    ]);
    let names = [
        "mini-groups",
        "mini-groups.image_mean",
        "mini-groups.image_layer1",
        "mini-groups.knn",
        "mini-groups.few_shot.image_mean",
        "mini-vqa.multimodal_pooler",
        "mini-sentence.text_layer3.full_sweep",
    ];
    for name in names {
        assert!(
            folder.path().join(format!("runs/{name}.json")).exists(),
            "{name}"
        );
    }
    let record: Value = serde_json::from_str(
        &fs::read_to_string(
            folder
                .path()
                .join("runs/mini-sentence.text_mean.full_sweep.json"),
        )
        .unwrap(),
    )
    .unwrap();
    assert_eq!(record["details"]["search"].as_array().unwrap().len(), 97);
    assert!(record["details"]["preview"]["accuracy"].as_f64().unwrap() > 0.3);
    let wrong = flava_eval(
        folder.path(),
        &["--tasks", "mini-groups", "--features", "image_layer9"],
    );
    assert!(
        wrong.code == 1 && wrong.stderr.contains("has 4 blocks"),
        "{}",
        wrong.stderr
    );
    let wrong = flava_eval(
        folder.path(),
        &["--tasks", "mini-groups", "--features", "image_cs"],
    );
    assert!(
        wrong.code == 2 && wrong.stderr.contains("is no feature"),
        "{}",
        wrong.stderr
    );
}
