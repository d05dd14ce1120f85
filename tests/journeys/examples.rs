//! The files of `examples/`, each run as its first lines say.

use std::{
    env,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;
use tempfile::tempdir;

use crate::support::{
    place::root,
    program::{Run, flava_eval, program},
};

fn example(name: &str) -> String {
    let examples = root().join("examples");
    examples.join(name).display().to_string()
}

fn score(stdout: &str) -> f64 {
    let records: Value = serde_json::from_str(stdout).unwrap();
    records[0]["metrics"][0]["value"].as_f64().unwrap()
}

#[test]
fn task_files_run() {
    let folder = tempdir().unwrap();
    for (file, task) in [
        ("images.toml", "shapes"),
        ("zero_shot.toml", "shapes-zero-shot"),
        ("retrieval.toml", "captions"),
    ] {
        let (file, data) = (example(file), example("data"));
        let args = [
            "--task-file",
            &file,
            "--tasks",
            task,
            "--data",
            &data,
            "--json",
        ];
        let run = flava_eval(folder.path(), &args);
        assert_eq!(run.code, 0, "{task}: {}", run.stderr);
        assert!((0.0..=1.0).contains(&score(&run.stdout)));
    }
    for (file, task, more) in [
        (
            "text.toml",
            "sentences",
            ["--recipe", &example("recipe.toml")],
        ),
        ("vqa.toml", "colours", ["--set", "epochs=1"]),
    ] {
        let (file, data) = (example(file), example("data"));
        let common = [
            task,
            "--task-file",
            &file,
            "--data",
            &data,
            "--out",
            task,
            "--json",
        ];
        let args = [&common[..], &more].concat();
        let run = program("flava-finetune", folder.path(), &[], &args).output();
        let run: Run = run.unwrap().into();
        assert_eq!(run.code, 0, "{task}: {}", run.stderr);
    }
}

#[test]
fn predictions_and_recipes_are_read() {
    let folder = tempdir().unwrap();
    let run = flava_eval(
        folder.path(),
        &[
            "score",
            "--task-file",
            &example("images.toml"),
            "--task",
            "shapes",
            "--data",
            &example("data"),
            "--predictions",
            &example("predictions.csv"),
            "--json",
        ],
    );
    assert_eq!(run.code, 0, "{}", run.stderr);
    let scores: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(scores[0]["value"].as_f64(), Some(0.75));
    let args = ["run", &example("pretraining.toml"), "--dry-run"];
    let run: Run = program("flava-pretrain", folder.path(), &[], &args)
        .output()
        .unwrap()
        .into();
    assert!(
        run.code == 0 && run.stdout.contains("200 steps"),
        "{}",
        run.stderr
    );
}

/// A program of `examples/`, which cargo builds with the tests.
fn built(name: &str) -> PathBuf {
    let tests = env::current_exe().unwrap();
    let profile = tests.parent().and_then(Path::parent).unwrap();
    profile.join("examples").join(name)
}

#[test]
fn programs_run() {
    let folder = tempdir().unwrap();
    let images = example("data/shapes/train");
    let features = folder.path().join("train.safetensors");
    let features = features.to_str().unwrap();
    let embed = flava_eval(
        folder.path(),
        &["embed", "--images", &images, "--out", features],
    );
    assert_eq!(embed.code, 0, "{}", embed.stderr);
    let run = |name: &str, args: &[&str]| -> Run {
        let mut command = Command::new(built(name));
        let output = command.args(args).current_dir(folder.path()).output();
        output.unwrap().into()
    };
    let probe = run("linear_probe", &[features]);
    assert!(
        probe.stdout.contains("of 36 right"),
        "{} {}",
        probe.stdout,
        probe.stderr
    );
    let model = root().join("evaluator/assets/mini");
    let image = example("data/shapes/test/circle/36.png");
    let args = [model.to_str().unwrap(), &image, "a red circle", "two dogs"];
    let near = run("similarity", &args);
    let lines: Vec<&str> = near.stdout.lines().collect();
    let cosine = |line: &str| line.split(' ').next().unwrap().parse::<f64>().unwrap();
    assert!(
        lines.len() == 2 && cosine(lines[0]) > cosine(lines[1]),
        "{}",
        near.stderr
    );
    let mut scorer = Command::new(built("score_predictions"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    scorer
        .stdin
        .take()
        .unwrap()
        .write_all(b"0 0\n1 1\n1 0\n")
        .unwrap();
    let scored: Run = scorer.wait_with_output().unwrap().into();
    assert!(
        scored.stdout.starts_with("accuracy 0.6667"),
        "{}",
        scored.stdout
    );
}
