//! LoRA: what is added to the attention is trained, kept apart, gone on with, and merged.

use std::{fs, path::Path, process::Stdio, thread, time::Duration};

use flava_model::checkpoint::{Architecture, Checkpoint, read_tensors};
use serde_json::Value;
use tempfile::{TempDir, tempdir};

use crate::support::{
    fixtures::write_model,
    processes::signal,
    program::{Run, flava_eval, program},
};

const TRAIN: [&str; 22] = [
    "--train",
    "train.csv",
    "--model",
    "model",
    "--device",
    "cpu",
    "--threads",
    "1",
    "--set",
    "lora.rank=3",
    "--set",
    "lora.on=[\"query\", \"output\"]",
    "--set",
    "steps=60",
    "--set",
    "lr=5e-3",
    "--set",
    "evaluate_every=30",
    "--set",
    "batch_size=16",
    "--quiet",
    "--json",
];

fn finetune(folder: &Path, args: &[&str]) -> Run {
    program("flava-finetune", folder, &[], args)
        .output()
        .unwrap()
        .into()
}

fn lab() -> TempDir {
    let folder = tempdir().unwrap();
    write_model(&folder.path().join("model"), Architecture::FlavaModel);
    let row = |row: usize| {
        let (colour, thing) = (["blue", "red"][row % 2], ["cat", "dog", "tree"][row % 3]);
        format!("a photo of the {colour} {thing},{colour}\n")
    };
    let rows: String = (0..120).map(row).collect();
    fs::write(
        folder.path().join("train.csv"),
        format!("text,label\n{rows}"),
    )
    .unwrap();
    fs::write(
        folder.path().join("new.txt"),
        "a red dog\nthe blue house\na tree\n",
    )
    .unwrap();
    folder
}

fn answers(folder: &Path, model: &str) -> Vec<(String, f64)> {
    let run = finetune(
        folder,
        &[
            "predict",
            "--model",
            model,
            "--texts",
            "new.txt",
            "--answers",
            "a.csv",
        ],
    );
    assert_eq!(run.code, 0, "{}", run.stderr);
    let mut table = csv::Reader::from_path(folder.join("a.csv")).unwrap();
    table
        .records()
        .map(Result::unwrap)
        .map(|row| (row[1].to_owned(), row[2].parse().unwrap()))
        .collect()
}

#[test]
fn additions_are_learned_kept_apart_and_merged() {
    let lab = lab();
    let folder = lab.path();
    let run = finetune(folder, &[&TRAIN[..], &["--out", "lora"]].concat());
    assert_eq!(run.code, 0, "{}", run.stderr);
    let records: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(records[0]["metrics"][0]["value"], 1.0);
    // Of the weights nothing is there; of the additions what PEFT reads.
    let best = folder.join("lora/best");
    assert!(!best.join("model.safetensors").exists() && !best.join("config.json").exists());
    let added = read_tensors(&best.join("adapter_model.safetensors")).unwrap();
    let layers = 2 * 2 * 2; // blocks, projections, factors
    assert_eq!(added.len(), layers);
    assert!(added.iter().all(|(name, tensor)| {
        name.starts_with("base_model.model.text_model.encoder.layer.")
            && tensor.size().contains(&3)
            && f64::try_from(tensor.abs().max()).unwrap() > 0.0
    }));
    let config: Value =
        serde_json::from_str(&fs::read_to_string(best.join("adapter_config.json")).unwrap())
            .unwrap();
    assert_eq!(
        (&config["peft_type"], &config["r"]),
        (&"LORA".into(), &3.into())
    );
    // Merged it is a model that stands alone, with the same answers.
    let merged = finetune(folder, &["merge", "--model", "lora", "--out", "whole"]);
    assert_eq!(merged.code, 0, "{}", merged.stderr);
    let apart = answers(folder, "lora");
    for (a, b) in apart.iter().zip(answers(folder, "whole")) {
        assert!(a.0 == b.0 && (a.1 - b.1).abs() < 1e-5, "{a:?} {b:?}");
    }
    let (before, after) = (folder.join("model"), folder.join("whole"));
    let tensors = |at: &Path| Checkpoint::open(at).unwrap();
    let (before, after) = (tensors(&before), tensors(&after));
    let changed = before.tensors().iter().filter(|(name, tensor)| {
        after.tensors()[*name].to_tensor().unwrap() != tensor.to_tensor().unwrap()
    });
    assert_eq!(changed.count(), 2 * 2);
    // Both are scored again on the task, and the LoRA on nothing else.
    fs::write(
        folder.join("t.toml"),
        "[[task]]\nname = \"own-train\"\nmethod = \"fine_tune\"\nsource = { train = \"train.csv\" }\n",
    )
    .unwrap();
    for model in ["lora", "whole"] {
        let run = flava_eval(
            folder,
            &["--model", model, "--task-file", "t.toml", "--json"],
        );
        assert_eq!(run.code, 0, "{}", run.stderr);
        let again: Value = serde_json::from_str(&run.stdout).unwrap();
        assert_eq!(again[0]["metrics"][0]["value"], 1.0, "{model}");
    }
    let other = flava_eval(
        folder,
        &[
            "--model",
            "lora",
            "--tasks",
            "mini-sentence",
            "--suite",
            "mini",
        ],
    );
    assert!(
        other.code == 2 && other.stderr.contains("flava-finetune merge"),
        "{}",
        other.stderr
    );
    let twice = finetune(folder, &["merge", "--model", "lora", "--out", "whole"]);
    assert!(
        twice.stderr.contains("is there already"),
        "{}",
        twice.stderr
    );
    let whole = finetune(folder, &["merge", "--model", "whole", "--out", "again"]);
    assert!(
        whole.stderr.contains("holds a whole model already"),
        "{}",
        whole.stderr
    );
    // The weights were moved, then others lie in their place.
    fs::rename(folder.join("model"), folder.join("moved")).unwrap();
    let gone = finetune(
        folder,
        &[
            "predict",
            "--model",
            "lora",
            "--texts",
            "new.txt",
            "--answers",
            "a.csv",
        ],
    );
    assert!(
        gone.code == 2 && gone.stderr.contains("is gone"),
        "{}",
        gone.stderr
    );
    let merge = ["merge", "--model", "lora", "--out", "other"];
    let merged = finetune(folder, &[&merge[..], &["--base", "moved"]].concat());
    assert_eq!(merged.code, 0, "{}", merged.stderr);
    fs::rename(folder.join("whole"), folder.join("model")).unwrap();
    fs::remove_dir_all(folder.join("other")).unwrap();
    let others = finetune(folder, &merge);
    assert!(
        others.code == 2 && others.stderr.contains("holds others"),
        "{}",
        others.stderr
    );
}

#[test]
fn a_lora_that_is_stopped_goes_on_to_the_same_bytes() {
    let lab = lab();
    let whole = finetune(lab.path(), &[&TRAIN[..], &["--out", "whole"]].concat());
    assert_eq!(whole.code, 0, "{}", whole.stderr);
    let args = [&TRAIN[..], &["--out", "parts"]].concat();
    let mut process = program("flava-finetune", lab.path(), &[], &args)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let log = lab.path().join("parts/log.jsonl");
    while fs::read_to_string(&log).map_or(0, |text| text.lines().count()) < 5 {
        thread::sleep(Duration::from_millis(2));
    }
    signal(process.id(), "INT");
    process.wait().unwrap();
    let rest = finetune(lab.path(), &args);
    assert_eq!(rest.code, 0, "{}", rest.stderr);
    for file in ["adapter_model.safetensors", "head.safetensors"] {
        for state in ["best", "last"] {
            let bytes = |out: &str| fs::read(lab.path().join(out).join(state).join(file)).unwrap();
            assert!(bytes("whole") == bytes("parts"), "{state}/{file}");
        }
    }
    let other = finetune(lab.path(), &[&args[..], &["--set", "lora.rank=2"]].concat());
    assert_ne!(other.code, 0);
}

#[test]
fn what_is_no_lora_is_refused() {
    let lab = lab();
    for (set, needle) in [
        ("lora.rank=0", "lora has a rank of 1 to 1024"),
        ("lora.on=[]", "projections that it is on"),
        ("lora.on=[\"querry\"]", "querry"),
        ("lora.rnk=2", "did you mean lora.rank"),
    ] {
        let args = [
            "--train",
            "train.csv",
            "--model",
            "model",
            "--set",
            set,
            "--out",
            "x",
        ];
        let run = finetune(lab.path(), &args);
        assert!(
            run.code == 2 && run.stderr.contains(needle),
            "{set}: {}",
            run.stderr
        );
    }
    let args = [
        "--train",
        "train.csv",
        "--model",
        "model",
        "--set",
        "lora.rank=2",
        "--random-init",
    ];
    let run = finetune(lab.path(), &args);
    assert!(
        run.stderr.contains("a LoRA is of a checkpoint's weights"),
        "{}",
        run.stderr
    );
}
