//! Folders of `datasets.save_to_disk`: Arrow's own files.

use std::{collections::HashMap, fs, path::Path, sync::Arc};

use arrow_array::{
    Array, ArrayRef, BinaryArray, Int64Array, RecordBatch, StringArray, StructArray,
};
use arrow_ipc::writer::{FileWriter, StreamWriter};
use arrow_schema::{DataType, Field, Schema};
use parquet::arrow::ArrowWriter;
use serde_json::Value;
use tempfile::{TempDir, tempdir};

use crate::support::{
    fixtures::{digit, digits, write_arrow},
    program::{Run, flava_eval},
};

/// Images with classes, as `datasets` describes them.
fn batch(rows: std::ops::Range<usize>) -> RecordBatch {
    let images = rows.clone().map(|row| digit(row % 2 * 7, row));
    let images: ArrayRef = Arc::new(BinaryArray::from_iter_values(images));
    let paths: StringArray = rows.clone().map(|_| None::<&str>).collect();
    let paths: ArrayRef = Arc::new(paths);
    let images = StructArray::from(vec![
        (
            Arc::new(Field::new("bytes", DataType::Binary, true)),
            images,
        ),
        (Arc::new(Field::new("path", DataType::Utf8, true)), paths),
    ]);
    let labels = Int64Array::from_iter_values(rows.map(|row| (row % 2) as i64));
    let description = r#"{"info": {"features": {"label": {"names": ["left", "low"], "_type": "ClassLabel"}, "image": {"_type": "Image"}}}}"#;
    let fields = vec![
        Field::new("image", images.data_type().clone(), true),
        Field::new("label", DataType::Int64, true),
    ];
    let about = HashMap::from([("huggingface".to_owned(), description.to_owned())]);
    let schema = Schema::new(fields).with_metadata(about);
    RecordBatch::try_new(Arc::new(schema), vec![Arc::new(images), Arc::new(labels)]).unwrap()
}

/// A split as `save_to_disk` writes it, in two files of several batches.
fn save(folder: &Path, rows: usize) {
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join("dataset_info.json"), "{\"features\": {}}").unwrap();
    fs::write(folder.join("state.json"), "{\"_data_files\": []}").unwrap();
    for (part, some) in [(0, 0..rows / 2), (1, rows / 2..rows)] {
        let path = folder.join(format!("data-{part:05}-of-00002.arrow"));
        let schema = batch(0..1).schema();
        let mut writer = StreamWriter::try_new(fs::File::create(path).unwrap(), &schema).unwrap();
        for start in some.clone().step_by(7) {
            writer
                .write(&batch(start..some.end.min(start + 7)))
                .unwrap();
        }
        writer.finish().unwrap();
    }
}

fn saved() -> TempDir {
    let made = tempdir().unwrap();
    let dict = made.path().join("saved");
    save(&dict.join("train"), 60);
    save(&dict.join("test"), 20);
    fs::write(
        dict.join("dataset_dict.json"),
        "{\"splits\": [\"train\", \"test\"]}",
    )
    .unwrap();
    let all = [("train", 60), ("test", 20)];
    for (split, rows) in all {
        fs::create_dir_all(made.path().join("parquet")).unwrap();
        let file = fs::File::create(made.path().join(format!("parquet/{split}.parquet"))).unwrap();
        let whole = batch(0..rows);
        let mut writer = ArrowWriter::try_new(file, whole.schema(), None).unwrap();
        writer.write(&whole).unwrap();
        writer.close().unwrap();
    }
    made
}

fn probe(folder: &Path, args: &[&str]) -> Run {
    let more = ["--json", "--no-cache", "--again", "--name", "bars"];
    flava_eval(folder, &[&["probe"], args, &more].concat())
}

fn records(run: &Run) -> Value {
    assert_eq!(run.code, 0, "{}", run.stderr);
    serde_json::from_str(&run.stdout).unwrap()
}

#[test]
fn saved_folders_give_what_parquet_gives() {
    let made = saved();
    let whole = records(&probe(made.path(), &["--train", "saved", "--out", "a"]));
    let parquet = ["--train", "parquet", "--out", "b"];
    let parquet = records(&probe(made.path(), &parquet));
    for record in [&whole[0], &parquet[0]] {
        assert_eq!(record["metrics"][0]["value"], 1.0);
        assert_eq!(
            (&record["metrics"][0]["n"], &record["train_rows"]),
            (&20.into(), &60.into())
        );
    }
    // What `datasets` keeps there of later work is no data.
    let train = made.path().join("saved/train");
    let later = train.join("cache-0123456789abcdef.arrow");
    fs::copy(train.join("data-00000-of-00002.arrow"), later).unwrap();
    let splits = [
        "--train",
        "saved/train",
        "--test",
        "saved/test",
        "--out",
        "c",
    ];
    assert_eq!(
        records(&probe(made.path(), &splits))[0]["metrics"],
        whole[0]["metrics"]
    );
    // A file with a footer, and one split alone.
    let file = made.path().join("one.arrow");
    let mut writer =
        FileWriter::try_new(fs::File::create(&file).unwrap(), &batch(0..1).schema()).unwrap();
    for start in (0..60).step_by(20) {
        writer.write(&batch(start..start + 20)).unwrap();
    }
    writer.finish().unwrap();
    for (train, test_rows) in [
        ("one.arrow", None),
        ("saved/train", None),
        ("one.arrow", Some("saved/test")),
    ] {
        let mut args = vec!["--train", train, "--out", "d"];
        args.extend(test_rows.iter().flat_map(|test| ["--test", test]));
        let record = &records(&probe(made.path(), &args))[0];
        assert_eq!(record["metrics"][0]["value"], 1.0, "{args:?}");
    }
    write_arrow(&made.path().join("plain.arrow"), "image", &digits(20), 7);
    let plain = ["embed", "--csv", "plain.arrow", "--out", "f.npy"];
    let plain = flava_eval(made.path(), &plain);
    assert!(
        plain.code == 0 && plain.stderr.contains("20 rows"),
        "{}",
        plain.stderr
    );
    let answered = flava_eval(
        made.path(),
        &[
            "zero-shot",
            "--csv",
            "one.arrow",
            "--classes",
            "left,low",
            "--answers",
            "z.csv",
            "--out",
            "z",
        ],
    );
    assert_eq!(answered.code, 0, "{}", answered.stderr);
    assert_eq!(
        fs::read_to_string(made.path().join("z.csv"))
            .unwrap()
            .lines()
            .count(),
        61
    );
}

#[test]
fn damaged_files_are_refused_by_name() {
    let made = saved();
    let part = made.path().join("saved/train/data-00001-of-00002.arrow");
    let whole = fs::read(&part).unwrap();
    for (cut, needle) in [
        (whole.len() / 2, "cut off"),
        (whole.len() - 20, "cut off"),
        (3, "cut off"),
        (0, "it has no schema"),
    ] {
        fs::write(&part, &whole[..cut]).unwrap();
        let run = probe(made.path(), &["--train", "saved", "--out", "x"]);
        assert!(
            run.code != 0 && run.stderr.contains("data-00001") && run.stderr.contains(needle),
            "{cut}: {}",
            run.stderr
        );
    }
    fs::remove_file(&part).unwrap();
    let run = probe(made.path(), &["--train", "saved", "--out", "x"]);
    assert!(
        run.code != 0 && run.stderr.contains("of 2"),
        "{}",
        run.stderr
    );
}
