//! Rows of one place with images of another.

use std::{fs, path::Path, sync::Arc};

use arrow_array::{ArrayRef, BinaryArray, Int64Array, RecordBatch, StringArray};
use parquet::arrow::ArrowWriter;
use serde_json::Value;
use tempfile::{TempDir, tempdir};

use crate::support::{
    fixtures::{digit, write_tar},
    program::{Run, flava_eval},
};

/// Images, each with its id.
const IMAGES: u64 = 30;

fn image(id: u64) -> Vec<u8> {
    digit(usize::from(!id.is_multiple_of(2)) * 7, id as usize)
}

/// What COCO calls an image.
fn coco_name(id: u64) -> String {
    format!("COCO_train2014_{id:012}.jpg")
}

fn write(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

fn write_batch(path: &Path, columns: Vec<(&str, ArrayRef)>) {
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let file = fs::File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

/// Rows without images, two for each, and the images in every form.
fn places() -> TempDir {
    let made = tempdir().unwrap();
    let at = |name: &str| made.path().join(name);
    let ids: Vec<u64> = (1..=IMAGES).collect();
    for (name, some) in [("train.csv", &ids[..20]), ("test.csv", &ids[20..])] {
        let row = |id: &u64| {
            let label = ["left", "low"][usize::from(!id.is_multiple_of(2))];
            format!("{id}0,{id},{label}\n{id}1,{id},{label}\n")
        };
        let rows: String = some.iter().map(row).collect();
        fs::write(at(name), format!("id,image_id,label\n{rows}")).unwrap();
    }
    let mut zip = zip::ZipWriter::new(fs::File::create(at("packed.zip")).unwrap());
    let stored = zip::write::SimpleFileOptions::default();
    let mut table = "image_id,image\n".to_owned();
    for &id in &ids {
        write(&at("coco").join(coco_name(id)), &image(id));
        zip.start_file(format!("train2014/{}", coco_name(id)), stored)
            .unwrap();
        std::io::Write::write_all(&mut zip, &image(id)).unwrap();
        table += &[id.to_string(), format!("coco/{}", coco_name(id))].join(",");
        table.push('\n');
    }
    zip.finish().unwrap();
    fs::write(at("list.csv"), table).unwrap();
    // A row for each of several captions repeats the image.
    let twice: Vec<u64> = ids.iter().flat_map(|id| [*id, *id]).collect();
    let bytes = BinaryArray::from_iter_values(twice.iter().map(|id| image(*id)));
    let keys = Int64Array::from_iter_values(twice.iter().map(|id| *id as i64));
    let columns: Vec<(&str, ArrayRef)> =
        vec![("picture", Arc::new(bytes)), ("cocoid", Arc::new(keys))];
    write_batch(&at("images.parquet"), columns);
    fs::create_dir(at("told")).unwrap();
    fs::create_dir(at("named")).unwrap();
    for (shard, some) in ids.chunks(16).enumerate() {
        let members = some.iter().enumerate().flat_map(|(row, id)| {
            let json = format!("{{\"captions\": [\"a\"], \"cocoid\": {id}}}");
            let key = format!("{row:09}");
            [
                (format!("{key}.jpg"), image(*id)),
                (format!("{key}.json"), json.into_bytes()),
            ]
        });
        let told: Vec<(String, Vec<u8>)> = members.collect();
        let named = some.iter().map(|id| (coco_name(*id), image(*id)));
        for (folder, members) in [("told", told), ("named", named.collect())] {
            let members: Vec<(&str, &[u8])> = members
                .iter()
                .map(|(name, bytes)| (&**name, &**bytes))
                .collect();
            write_tar(&at(folder).join(format!("part-{shard:05}.tar")), &members);
        }
    }
    made
}

fn run(folder: &Path, images_from: &str) -> Run {
    let task = format!(
        "[[task]]\nname = \"bars\"\nmethod = \"linear_probe\"\nsource = {{ train = \"train.csv\", test = \"test.csv\", columns = {{ image_key = \"image_id\" }}, images_from = {images_from} }}\n"
    );
    fs::write(folder.join("bars.toml"), task).unwrap();
    flava_eval(
        folder,
        &[
            "--task-file",
            "bars.toml",
            "--json",
            "--no-cache",
            "--again",
            "--out",
            "run",
            "-q",
        ],
    )
}

/// Wherever the images are, rows and numbers are the same.
#[test]
fn images_are_joined_by_their_ids_from_any_place() {
    let made = places();
    let mut answers = Vec::new();
    for from in [
        "{ files = \"coco\" }",
        "{ files = \"packed.zip\" }",
        "{ files = \"packed.zip/train2014\" }",
        "{ files = \"list.csv\", key = \"image_id\" }",
        "{ files = \"images.parquet\", key = \"cocoid\", image = \"picture\" }",
        "[{ files = \"told/part-*.tar\", key = \"cocoid\" }]",
        "[{ files = \"named/part-*.tar\" }]",
    ] {
        let run = run(made.path(), from);
        assert_eq!(run.code, 0, "{from}: {}", run.stderr);
        let records: Value = serde_json::from_str(&run.stdout).unwrap();
        let record = &records[0];
        assert_eq!(record["metrics"][0]["value"], 1.0, "{from}");
        assert_eq!(record["metrics"][0]["n"], 20);
        let notes = record["notes"].to_string();
        assert!(notes.contains("joined by their ids"), "{notes}");
        answers.push(fs::read(made.path().join("run/predictions/bars.parquet")).unwrap());
    }
    answers.dedup();
    assert_eq!(answers.len(), 1);
}

#[test]
fn what_cannot_be_joined_is_said() {
    let made = places();
    let refused = |from: &str, needle: &str| {
        let run = run(made.path(), from);
        assert_ne!(run.code, 0, "{from}");
        assert!(run.stderr.contains(needle), "{from}: {}", run.stderr);
    };
    refused("{ files = \"images.parquet\" }", "needs a key");
    refused("{ files = \"images.parquet\", key = \"cocoid\" }", "image");
    refused("{ files = \"told/part-*.tar\", key = \"id\" }", "has no id");
    refused("{ files = \"nowhere\" }", "nowhere");
    refused("{ file = \"coco\" }", "file");
    refused("{ files = \"../coco\" }", "leads out");
    // Two files of one name are told apart by nothing that a number says.
    write(
        &made.path().join("coco/again").join(coco_name(22)),
        &image(22),
    );
    refused("{ files = \"coco\" }", "several");
    fs::remove_dir_all(made.path().join("coco/again")).unwrap();
    // Two files that end alike are not told apart by their numbers.
    write(
        &made.path().join("coco/COCO_val2014_000000000003.jpg"),
        &image(3),
    );
    refused("{ files = \"coco\" }", "several files end with it");
    let csv = fs::read_to_string(made.path().join("test.csv")).unwrap();
    fs::write(
        made.path().join("test.csv"),
        csv.replacen(",21,", ",9999,", 1),
    )
    .unwrap();
    refused(
        "{ files = \"packed.zip\" }",
        "1 of 20 rows have an image that is not in",
    );
    let csv = fs::read_to_string(made.path().join("test.csv")).unwrap();
    fs::write(
        made.path().join("test.csv"),
        csv.replacen(",9999,", ",,", 1),
    )
    .unwrap();
    refused("{ files = \"packed.zip\" }", "image_id is empty");
}

/// The official questions with images of shards.
#[test]
fn official_questions_are_joined_too() {
    let made = places();
    for (split, ids) in [("train2014", 1..=20u64), ("val2014", 21..=IMAGES)] {
        let question = |id: u64| serde_json::json!({ "image_id": id, "question": "where is the bar?", "question_id": id * 10 });
        let answer = |id: u64| {
            let said = ["left", "low"][usize::from(!id.is_multiple_of(2))];
            let answers = vec![serde_json::json!({ "answer": said }); 10];
            serde_json::json!({ "question_id": id * 10, "image_id": id, "answers": answers, "answer_type": "other" })
        };
        let questions: Vec<Value> = ids.clone().map(question).collect();
        let annotations: Vec<Value> = ids.map(answer).collect();
        let questions = serde_json::json!({ "data_subtype": split, "questions": questions });
        let annotations = serde_json::json!({ "annotations": annotations });
        for (name, value) in [("questions", questions), ("annotations", annotations)] {
            write(
                &made.path().join(format!("{split}_{name}.json")),
                value.to_string().as_bytes(),
            );
        }
    }
    let task = r#"[[task]]
name = "asked"
method = "fine_tune"
[[task.source]]
folder = "."
format = "vqa"
annotations = "SPLIT_annotations.json"
images = "nowhere"
images_from = [{ folder = ".", files = "told/part-*.tar", key = "cocoid" }]
train = { name = "train2014", files = "SPLIT_questions.json" }
test = { name = "val2014", files = "SPLIT_questions.json" }
"#;
    fs::write(made.path().join("asked.toml"), task).unwrap();
    let checked = flava_eval(
        made.path(),
        &[
            "verify",
            "--task-file",
            "asked.toml",
            "--tasks",
            "asked",
            "--json",
        ],
    );
    let report: Value =
        serde_json::from_str(&checked.stdout).unwrap_or_else(|e| panic!("{e}: {}", checked.stderr));
    assert!(report.to_string().contains("\"rows\":10"), "{report}");
}

/// Text columns are strings whatever writes them.
#[test]
fn ids_may_be_texts() {
    let made = places();
    let ids: Vec<String> = (1..=IMAGES).map(|id| format!("{id:05}")).collect();
    let bytes = BinaryArray::from_iter_values((1..=IMAGES).map(image));
    let keys = StringArray::from_iter_values(&ids);
    let columns: Vec<(&str, ArrayRef)> = vec![("image", Arc::new(bytes)), ("key", Arc::new(keys))];
    write_batch(&made.path().join("texts.parquet"), columns);
    let run = run(made.path(), "{ files = \"texts.parquet\", key = \"key\" }");
    assert_eq!(run.code, 0, "{}", run.stderr);
}
