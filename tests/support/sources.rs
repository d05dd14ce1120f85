//! A few rows of every source of the registry, in the form that its row describes, under a data
//! folder.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    sync::Arc,
};

use arrow_array::{
    ArrayRef, BinaryArray, Float32Array, Int64Array, ListArray, RecordBatch, StringArray,
    StructArray,
    builder::{ListBuilder, StringBuilder},
};
use arrow_schema::{DataType, Field};
use flava_tasks::{Columns, Source, SourceFormat, Split, Task};
use parquet::arrow::ArrowWriter;
use serde_json::json;

use super::{
    fixtures::{digit, write_tar},
    place::root,
};

/// Rows of each split.
pub const ROWS: usize = 4;

/// Where the archives lie that `make_archives.py` wrote.
pub fn archives() -> PathBuf {
    root().join("tests/fixtures/archives")
}

/// Writes all splits of a source below `data`; archives are linked to.
pub fn write_source(data: &Path, task: &Task, source: &Source) {
    let root = data.join(source.data_folder());
    fs::create_dir_all(root.parent().unwrap()).unwrap();
    with_images(data, source);
    if matches!(source.format, SourceFormat::Archive { .. }) {
        if !root.exists() {
            std::os::unix::fs::symlink(archives().join(source.data_folder()), root).unwrap();
        }
        return;
    }
    for split in source.splits() {
        let file = root.join(
            split
                .files
                .replace("SPLIT", &split.name)
                .replace('*', "00000-of-00001"),
        );
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        match &source.format {
            SourceFormat::Parquet { columns } => {
                write_table(&file, &table(columns, split, task.classes));
            }
            SourceFormat::Webdataset { captions } => write_shard(&file, *captions, task.classes),
            SourceFormat::Vqa {
                annotations,
                images,
            } => {
                let fill = |text: &str| root.join(text.replace("SPLIT", &split.name));
                write_vqa(&file, &fill(annotations), &fill(images), &split.name);
            }
            SourceFormat::SnliVe { images } => {
                write_snli_ve(&file, &root.join(images), "Flickr30K_ID", "");
            }
            SourceFormat::HatefulMemes {} => write_memes(&file),
            SourceFormat::Karpathy { images } => write_karpathy(&file, &root.join(images)),
            SourceFormat::Archive { .. }
            | SourceFormat::Mini { .. }
            | SourceFormat::Table { .. }
            | SourceFormat::Auto { .. }
            | SourceFormat::ImageList { .. } => {
                unreachable!("linked to, drawn, or of no row")
            }
        }
    }
}

/// A source with the images that it has elsewhere, which are written below `data`.
pub fn with_images(data: &Path, source: &Source) -> Source {
    let mut source = source.clone();
    for (place, from) in source.images_from.iter_mut().enumerate() {
        from.root = data.join(&from.repo);
        let file = from.root.join(from.files.replace('*', "00000"));
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        let members = (0..ROWS).flat_map(|row| {
            let told = json!({ from.key.as_str(): place * 1000 + row })
                .to_string()
                .into_bytes();
            [
                (format!("{row:09}.png"), image(row)),
                (format!("{row:09}.json"), told),
            ]
        });
        let members: Vec<(String, Vec<u8>)> = members.collect();
        let members: Vec<(&str, &[u8])> = members.iter().map(|(n, b)| (&**n, &**b)).collect();
        write_tar(&file, &members);
    }
    source
}

fn image(row: usize) -> Vec<u8> {
    digit(row % 10, row / 10)
}

fn strings(values: impl IntoIterator<Item = String>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

fn lists(rows: usize, of: usize) -> ListArray {
    let mut builder = ListBuilder::new(StringBuilder::new());
    for row in 0..rows {
        (0..of).for_each(|item| {
            builder
                .values()
                .append_value(format!("text {} of row {row}", item % 3));
        });
        builder.append(true);
    }
    builder.finish()
}

/// The columns that a source's row names, with fitting values.
fn table(columns: &Columns, split: &Split, classes: usize) -> Vec<(String, ArrayRef)> {
    let mut found: Vec<(String, ArrayRef)> = Vec::new();
    let mut add = |name: &str, column: ArrayRef| {
        if !name.is_empty() {
            found.push((name.to_owned(), column));
        }
    };
    let bytes: ArrayRef = Arc::new(BinaryArray::from_iter_values((0..ROWS).map(image)));
    let images = StructArray::from(vec![
        (Arc::new(Field::new("bytes", DataType::Binary, true)), bytes),
        (
            Arc::new(Field::new("path", DataType::Utf8, true)),
            strings((0..ROWS).map(|row| format!("{row}.png"))),
        ),
    ]);
    add(&columns.image, Arc::new(images));
    for name in &columns.texts {
        add(
            name,
            strings((0..ROWS).map(|row| format!("{name} of row {row}"))),
        );
    }
    let label: ArrayRef = if classes == 0 {
        Arc::new(Float32Array::from_iter_values(
            (0..ROWS).map(|row| row as f32 * 1.25),
        ))
    } else {
        Arc::new(Int64Array::from_iter_values(
            (0..ROWS).map(|row| (row * 7 % classes) as i64),
        ))
    };
    add(&columns.label, label);
    add(&columns.answers, Arc::new(lists(ROWS, 10)));
    let keys = Int64Array::from_iter_values((0..ROWS).map(|row| (row / 2) as i64));
    add(&columns.image_key, Arc::new(keys));
    add(
        &columns.id,
        Arc::new(Int64Array::from_iter_values(
            (0..ROWS).map(|row| 100 + row as i64),
        )),
    );
    // Two rows an image.
    add(
        &columns.group,
        strings((0..ROWS).map(|row| format!("group {}", row / 2))),
    );
    add(
        &columns.split,
        strings((0..ROWS).map(|_| split.name.clone())),
    );
    let raw: Arc<Field> = Arc::new(Field::new("raw", DataType::Utf8, true));
    let captions: ArrayRef = if columns.group.is_empty() {
        Arc::new(lists(ROWS, 5))
    } else {
        Arc::new(StructArray::from(vec![(
            raw,
            strings((0..ROWS).map(|row| format!("caption {row}"))),
        )]))
    };
    add(&columns.captions, captions);
    found
}

fn write_table(path: &Path, columns: &[(String, ArrayRef)]) {
    let batch = RecordBatch::try_from_iter_with_nullable(
        columns
            .iter()
            .map(|(name, column)| (name, Arc::clone(column), true)),
    )
    .unwrap();
    let mut writer =
        ArrowWriter::try_new(File::create(path).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

/// Adds a member to a tar archive.
pub fn add_member<W: std::io::Write>(archive: &mut tar::Builder<W>, name: &str, bytes: &[u8]) {
    let mut header = tar::Header::new_ustar();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o644);
    archive.append_data(&mut header, name, bytes).unwrap();
}

fn write_shard(folder: &Path, captions: bool, classes: usize) {
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join("nshards.txt"), "1\n").unwrap();
    let mut archive = tar::Builder::new(File::create(folder.join("0.tar")).unwrap());
    for row in 0..ROWS {
        add_member(&mut archive, &format!("s{row:07}.png"), &image(row));
        if captions {
            add_member(
                &mut archive,
                &format!("s{row:07}.txt"),
                b"one caption\nanother caption\n",
            );
        } else {
            add_member(
                &mut archive,
                &format!("s{row:07}.cls"),
                (row * 7 % classes.max(1)).to_string().as_bytes(),
            );
        }
    }
    archive.finish().unwrap();
}

pub fn write_vqa(questions: &Path, annotations: &Path, images: &Path, split: &str) {
    fs::create_dir_all(images).unwrap();
    let (mut asked, mut answered) = (Vec::new(), Vec::new());
    for row in 0..ROWS {
        let (number, id) = (40 + row / 2, 1000 + row);
        fs::write(
            images.join(format!("COCO_{split}_{number:012}.jpg")),
            image(row / 2),
        )
        .unwrap();
        asked.push(
            json!({ "image_id": number, "question": format!("What is {row}?"), "question_id": id }),
        );
        let answers: Vec<_> =
            (1..=10).map(|a| json!({ "answer": if a < 8 { "yes" } else { "no" }, "answer_confidence": "yes", "answer_id": a })).collect();
        answered.push(json!({ "question_id": id, "image_id": number, "question_type": "what", "answer_type": "yes/no", "multiple_choice_answer": "yes", "answers": answers }));
    }
    let wrap = |name: &str, items: Vec<serde_json::Value>| json!({ "info": {}, "data_type": "mscoco", "data_subtype": split, "license": {}, name: items });
    fs::write(questions, wrap("questions", asked).to_string()).unwrap();
    fs::write(annotations, wrap("annotations", answered).to_string()).unwrap();
}

pub fn write_snli_ve(file: &Path, images: &Path, key: &str, ending: &str) {
    fs::create_dir_all(images).unwrap();
    let mut lines = String::new();
    for row in 0..ROWS {
        fs::write(images.join(format!("{}.jpg", 77 + row / 2)), image(row / 2)).unwrap();
        let gold = ["entailment", "neutral", "contradiction"][row % 3];
        let line = json!({
            key: format!("{}{ending}", 77 + row / 2), "annotator_labels": ["neutral"], "captionID": format!("{}.jpg#0", 77 + row / 2),
            "gold_label": gold, "pairID": format!("{}.jpg#0r1e", 77 + row / 2),
            "sentence1": "A caption.", "sentence2": format!("Hypothesis {row}."),
        });
        lines.push_str(&(line.to_string() + "\n"));
    }
    fs::write(file, lines).unwrap();
}

fn write_memes(file: &Path) {
    let folder = file.parent().unwrap().join("img");
    fs::create_dir_all(&folder).unwrap();
    let mut lines = String::new();
    for row in 0..ROWS {
        fs::write(folder.join(format!("{row:05}.png")), image(row)).unwrap();
        let line = json!({ "id": row, "img": format!("img/{row:05}.png"), "label": row % 2, "text": format!("meme {row}") });
        lines.push_str(&(line.to_string() + "\n"));
    }
    fs::write(file, lines).unwrap();
}

fn write_karpathy(file: &Path, images: &Path) {
    let image = |row: usize| {
        let name = format!("COCO_val2014_{row:012}.jpg");
        fs::create_dir_all(images.join("val2014")).unwrap();
        fs::write(images.join("val2014").join(&name), image(row)).unwrap();
        let sentences: Vec<_> =
            (0..5 + row % 2).map(|s| json!({ "raw": format!("Caption {s} of {row}."), "tokens": [], "imgid": row, "sentid": s })).collect();
        json!({ "filepath": "val2014", "filename": name, "imgid": row, "split": if row < ROWS { "test" } else { "restval" }, "sentences": sentences, "cocoid": row })
    };
    let images: Vec<_> = (0..=ROWS).map(image).collect();
    fs::write(
        file,
        json!({ "dataset": "coco", "images": images }).to_string(),
    )
    .unwrap();
}
