//! Fine-tuning from the first step to the files for a test server.

use std::{fs, path::Path, process::Command, sync::Arc, thread, time::Duration};

use arrow_array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use flava_model::checkpoint::{Architecture, Checkpoint};
use parquet::arrow::ArrowWriter;
use serde_json::{Value, json};
use tempfile::{TempDir, tempdir};

use crate::support::{
    fixtures::{digit, write_model},
    program::{Run, flava_eval, program},
};

fn finetune(folder: &Path, args: &[&str]) -> Run {
    program("flava-finetune", folder, &[], args)
        .output()
        .unwrap()
        .into()
}

/// A text task of sentences with "red" (class 1) or "blue" (class 0), a regression, and a lab with
/// a model.
fn lab() -> TempDir {
    let folder = tempdir().unwrap();
    write_model(
        &folder.path().join("model"),
        Architecture::FlavaForPreTraining,
    );
    let sentence = |i: usize| {
        let (colour, thing) = (
            ["blue", "red"][i % 2],
            ["cat", "dog", "house", "tree"][i / 2 % 4],
        );
        if i.is_multiple_of(3) {
            format!("a {colour} {thing}")
        } else {
            format!("a photo of the {colour} {thing} and two trees")
        }
    };
    for (split, rows, from) in [
        ("train", 160, 0),
        ("validation", 40, 1000),
        ("test", 60, 2000),
    ] {
        let sentences: ArrayRef = Arc::new(StringArray::from_iter_values(
            (from..from + rows).map(sentence),
        ));
        let labels: ArrayRef = Arc::new(Int64Array::from_iter_values(
            (from..from + rows).map(|i| (i % 2) as i64),
        ));
        let values: ArrayRef = Arc::new(Float64Array::from_iter_values(
            (from..from + rows).map(|i| (i % 2) as f64 * 4.0 + 0.5),
        ));
        let hidden: ArrayRef = Arc::new(Int64Array::from_iter_values(
            (from..from + rows).map(|_| -1),
        ));
        let batch = RecordBatch::try_from_iter([
            ("sentence", sentences),
            ("label", labels),
            ("value", values),
            ("hidden", hidden),
        ])
        .unwrap();
        let path = folder.path().join(format!("data/colours/{split}.parquet"));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut writer =
            ArrowWriter::try_new(fs::File::create(path).unwrap(), batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
    }
    let task = |name: &str, classes: usize, metrics: &str, label: &str| {
        format!(
            r#"
[[task]]
name = "{name}"
version = 1
suite = "own"
family = "text"
summary = "Is it red?"
classes = {classes}
metrics = {metrics}
chance = 0.5
licence = "none"
citation = "none"
method = {{ kind = "fine_tune", feature = "text_cls" }}

[[task.submission]]
file = "Colours.tsv"
format = "glue_tsv"
split = {{ name = "test", files = "test.parquet", rows = 60 }}
labels = ["blue", "red"]

[[task.source]]
folder = "colours"
format = "parquet"
columns = {{ label = "{label}", texts = ["sentence"] }}
train = {{ name = "train", files = "train.parquet", rows = 160 }}
validation = {{ name = "validation", files = "validation.parquet", rows = 40 }}
test = {{ name = "test", files = "test.parquet", rows = 60 }}
"#
        )
    };
    let tasks = task("colours", 2, r#"["accuracy", "f1", "matthews"]"#, "label")
        + &task("warmth", 0, r#"["pearson", "spearman"]"#, "value");
    fs::write(folder.path().join("own.toml"), tasks).unwrap();
    folder
}

const COMMON: [&str; 10] = [
    "--task-file",
    "own.toml",
    "--data",
    "data",
    "--model",
    "model",
    "--set",
    "lr=2e-3",
    "--device",
    "cpu",
];

fn record(run: &Run) -> Value {
    let records: Value = serde_json::from_str(&run.stdout)
        .unwrap_or_else(|e| panic!("{e}: {} {}", run.stdout, run.stderr));
    records[0].clone()
}

fn value(record: &Value, metric: usize) -> f64 {
    record["metrics"][metric]["value"].as_f64().unwrap()
}

#[test]
fn what_is_trained_is_scored_again_by_flava_eval_and_answers_a_test_set() {
    let folder = lab();
    let run = finetune(
        folder.path(),
        &[&["colours", "--set", "epochs=6", "--json"], &COMMON[..]].concat(),
    );
    assert_eq!(run.code, 0, "{}", run.stderr);
    let trained = record(&run);
    assert!(
        value(&trained, 0) > 0.95,
        "one word decides: {}",
        value(&trained, 0)
    );
    assert_eq!(trained["metrics"].as_array().unwrap().len(), 3);
    assert_eq!(
        trained["details"]["chosen_by"]["score"]["split"],
        "validation"
    );
    for file in [
        "best/config.json",
        "best/model.safetensors",
        "best/head.safetensors",
        "best/vocab.txt",
        "last/optimiser.safetensors",
        "log.jsonl",
    ] {
        assert!(
            folder.path().join("finetuned").join(file).exists(),
            "{file}"
        );
    }
    let log = fs::read_to_string(folder.path().join("finetuned/log.jsonl")).unwrap();
    let first: Value = serde_json::from_str(log.lines().next().unwrap()).unwrap();
    assert!(
        [
            "loss",
            "learning_rate",
            "gradient_norm",
            "rows_per_s",
            "peak_memory_mb"
        ]
        .iter()
        .all(|key| first[key].as_f64().is_some()),
        "{first}"
    );
    let again = flava_eval(
        folder.path(),
        &[
            "--model",
            "finetuned",
            "--tasks",
            "colours",
            "--task-file",
            "own.toml",
            "--data",
            "data",
            "--device",
            "cpu",
            "--json",
        ],
    );
    assert_eq!(again.code, 0, "{}", again.stderr);
    assert_eq!(record(&again)["metrics"], trained["metrics"]);
    let predicted = finetune(
        folder.path(),
        &[
            "predict",
            "--model",
            "finetuned",
            "--task-file",
            "own.toml",
            "--data",
            "data",
            "--out",
            "answers",
        ],
    );
    assert_eq!(predicted.code, 0, "{}", predicted.stderr);
    let answers = fs::read_to_string(folder.path().join("answers/Colours.tsv")).unwrap();
    let lines: Vec<&str> = answers.lines().collect();
    assert_eq!((lines.len(), lines[0]), (61, "index\tprediction"));
    let right = lines[1..]
        .iter()
        .enumerate()
        .filter(|(i, line)| **line == format!("{i}\t{}", ["blue", "red"][i % 2]))
        .count();
    assert!(right > 56, "{right} of 60");
    // A model tuned on one task is none of another.
    let wrong = flava_eval(
        folder.path(),
        &[
            "--model",
            "finetuned",
            "--tasks",
            "warmth",
            "--task-file",
            "own.toml",
            "--data",
            "data",
        ],
    );
    assert!(
        wrong.code == 1 && wrong.stderr.contains("was fine-tuned on colours"),
        "{}",
        wrong.stderr
    );
}

/// Numbers, half precisions, moving averages, accumulation, recomputation and early stopping on one
/// small regression.
#[test]
fn every_way_of_training_learns() {
    let folder = lab();
    for (name, more) in [
        ("plain", &["--set", "epochs=16"][..]),
        ("bf16", &["--set", "epochs=16", "--precision", "bf16"]),
        ("averaged", &["--set", "epochs=16", "--set", "ema=0.9"]),
        (
            "parts",
            &[
                "--set",
                "epochs=16",
                "--micro-batch",
                "5",
                "--recompute",
                "--set",
                "clip_norm=1",
            ],
        ),
        (
            "early",
            &[
                "--set",
                "epochs=40",
                "--set",
                "patience=2",
                "--set",
                "evaluate_every=5",
            ],
        ),
        ("random", &["--set", "epochs=16", "--random-init"]),
    ] {
        let run = finetune(
            folder.path(),
            &[&["warmth", "--json", "--out", name], &COMMON[..], more].concat(),
        );
        assert_eq!(run.code, 0, "{name}: {}", run.stderr);
        let found = record(&run);
        if name == "early" {
            assert!(
                found["details"]["steps"].as_u64().unwrap() < 400,
                "two evaluations without a gain end it"
            );
        } else {
            assert!(
                value(&found, 0) > 0.9,
                "{name}: Pearson {}",
                value(&found, 0)
            );
        }
    }
}

/// Killed again and again, training ends with the bytes of one that was left alone.
#[test]
fn training_that_is_killed_ends_as_if_it_had_not_been() {
    let folder = lab();
    let args = |out: &'static str| {
        [
            &[
                "colours",
                "--set",
                "epochs=5",
                "--set",
                "evaluate_every=10",
                "--set",
                "ema=0.5",
                "--out",
                out,
            ][..],
            &COMMON,
        ]
        .concat()
    };
    let whole = finetune(folder.path(), &args("whole"));
    assert_eq!(whole.code, 0, "{}", whole.stderr);
    for moment in [900, 1300, 1700, 2300] {
        let mut process: std::process::Child =
            program("flava-finetune", folder.path(), &[], &args("killed"))
                .stdout(std::process::Stdio::null())
                .stderr(std::process::Stdio::null())
                .spawn()
                .unwrap();
        thread::sleep(Duration::from_millis(moment));
        process.kill().unwrap();
        process.wait().unwrap();
    }
    let killed = finetune(folder.path(), &args("killed"));
    assert_eq!(killed.code, 0, "{}", killed.stderr);
    for part in [
        "best/model.safetensors",
        "best/head.safetensors",
        "last/model.safetensors",
        "last/optimiser.safetensors",
        "predictions/colours.parquet",
    ] {
        let read = |out: &str| fs::read(folder.path().join(out).join(part)).unwrap();
        assert!(read("whole") == read("killed"), "{part}");
    }
    let csv = |out: &str| fs::read_to_string(folder.path().join(out).join("results.csv")).unwrap();
    assert_eq!(csv("whole"), csv("killed"));
    // Another recipe in the same folder is refused, and so is going on from nothing.
    let other = finetune(
        folder.path(),
        &[&args("killed")[..], &["--set", "weight_decay=0.2"]].concat(),
    );
    assert!(
        other.code == 1 && other.stderr.contains("of other settings"),
        "{}",
        other.stderr
    );
    let nothing = finetune(
        folder.path(),
        &[&args("nothing")[..], &["--resume"]].concat(),
    );
    assert!(
        nothing.code == 1 && nothing.stderr.contains("nothing to go on from"),
        "{}",
        nothing.stderr
    );
}

#[test]
fn an_interrupted_training_keeps_its_steps() {
    let folder = lab();
    let args = [
        &[
            "colours",
            "--set",
            "epochs=400",
            "--set",
            "evaluate_every=100000",
        ][..],
        &COMMON,
    ]
    .concat();
    let mut process = program("flava-finetune", folder.path(), &[], &args)
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    while fs::read_to_string(folder.path().join("finetuned/log.jsonl"))
        .unwrap_or_default()
        .is_empty()
    {
        thread::sleep(Duration::from_millis(20));
    }
    Command::new("kill")
        .args(["-INT", &process.id().to_string()])
        .status()
        .unwrap();
    assert_eq!(process.wait().unwrap().code(), Some(130));
    let state: Value = serde_json::from_str(
        &fs::read_to_string(folder.path().join("finetuned/last/training_state.json")).unwrap(),
    )
    .unwrap();
    assert!(state["step"].as_u64().unwrap() > 0);
}

/// VQA in its official form: one question is about the image, the other is not. Who does not look
/// gets three quarters.
#[test]
fn vqa_is_learned_exported_and_answered_in_evalais_form() {
    let folder = tempdir().unwrap();
    write_model(
        &folder.path().join("model"),
        Architecture::FlavaForPreTraining,
    );
    let root = folder.path().join("data/vqav2");
    for (split, images, from) in [("train2014", 80, 0), ("val2014", 30, 1000)] {
        let (mut questions, mut annotations) = (Vec::new(), Vec::new());
        fs::create_dir_all(root.join(split)).unwrap();
        for image in from..from + images {
            fs::write(
                root.join(split)
                    .join(format!("COCO_{split}_{image:012}.jpg")),
                digit(image % 2 * 4, image),
            )
            .unwrap();
            for (number, question) in ["the bar of a dog ?", "a cat of a photo ?"]
                .iter()
                .enumerate()
            {
                let id = image * 10 + number;
                let truth = if number == 0 {
                    ["left", "right"][image % 2]
                } else {
                    "red"
                };
                let answers: Vec<Value> = (1..=10)
                    .map(|n| json!({ "answer": if n < 9 { truth } else { "blue" }, "answer_confidence": "yes", "answer_id": n }))
                    .collect();
                questions
                    .push(json!({ "image_id": image, "question": question, "question_id": id }));
                annotations.push(json!({ "question_id": id, "image_id": image, "question_type": "what", "answer_type": "other", "multiple_choice_answer": truth, "answers": answers }));
            }
        }
        let write =
            |name: String, value: Value| fs::write(root.join(name), value.to_string()).unwrap();
        write(
            format!("v2_OpenEnded_mscoco_{split}_questions.json"),
            json!({ "data_subtype": split, "questions": questions }),
        );
        write(
            format!("v2_mscoco_{split}_annotations.json"),
            json!({ "annotations": annotations }),
        );
    }
    let args = [
        "vqa",
        "--data",
        "data",
        "--model",
        "model",
        "--allow-mismatch",
        "--json",
        "--device",
        "cpu",
        "--set",
        "image_size=48",
        "--set",
        "epochs=12",
        "--set",
        "lr=2e-3",
        "--set",
        "batch_size=16",
        "--set",
        "warmup=0.1",
        "--set",
        "clip_norm=1",
        "--set",
        "evaluate_every=40",
        "--set",
        "head.hidden=32",
    ];
    let run = finetune(folder.path(), &args);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let trained = record(&run);
    assert!(
        value(&trained, 0) > 0.9,
        "the image decides: {}",
        value(&trained, 0)
    );
    assert_eq!(trained["details"]["answers"]["vocabulary"], 3);
    assert_eq!(trained["details"]["answers"]["ceiling"], 1.0);
    assert_eq!(
        trained["details"]["slices"]["other"]["n"], 60,
        "{}",
        trained["details"]["slices"]
    );
    // The table of positions has the larger grid, as transformers would read it.
    let weights = Checkpoint::open(&folder.path().join("finetuned/best")).unwrap();
    assert_eq!(
        weights.tensors()["flava.image_model.embeddings.position_embeddings"].size(),
        [1, 37, 32]
    );
    let again = flava_eval(
        folder.path(),
        &[
            "--model",
            "finetuned",
            "--tasks",
            "vqa",
            "--data",
            "data",
            "--allow-mismatch",
            "--device",
            "cpu",
            "--json",
        ],
    );
    assert_eq!(again.code, 0, "{}", again.stderr);
    assert_eq!(record(&again)["metrics"], trained["metrics"]);
    let predicted = finetune(
        folder.path(),
        &[
            "predict",
            "--model",
            "finetuned",
            "--data",
            "data",
            "--split",
            "val2014",
            "--allow-mismatch",
            "--out",
            "answers",
        ],
    );
    assert_eq!(predicted.code, 0, "{}", predicted.stderr);
    let answers: Vec<Value> = serde_json::from_str(
        &fs::read_to_string(folder.path().join("answers/vqav2-val2014.json")).unwrap(),
    )
    .unwrap();
    assert_eq!(answers.len(), 60);
    assert!(answers.iter().all(|answer| answer["question_id"].is_u64()
        && ["left", "right", "red"].contains(&answer["answer"].as_str().unwrap())));
    // The submission scores as the model did.
    let scored = flava_eval(
        folder.path(),
        &[
            "score",
            "--task",
            "vqa",
            "--predictions",
            "answers/vqav2-val2014.json",
            "--data",
            "data",
            "--allow-mismatch",
            "--json",
        ],
    );
    let scored: Value =
        serde_json::from_str(&scored.stdout).unwrap_or_else(|e| panic!("{e}: {}", scored.stderr));
    assert_eq!(scored[0]["value"], trained["metrics"][0]["value"]);
}

#[test]
fn several_seeds_give_a_median_and_a_range() {
    let folder = lab();
    let run = finetune(
        folder.path(),
        &[
            &["colours", "--set", "epochs=2", "--seeds", "3"],
            &COMMON[..],
        ]
        .concat(),
    );
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(
        run.stdout.contains("accuracy on test: median") && run.stdout.contains("of 3 seeds"),
        "{}",
        run.stdout
    );
    assert!(
        folder
            .path()
            .join("finetuned/seed-2/best/head.safetensors")
            .exists()
    );
}

#[test]
fn mistakes_are_said_before_anything_is_trained() {
    let folder = lab();
    for (args, code, needle) in [
        (&["nothing"][..], 2, "there is no task"),
        (
            &["colours", "--set", "learning_rat=1"],
            2,
            "did you mean learning_rate?",
        ),
        (
            &["colours", "--set", "image_size=33", "--set", "batch_size=0"],
            2,
            "batch_size is 0",
        ),
        (&["colours", "--recipe", "nowhere.toml"], 2, "nowhere.toml"),
        (&["mini-retrieval"], 2, "nothing to fine-tune"),
        (&["glue"], 2, "one is fine-tuned at a time"),
        (
            &["predict", "--model", "model"],
            2,
            "holds no fine-tuned model",
        ),
        (&["recipe", "colors"], 2, "there is no task"),
    ] {
        let common: Vec<&str> = if ["predict", "recipe"].contains(&args[0]) {
            Vec::new()
        } else {
            COMMON.to_vec()
        };
        let run = finetune(folder.path(), &[args, &common].concat());
        assert!(
            run.code == code && run.stderr.contains(needle),
            "{args:?}: {} {}",
            run.code,
            run.stderr
        );
    }
    let shown = finetune(folder.path(), &["recipe", "vqa"]);
    assert!(
        shown.code == 0
            && shown.stdout.contains("image_size = 480")
            && shown.stdout.contains("aims_at = \"Table 4"),
        "{}",
        shown.stdout
    );
    let dry = finetune(
        folder.path(),
        &[&["colours", "--dry-run"], &COMMON[..]].concat(),
    );
    assert!(
        dry.code == 0
            && dry.stdout.contains("learning_rate = 0.002")
            && dry.stdout.contains("ready: colours"),
        "{} {}",
        dry.stdout,
        dry.stderr
    );
    assert!(
        !folder.path().join("finetuned").exists(),
        "a dry run writes nothing"
    );
}

/// The test set as a server's owner gives it: labels of -1, none, or no such column, rows in any
/// order. Answers go by `idx`.
#[test]
fn a_test_set_without_truth_is_answered_by_index() {
    let folder = lab();
    let toml = fs::read_to_string(folder.path().join("own.toml")).unwrap();
    fs::write(
        folder.path().join("own.toml"),
        toml.replace(
            "texts = [\"sentence\"] }",
            "texts = [\"sentence\"], id = \"idx\" }",
        ),
    )
    .unwrap();
    let data = folder.path().join("data/colours");
    let write = |split: &str, rows: Vec<usize>, label: Option<&dyn Fn(usize) -> Option<i64>>| {
        let sentence = |row: &usize| format!("a {} house", ["blue", "red"][row % 2]);
        let mut columns: Vec<(&str, ArrayRef, bool)> = vec![
            (
                "sentence",
                Arc::new(StringArray::from_iter_values(rows.iter().map(sentence))),
                false,
            ),
            (
                "idx",
                Arc::new(Int64Array::from_iter_values(
                    rows.iter().map(|row| *row as i64),
                )),
                false,
            ),
            (
                "value",
                Arc::new(Float64Array::from_iter_values(
                    rows.iter().map(|row| (row % 2) as f64),
                )),
                false,
            ),
        ];
        if let Some(label) = label {
            columns.push((
                "label",
                Arc::new(rows.iter().map(|row| label(*row)).collect::<Int64Array>()),
                true,
            ));
        }
        let batch = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
        let mut writer = ArrowWriter::try_new(
            fs::File::create(data.join(format!("{split}.parquet"))).unwrap(),
            batch.schema(),
            None,
        )
        .unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
    };
    let truth: &dyn Fn(usize) -> Option<i64> = &|row| Some((row % 2) as i64);
    write("train", (0..160).collect(), Some(truth));
    write("validation", (0..40).collect(), Some(truth));
    write("test", (0..60).collect(), Some(truth));
    let run = finetune(
        folder.path(),
        &[&["colours", "--set", "epochs=6", "--json"], &COMMON[..]].concat(),
    );
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(value(&record(&run), 0) > 0.95);
    let expected: String = (0..60)
        .map(|row| format!("{row}\t{}\n", ["blue", "red"][row % 2]))
        .collect();
    let minus: &dyn Fn(usize) -> Option<i64> = &|_| Some(-1);
    let none: &dyn Fn(usize) -> Option<i64> = &|_| None;
    for (what, label) in [
        ("-1", Some(minus)),
        ("null", Some(none)),
        ("no column", None),
    ] {
        write("test", (0..60).rev().collect(), label);
        let args = [
            "predict",
            "--model",
            "finetuned",
            "--task-file",
            "own.toml",
            "--data",
            "data",
            "--out",
            "answers",
        ];
        let predicted = finetune(folder.path(), &args);
        assert_eq!(predicted.code, 0, "{what}: {}", predicted.stderr);
        assert_eq!(
            fs::read_to_string(folder.path().join("answers/Colours.tsv")).unwrap(),
            format!("index\tprediction\n{expected}"),
            "{what}"
        );
    }
}

/// What departs from the protocol's recipe is in the record, and keeps it from a leaderboard; also
/// when the folder is scored later.
#[test]
fn departures_are_recorded_and_unpublishable() {
    let folder = lab();
    let common = [
        "--task-file",
        "own.toml",
        "--data",
        "data",
        "--model",
        "model",
        "--device",
        "cpu",
    ];
    let plain = finetune(
        folder.path(),
        &[&["colours", "--out", "plain", "--json"], &common[..]].concat(),
    );
    assert_eq!(plain.code, 0, "{}", plain.stderr);
    // A task of one's own is run by its family's recipe: by its name, it is publishable.
    let named = |record: &Value| {
        let text = |key: &str| record[key].as_str().unwrap().to_owned();
        (
            record["publishable"].as_bool().unwrap(),
            text("initialisation"),
            text("recipe"),
            record["departures"].as_array().unwrap().len(),
        )
    };
    let fine_tuned = record(&plain);
    assert_eq!(
        (
            named(&fine_tuned).0,
            named(&fine_tuned).1.as_str(),
            named(&fine_tuned).2.as_str()
        ),
        (true, "checkpoint", "text")
    );
    let odd = finetune(
        folder.path(),
        &[
            &[
                "colours",
                "--out",
                "odd",
                "--json",
                "--random-init",
                "--set",
                "steps=2",
            ],
            &common[..],
        ]
        .concat(),
    );
    assert_eq!(odd.code, 0, "{}", odd.stderr);
    let odd = record(&odd);
    assert_eq!((named(&odd).0, named(&odd).1.as_str()), (false, "random"));
    assert_ne!(odd["recipe_digest"], fine_tuned["recipe_digest"]);
    let csv = fs::read_to_string(folder.path().join("odd/results.csv")).unwrap();
    assert!(
        csv.contains("other settings than those of recipe text; random weights"),
        "{csv}"
    );
    let again = flava_eval(
        folder.path(),
        &[
            "--model",
            "odd",
            "--tasks",
            "colours",
            "--task-file",
            "own.toml",
            "--data",
            "data",
            "--device",
            "cpu",
            "--json",
            "--out",
            "again",
        ],
    );
    assert_eq!(named(&record(&again)), named(&odd), "{}", again.stderr);
    // A head that was exchanged is another model, and one that was damaged is none.
    let head = folder.path().join("odd/best/head.safetensors");
    let mut bytes = fs::read(&head).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&head, bytes).unwrap();
    let damaged = flava_eval(
        folder.path(),
        &[
            "--model",
            "odd",
            "--tasks",
            "colours",
            "--task-file",
            "own.toml",
            "--data",
            "data",
            "--device",
            "cpu",
            "--out",
            "again",
        ],
    );
    assert!(
        damaged.code == 1
            && damaged
                .stderr
                .contains("head.safetensors: is damaged, or was changed"),
        "{}",
        damaged.stderr
    );
}

/// What is done to a file's bytes.
type Damage<'a> = &'a dyn Fn(&mut Vec<u8>);

/// A state that is not as it was written is never gone on from.
#[test]
fn damaged_states_are_refused_with_what_to_do() {
    let folder = lab();
    let args = [&["colours", "--set", "epochs=2"], &COMMON[..]].concat();
    assert_eq!(finetune(folder.path(), &args).code, 0);
    let last = folder.path().join("finetuned/last");
    let damage: [(&str, Damage); 4] = [
        ("model.safetensors", &|bytes| {
            let from = bytes.len() - 4096;
            bytes[from..].fill(0);
        }),
        ("training_state.json", &|bytes| {
            let text = String::from_utf8(bytes.clone()).unwrap();
            let mut state: Value = serde_json::from_str(&text).unwrap();
            state["step"] = (state["step"].as_u64().unwrap() + 1).into();
            *bytes = state.to_string().into_bytes();
        }),
        ("head.safetensors", &|bytes| bytes.truncate(bytes.len() / 2)),
        ("optimiser.safetensors", &|bytes| {
            *bytes.last_mut().unwrap() ^= 4;
        }),
    ];
    for (file, change) in damage {
        let path = last.join(file);
        let whole = fs::read(&path).unwrap();
        let mut bytes = whole.clone();
        change(&mut bytes);
        fs::write(&path, bytes).unwrap();
        let _gone = fs::remove_file(folder.path().join("finetuned/colours.json"));
        let refused = finetune(folder.path(), &args);
        assert_eq!(refused.code, 1, "{file}: {}", refused.stderr);
        assert!(
            refused.stderr.contains(file) && refused.stderr.contains("remove"),
            "{file}: {}",
            refused.stderr
        );
        fs::write(&path, whole).unwrap();
    }
    assert_eq!(finetune(folder.path(), &args).code, 0);
}

/// One answer a question is right for nobody by VQA's rule: said before the first step, with the
/// remedy.
#[test]
fn targets_that_are_all_zero_are_refused() {
    let folder = tempdir().unwrap();
    write_model(
        &folder.path().join("model"),
        Architecture::FlavaForPreTraining,
    );
    let root = folder.path().join("data/own");
    fs::create_dir_all(&root).unwrap();
    for (split, rows) in [("train", 60), ("test", 20)] {
        let mut answers =
            arrow_array::builder::ListBuilder::new(arrow_array::builder::StringBuilder::new());
        for row in 0..rows {
            answers.values().append_value(["red", "blue"][row % 2]);
            answers.append(true);
        }
        let columns: [(&str, ArrayRef); 3] = [
            (
                "image",
                Arc::new(arrow_array::BinaryArray::from_iter_values(
                    (0..rows).map(|row| digit(row % 2, row)),
                )),
            ),
            (
                "question",
                Arc::new(StringArray::from_iter_values((0..rows).map(|_| "a cat ?"))),
            ),
            ("answers", Arc::new(answers.finish())),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let mut writer = ArrowWriter::try_new(
            fs::File::create(root.join(format!("{split}.parquet"))).unwrap(),
            batch.schema(),
            None,
        )
        .unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
    }
    let toml = r#"[[task]]
name = "own"
version = 1
suite = "own"
family = "multimodal"
summary = "?"
metrics = ["vqa_accuracy"]
chance = 0.0
licence = "none"
citation = "none"
method = { kind = "fine_tune", feature = "multimodal_cls" }
[[task.source]]
folder = "own"
format = "parquet"
columns = { image = "image", texts = ["question"], answers = "answers" }
train = { name = "train", files = "train.parquet", rows = 60 }
test = { name = "test", files = "test.parquet", rows = 20 }
"#;
    fs::write(folder.path().join("own.toml"), toml).unwrap();
    let args = [
        "own",
        "--task-file",
        "own.toml",
        "--data",
        "data",
        "--model",
        "model",
        "--set",
        "answer_min_count=1",
        "--device",
        "cpu",
    ];
    let run = finetune(folder.path(), &args);
    assert_eq!(run.code, 1, "{}", run.stderr);
    for needle in [
        "every target of the 55 training rows is 0",
        "at most 1 answers each",
        "Repeat each answer ten times",
    ] {
        assert!(run.stderr.contains(needle), "{needle}: {}", run.stderr);
    }
    assert!(!folder.path().join("finetuned/last").exists());
}
