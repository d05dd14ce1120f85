//! Trainings in several processes: what they make is what one makes.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use flava_results::PAPER_COLUMNS;
use serde_json::Value;
use tch::Tensor;
use tempfile::tempdir;

use crate::support::{
    processes::signal,
    program::{Run, program},
    recipes::{write_short_recipe, write_tiny_recipe},
    trainings::{
        SAME, SMOOTH, STAGES, assert_same_losses, losses, pretrain, run, start, state, weights,
    },
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
            assert_same_losses(&of_one, &of_other, &format!("{stage}, {other}"));
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
    let one = weights(&folder.path().join("one"), "joint");
    for other in ["two", "full"] {
        let off = difference(&one, &weights(&folder.path().join(other), "joint"));
        assert!(off < SAME, "{other}: {off:.1e}");
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
        assert_same_losses(&of_one, &of_other, other);
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
    // Each number after each other, and after itself.
    for (processes, shard) in [
        ("1", "none"),
        ("1", "none"),
        ("2", "full"),
        ("2", "none"),
        ("3", "full"),
        ("3", "optimiser"),
        ("1", "none"),
        ("3", "none"),
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
        &[&long[..], &["--out", "parts", "--processes", "1"]].concat(),
    );
    assert_eq!(last.code, 0, "{}", last.stderr);
    let (whole, parts) = (
        losses(&folder.path().join("whole"), "joint"),
        losses(&out, "joint"),
    );
    assert_eq!((whole.len(), parts.len()), (40, 40));
    assert_same_losses(&whole, &parts, "parts");
    let whole = folder.path().join("whole");
    let off = difference(&weights(&whole, "joint"), &weights(&out, "joint"));
    assert!(off < SAME, "{off:.1e}");
    let rows = |out: &Path| {
        let state = out.join("joint/last/training_state.json");
        let state: Value = serde_json::from_str(&fs::read_to_string(state).unwrap()).unwrap();
        state["rows"].clone()
    };
    assert_eq!(rows(&whole), rows(&out));
}

/// A fine-tuning's losses and scores are those of one process, to the bit where the processes' rows
/// are its parts: dropout is drawn by part.
#[test]
fn a_task_is_trained_by_processes_together() {
    let folder = tempdir().unwrap();
    let train = |out: &str, more: &[&str]| {
        let args = ["mini-paraphrase-tuned", "--limit", "128", "--out", out];
        let recipe = ["epochs=2", "dropout=0.1", "eps=1e-4", "clip_norm=0"];
        let recipe = recipe.iter().flat_map(|setting| ["--set", setting]);
        let device = ["--threads", "1", "--device", "cpu"];
        let args: Vec<&str> = args
            .into_iter()
            .chain(recipe)
            .chain(device)
            .chain(more.iter().copied())
            .collect();
        let output = program("flava-finetune", folder.path(), &[], &args).output();
        let run = Run::from(output.unwrap());
        assert_eq!(run.code, 0, "{}", run.stderr);
        let log = format!("{out}/log.jsonl");
        let log = fs::read_to_string(folder.path().join(log)).unwrap();
        let lines = log
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        let number = |line: Value| {
            let name = if line["kind"] == "train" {
                "loss"
            } else {
                "accuracy"
            };
            line[name].as_f64()
        };
        lines.map(number).collect::<Vec<Option<f64>>>()
    };
    let parts = ["--micro-batch", "16"];
    let (one, two) = (train("one", &parts), train("two", &["--processes", "2"]));
    assert!(one.iter().flatten().count() > 4);
    assert_eq!(one, two);
    let three = ["--processes", "4", "--micro-batch", "4"];
    let (eighths, four) = (
        train("eighths", &["--micro-batch", "4"]),
        train("four", &three),
    );
    assert_eq!(eighths.len(), four.len());
    for (a, b) in eighths.iter().zip(&four) {
        let close = |a: f64, b: f64| (a - b).abs() < SAME * a.abs().max(1.0);
        assert!(
            a.zip(*b).is_none_or(|(a, b)| close(a, b)),
            "{eighths:?} {four:?}"
        );
    }
}

/// Every column of the paper in two processes.
#[test]
fn columns_in_processes_are_those_of_one() {
    let folder = tempdir().unwrap();
    let tiny = fs::read_to_string(write_tiny_recipe(folder.path(), "")).unwrap();
    let steps = ["joint.schedule.steps=10", "codebook.schedule.batch_size=8"];
    let steps = steps.iter().flat_map(|setting| ["--set", setting]);
    let settings: Vec<&str> = SMOOTH.into_iter().chain(steps).collect();
    // The last is what the other tests train.
    for column in &PAPER_COLUMNS[..7] {
        let extends = format!("extends = \"mini-{column}\"");
        let recipe = tiny.replace("extends = \"mini\"", &extends);
        fs::write(folder.path().join("tiny.toml"), recipe).unwrap();
        let out = |way: &str| folder.path().join(format!("{column} {way}"));
        for (way, more) in [
            ("one", ["--micro-batch", "4"]),
            ("two", ["--processes", "2"]),
        ] {
            let name = format!("{column} {way}");
            let made = run(
                folder.path(),
                &[&settings[..], &["--out", &name], &more].concat(),
            );
            assert_eq!(made.code, 0, "{name}: {}", made.stderr);
        }
        for stage in ["codebook", "text", "image", "beit", "joint"] {
            let (one, two) = (losses(&out("one"), stage), losses(&out("two"), stage));
            assert_same_losses(&one, &two, &format!("{column}, {stage}"));
        }
        // One backward pass for each part: a sum of two numbers.
        if ["mim", "mlm"].contains(column) {
            let both = ["one", "two"].map(|way| weights(&out(way), "joint"));
            for ((name, one), (_, two)) in both[0].iter().zip(&both[1]) {
                let is_trained = !name.starts_with("image_codebook"); // convolutions are not by row
                assert!(!is_trained || one.equal(two), "{column}: {name}");
            }
        }
    }
}

/// Weights and moments are the same, whatever of them each process has: to the bit, but where `full`
/// sums the gradients of a block's backward passes one by one.
#[test]
fn weights_and_moments_are_those_of_any_sharding() {
    let folder = tempdir().unwrap();
    write_short_recipe(folder.path());
    let recipe = fs::read_to_string(folder.path().join("tiny.toml")).unwrap();
    let recipe = recipe.replace("num_hidden_layers = 1", "num_hidden_layers = 2");
    let recipe = recipe.replace("save_every = 2", "save_every = 20");
    fs::write(folder.path().join("tiny.toml"), recipe).unwrap();
    let settings = [&SMOOTH[..], &["--set", "joint.schedule.steps=20"]].concat();
    let once: &[&str] = &["--shard", "full", "--reduce", "step"];
    let again = &[once, &["--recompute"]].concat();
    let optimiser: &[&str] = &["--shard", "optimiser"];
    let by_pass: &[&str] = &["--shard", "full"];
    for (processes, precision, ways) in [
        ("2", "f32", &[optimiser, once, again, by_pass][..]),
        ("3", "f32", &[once]),
        ("2", "bf16", &[once, again]),
    ] {
        let how = ["--processes", processes, "--precision", precision];
        let how = [&how[..], &["--micro-batch", "2"]].concat();
        let made = |way: &[&str]| -> PathBuf {
            let out = [&["with"], &how[..], way].concat().join(" ");
            let all = [&settings[..], &how, way, &["--out", &out]].concat();
            let made = run(folder.path(), &all);
            assert_eq!(made.code, 0, "{out}: {}", made.stderr);
            folder.path().join(out)
        };
        let whole = made(&["--shard", "none"]);
        for way in ways {
            let out = made(way);
            for file in ["model", "optimiser"] {
                let state = |out: &Path| state(&out.join("joint/last"), file);
                let off = difference(&state(&whole), &state(&out));
                let most = if *way == by_pass { SAME } else { 0.0 };
                assert!(off <= most, "{}, {file}: {off:.1e}", out.display());
            }
        }
    }
}

/// The norm of the difference of two states, relative to the first's.
fn difference(one: &[(String, Tensor)], other: &[(String, Tensor)]) -> f64 {
    let square = |tensor: &Tensor| tensor.norm().double_value(&[]).powi(2);
    let (mut off, mut size) = (0.0, 0.0);
    assert_eq!(one.len(), other.len());
    for ((name, one), (same, two)) in one.iter().zip(other) {
        assert_eq!(name, same);
        off += square(&(one - two));
        size += square(one);
    }
    (off / size).sqrt()
}
