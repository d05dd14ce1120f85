//! Trainings in several processes: what they make is what one makes.

use std::{fs, thread, time::Duration};

use serde_json::Value;
use tch::Tensor;
use tempfile::tempdir;

use crate::support::{
    processes::signal,
    program::{Run, program},
    recipes::write_tiny_recipe,
    trainings::{SAME, SMOOTH, STAGES, losses, pretrain, run, start, weights},
};

/// The batch is the recipe's in any number of processes: losses and counts are those of one, of
/// every stage, and the model is read as any other.
#[test]
fn stages_in_processes_are_those_of_one() {
    let folder = tempdir().unwrap();
    write_tiny_recipe(folder.path(), "");
    let of_ten = ["codebook", "image"].map(|stage| {
        ["steps=10", "batch_size=8"].map(|setting| format!("{stage}.schedule.{setting}"))
    });
    let of_ten = of_ten
        .iter()
        .flatten()
        .flat_map(|setting| ["--set", setting]);
    let settings: Vec<&str> = SMOOTH.into_iter().chain(of_ten).collect();
    for (out, more) in [
        ("one", &["--micro-batch", "4"][..]),
        ("two", &["--processes", "2"]),
        ("three", &["--processes", "3", "--shard", "optimiser"]),
        ("full", &["--processes", "3", "--shard", "full"]),
    ] {
        let made = run(
            folder.path(),
            &[&settings[..], &["--out", out], more].concat(),
        );
        assert_eq!(made.code, 0, "{out}: {}", made.stderr);
        assert_eq!(made.stdout.trim(), format!("{out}/model"));
    }
    let out = |name: &str| folder.path().join(name);
    for stage in STAGES {
        let of_one = losses(&out("one"), stage);
        for other in ["two", "three", "full"] {
            let of_other = losses(&out(other), stage);
            assert_eq!(of_one.len(), of_other.len());
            let pairs = of_one.iter().zip(&of_other);
            let off = |(a, b): (&f64, &f64)| (a - b).abs() / a.abs().max(1.0);
            let off = pairs.map(off).fold(0.0, f64::max);
            assert!(off < SAME, "{stage}, {other}: {off:.1e}");
        }
        let states = ["one", "two", "three", "full"].map(|name| {
            let state = out(name).join(stage).join("last/training_state.json");
            let state: Value = serde_json::from_str(&fs::read_to_string(state).unwrap()).unwrap();
            state["rows"].clone()
        });
        assert!(
            states[1..].iter().all(|state| *state == states[0]),
            "{states:?}"
        );
    }
    // Two parts of a batch in one process or one in each of two: the same sums of two numbers.
    for stage in ["text", "image"] {
        let [one, two] = ["one", "two"].map(|name| weights(&out(name), stage));
        for ((name, one), (_, two)) in one.iter().zip(&two) {
            let is_trained = match stage {
                "text" => name.starts_with("flava.text_model") || name.starts_with("mlm_head"),
                _ => name.starts_with("flava.image_model"),
            };
            assert!(!is_trained || one.equal(two), "{name}");
        }
    }
    let again = run(
        folder.path(),
        &[&settings[..], &["--out", "two", "--processes", "3"]].concat(),
    );
    assert_eq!(again.code, 0, "{}", again.stderr);
}

/// With blocks enough to be brought ahead.
#[test]
fn weights_after_fifty_steps_are_those_of_one() {
    let folder = tempdir().unwrap();
    write_tiny_recipe(folder.path(), "");
    let settings = [
        "joint.schedule.steps=50",
        "model.image_config.num_hidden_layers=3",
        "model.text_config.num_hidden_layers=3",
        "model.multimodal_config.num_hidden_layers=4",
    ];
    let mut long = SMOOTH.to_vec();
    long.extend(settings.iter().flat_map(|setting| ["--set", setting]));
    let ways: [(&str, &[&str]); 3] = [
        ("one", &[]),
        ("two", &["--processes", "2"]),
        ("full", &["--processes", "2", "--shard", "full"]),
    ];
    for (way, more) in ways {
        let made = run(
            folder.path(),
            &[&long[..], &["--out", "out"], more].concat(),
        );
        assert_eq!(made.code, 0, "{way}: {}", made.stderr);
        // The next begins where this one did.
        fs::create_dir(folder.path().join(way)).unwrap();
        let (out, kept) = (folder.path().join("out"), folder.path().join(way));
        fs::rename(out.join("joint"), kept.join("joint")).unwrap();
        fs::remove_dir_all(out.join("model")).unwrap();
    }
    let norm = |tensor: &Tensor| tensor.norm().double_value(&[]).powi(2);
    let one = weights(&folder.path().join("one"), "joint");
    for other in ["two", "full"] {
        let other_weights = weights(&folder.path().join(other), "joint");
        let (mut off, mut size) = (0.0, 0.0);
        for ((name, one), (same, two)) in one.iter().zip(&other_weights) {
            assert_eq!(name, same);
            off += norm(&(one - two));
            size += norm(one);
        }
        let off = (off / size).sqrt();
        assert!(off < 1e-6, "{other}: {off:.1e}");
    }
}

/// Of three pairs one of four processes has none, in every step: it comes along, and adds nothing.
#[test]
fn a_process_without_rows_comes_along() {
    let folder = tempdir().unwrap();
    write_tiny_recipe(folder.path(), "");
    let few = [&SMOOTH[..], &["--set", "joint.schedule.batch_size=3"]].concat();
    for (out, more) in [
        ("one", &["--micro-batch", "2"][..]),
        ("four", &["--processes", "4"]),
        ("full", &["--processes", "4", "--shard", "full"]),
    ] {
        let made = run(folder.path(), &[&few[..], &["--out", out], more].concat());
        assert_eq!(made.code, 0, "{out}: {}", made.stderr);
    }
    let of_one = losses(&folder.path().join("one"), "joint");
    for other in ["four", "full"] {
        let of_other = losses(&folder.path().join(other), "joint");
        assert_eq!(of_one.len(), of_other.len());
        for (a, b) in of_one.iter().zip(&of_other) {
            let close = (a - b).abs() < SAME * a.abs().max(1.0);
            assert!(close, "{other}: {a} and {b}");
        }
    }
}

/// Stopped again and again, each time going on in another number of processes that have other parts
/// of it, a run has the losses of one that was left alone.
#[test]
fn a_run_goes_on_in_every_other_way() {
    let folder = tempdir().unwrap();
    write_tiny_recipe(folder.path(), "");
    let long = [&SMOOTH[..], &["--set", "joint.schedule.steps=40"]].concat();
    let whole = run(folder.path(), &[&long[..], &["--out", "whole"]].concat());
    assert_eq!(whole.code, 0, "{}", whole.stderr);
    let out = folder.path().join("parts");
    for (processes, shard) in [
        ("1", "none"),
        ("2", "full"),
        ("3", "none"),
        ("3", "full"),
        ("2", "optimiser"),
    ] {
        let way = ["--out", "parts", "--processes", processes, "--shard", shard];
        let goal = losses(&out, "joint").len() + 3;
        let mut parent = start(&mut pretrain(
            folder.path(),
            &[],
            &[&long[..], &way].concat(),
        ));
        while losses(&out, "joint").len() < goal && parent.try_wait().unwrap().is_none() {
            thread::sleep(Duration::from_millis(5));
        }
        signal(parent.id(), "INT");
        let ended = Run::from(parent.wait_with_output().unwrap());
        assert_eq!(ended.code, 130, "{way:?}: {}", ended.stderr);
    }
    let last = run(
        folder.path(),
        &[&long[..], &["--out", "parts", "--processes", "3"]].concat(),
    );
    assert_eq!(last.code, 0, "{}", last.stderr);
    let (whole, parts) = (
        losses(&folder.path().join("whole"), "joint"),
        losses(&out, "joint"),
    );
    assert_eq!((whole.len(), parts.len()), (40, 40));
    for (step, (a, b)) in whole.iter().zip(&parts).enumerate() {
        assert!(
            (a - b).abs() < SAME * a.abs().max(1.0),
            "step {step}: {a} and {b}"
        );
    }
}

/// A fine-tuning's loss and score are those of one process.
#[test]
fn a_task_is_trained_by_processes_together() {
    let folder = tempdir().unwrap();
    let train = |out: &str, more: &[&str]| {
        let args = ["mini-paraphrase-tuned", "--limit", "130", "--out", out];
        let recipe = [
            "--set",
            "epochs=2",
            "--set",
            "dropout=0",
            "--threads",
            "1",
            "--device",
            "cpu",
        ];
        let args: Vec<&str> = args.iter().chain(&recipe).chain(more).copied().collect();
        let output = program("flava-finetune", folder.path(), &[], &args).output();
        let run = Run::from(output.unwrap());
        assert_eq!(run.code, 0, "{}", run.stderr);
        let log = format!("{out}/log.jsonl");
        let log = fs::read_to_string(folder.path().join(log)).unwrap();
        let lines = log
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines
            .map(|line| {
                let number = if line["kind"] == "train" {
                    &line["loss"]
                } else {
                    &line["accuracy"]
                };
                number.as_f64().unwrap_or(f64::NAN)
            })
            .collect::<Vec<f64>>()
    };
    let (one, three) = (train("one", &[]), train("three", &["--processes", "3"]));
    assert_eq!(one.len(), three.len());
    for (a, b) in one.iter().zip(&three) {
        assert!(
            (a - b).abs() < 2e-3 * a.abs().max(1.0) || a.is_nan(),
            "{one:?} {three:?}"
        );
    }
}
