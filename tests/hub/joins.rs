//! A training with questions of one repository and images of another.

use std::{fs, path::Path, sync::Arc};

use arrow_array::{
    ArrayRef, Int64Array, RecordBatch, StringArray,
    builder::{ListBuilder, StringBuilder, StructBuilder},
};
use arrow_schema::{DataType, Field};
use flava_model::checkpoint::Architecture;
use parquet::arrow::ArrowWriter;
use serde_json::Value;
use tempfile::tempdir;

use crate::support::{
    fixtures::{digit, write_model, write_tar},
    hub_server::{HubServer, ServedRepo},
    program::{Run, program},
};

/// Questions about images of these ids, in the columns of VQAv2.
fn questions(path: &Path, ids: std::ops::Range<i64>) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let fields = vec![
        Field::new("answer", DataType::Utf8, true),
        Field::new("answer_confidence", DataType::Utf8, true),
    ];
    let mut answers = ListBuilder::new(StructBuilder::from_fields(fields, 0));
    for id in ids.clone() {
        for _ in 0..10 {
            let one = answers.values();
            let said: &mut StringBuilder = one.field_builder(0).unwrap();
            said.append_value(["left", "low"][(id % 2) as usize]);
            let sure: &mut StringBuilder = one.field_builder(1).unwrap();
            sure.append_value("yes");
            one.append(true);
        }
        answers.append(true);
    }
    let asked = ids.clone().map(|_| "where is the bar ?");
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("answers", Arc::new(answers.finish())),
        (
            "image_id",
            Arc::new(Int64Array::from_iter_values(ids.clone())),
        ),
        (
            "question_id",
            Arc::new(Int64Array::from_iter_values(ids.map(|id| id * 10))),
        ),
        ("question", Arc::new(StringArray::from_iter_values(asked))),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let file = fs::File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

/// Shards as they are published: keys are numbers, and the `.json` has the image's id.
fn images(path: &Path, ids: std::ops::Range<i64>) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let members = ids.enumerate().flat_map(|(row, id)| {
        let image = digit((id % 2) as usize * 7, id as usize);
        let json = format!("{{\"captions\": [\"a bar\"], \"cocoid\": {id}}}");
        [
            (format!("{row:09}.jpg"), image),
            (format!("{row:09}.json"), json.into_bytes()),
        ]
    });
    let members: Vec<(String, Vec<u8>)> = members.collect();
    let members: Vec<(&str, &[u8])> = members
        .iter()
        .map(|(name, bytes)| (&**name, &**bytes))
        .collect();
    write_tar(path, &members);
}

#[test]
fn vqa_is_trained_with_questions_and_images_of_two_repositories() {
    let made = tempdir().unwrap();
    let asked = made.path().join("asked");
    questions(&asked.join("data/train-00000-of-00001.parquet"), 1..41);
    questions(
        &asked.join("data/validation-00000-of-00001.parquet"),
        41..61,
    );
    let seen = made.path().join("seen");
    images(&seen.join("train/train-00000.tar"), 1..35);
    images(&seen.join("val/val-00000.tar"), 35..50);
    images(&seen.join("test/test-00000.tar"), 50..61);
    let server = HubServer::start([
        ("datasets/pminervini/VQAv2", ServedRepo::of(&asked)),
        (
            "datasets/undefined443/coco-karpathy-wds",
            ServedRepo::of(&seen),
        ),
    ]);
    let folder = tempdir().unwrap();
    write_model(&folder.path().join("model"), Architecture::FlavaModel);
    let run = |name: &str, args: &[&str]| -> Run {
        let (endpoint, home) = (server.endpoint(), folder.path().join("hf"));
        let variables = [
            ("HF_ENDPOINT", &*endpoint),
            ("HF_HOME", home.to_str().unwrap()),
        ];
        let mut command = program(name, folder.path(), &variables, args);
        command.output().unwrap().into()
    };
    let told = run("flava-eval", &["fetch", "--tasks", "vqa", "--dry-run"]);
    assert_eq!(told.code, 0, "{}", told.stderr);
    for part in [
        "pminervini/VQAv2 at",
        "2 files",
        "undefined443/coco-karpathy-wds at",
        "3 files",
    ] {
        assert!(told.stderr.contains(part), "{part}: {}", told.stderr);
    }
    let train = [
        "vqa",
        "--model",
        "model",
        "--allow-mismatch",
        "--out",
        "out",
        "--json",
        "--set",
        "steps=12",
        "--set",
        "batch_size=8",
        "--set",
        "answer_min_count=1",
        "--set",
        "image_size=0",
        "--set",
        "evaluate_every=6",
        "--set",
        "learning_rate=1e-3",
    ];
    let trained = run("flava-finetune", &train);
    assert_eq!(trained.code, 0, "{}", trained.stderr);
    let records: Value = serde_json::from_str(&trained.stdout).unwrap();
    let record = &records[0];
    assert_eq!(
        (&record["data"], &record["train_rows"]),
        (&"pminervini/VQAv2".into(), &40.into())
    );
    assert_eq!(record["metrics"][0]["n"], 20);
    let notes = record["notes"].to_string();
    assert!(
        notes.contains("images are those of undefined443/coco-karpathy-wds/train/train-*.tar at"),
        "{notes}"
    );
    // Once all is there nothing is asked.
    server.take_seen();
    let again = run(
        "flava-eval",
        &[
            "--model",
            "out",
            "--tasks",
            "vqa",
            "--allow-mismatch",
            "--offline",
        ],
    );
    assert_eq!(again.code, 0, "{}", again.stderr);
    assert!(server.take_seen().is_empty());
    // Without the shards it is said what is to be had where.
    let gone = folder
        .path()
        .join("hf/hub/datasets--undefined443--coco-karpathy-wds");
    fs::remove_dir_all(gone).unwrap();
    let missing = run(
        "flava-finetune",
        &[&train[..], &["--offline", "--dry-run"]].concat(),
    );
    let all = missing.stdout + &missing.stderr;
    assert!(
        all.contains("undefined443/coco-karpathy-wds/train/train-*.tar"),
        "{all}"
    );
}
