//! Corpora for pretraining in every format that they come in.

use std::{fs, path::Path, sync::Arc};

use arrow_array::{ArrayRef, RecordBatch, StringArray};
use flava_tasks::{Dataset, sources::Corpus};
use parquet::arrow::ArrowWriter;
use tempfile::tempdir;

use crate::support::fixtures::{digit, digits, write_parquet, write_tar};

fn open(corpus: Corpus, root: &Path) -> Arc<dyn Dataset> {
    corpus.open(root, 0).unwrap_or_else(|e| panic!("{e}"))
}

#[test]
fn shards_have_images_texts_or_both() {
    let folder = tempdir().unwrap();
    let image = digit(1, 0);
    write_tar(
        &folder.path().join("s-000.tar"),
        &[
            ("a.png", &image),
            ("a.txt", b"one\ntwo\n"),
            ("b.png", &image),
            ("b.json", br#"{"caption": "three", "url": "x"}"#),
            ("c.png", &image),
            ("c.json", b"no json"),
        ],
    );
    write_tar(
        &folder.path().join("s-001.tar"),
        &[
            ("d.txt", b"four"),
            ("e.json", br#"{"text": ["five", "six"]}"#),
            ("f.cls", b"3"),
        ],
    );
    let shards = open(
        Corpus::Webdataset {
            files: "s-*.tar".into(),
        },
        folder.path(),
    );
    let rows: Vec<(String, bool, Vec<String>)> = (0..shards.len())
        .map(|row| {
            let example = shards.get(row).unwrap();
            assert_eq!(example.texts, shards.texts_of(row).unwrap());
            (
                example.id,
                example.image.is_some_and(|bytes| bytes == image),
                example.texts,
            )
        })
        .collect();
    let row = |id: &str, image, texts: &[&str]| {
        (
            id.to_owned(),
            image,
            texts.iter().map(|text| (*text).to_owned()).collect(),
        )
    };
    let expected = [
        row("s-000.tar/a", true, &["one", "two"]),
        row("s-000.tar/b", true, &["three"]),
        row("s-000.tar/c", true, &[]),
        row("s-001.tar/d", false, &["four"]),
        row("s-001.tar/e", false, &["five", "six"]),
    ];
    assert_eq!(rows, expected);
}

#[test]
fn parquet_folders_and_lines_of_json() {
    let folder = tempdir().unwrap();
    let path = folder.path();
    write_parquet(&path.join("p-0.parquet"), "image", &digits(7), 3);
    let images = open(
        Corpus::Parquet {
            files: "p-*.parquet".into(),
            image: "image".into(),
            text: String::new(),
        },
        path,
    );
    assert_eq!(
        (images.len(), images.get(6).unwrap().image.unwrap()),
        (7, digit(6, 0))
    );
    let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("x"), Some("y"), None]));
    let batch = RecordBatch::try_from_iter([("text", texts)]).unwrap();
    let mut writer = ArrowWriter::try_new(
        fs::File::create(path.join("t.parquet")).unwrap(),
        batch.schema(),
        None,
    )
    .unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let texts = open(
        Corpus::Parquet {
            files: "t.parquet".into(),
            image: String::new(),
            text: "text".into(),
        },
        path,
    );
    assert_eq!(texts.texts_of(1).unwrap(), ["y"]);
    assert!(
        texts.texts_of(2).unwrap().is_empty(),
        "a row without a text is left out where it is drawn"
    );
    fs::create_dir_all(path.join("pictures/deep")).unwrap();
    fs::write(path.join("pictures/deep/b.PNG"), digit(2, 0)).unwrap();
    fs::write(path.join("pictures/a.png"), digit(1, 0)).unwrap();
    fs::write(path.join("pictures/notes.md"), "none").unwrap();
    let found = open(
        Corpus::ImageFolder {
            path: "pictures".into(),
        },
        path,
    );
    assert_eq!(
        (0..found.len())
            .map(|row| found.id(row))
            .collect::<Vec<_>>(),
        ["a.png", "deep/b.PNG"]
    );
    fs::write(
        path.join("pairs.jsonl"),
        "{\"file\": \"pictures/a.png\", \"caption\": \"a one\"}\n",
    )
    .unwrap();
    let pairs = open(
        Corpus::Jsonl {
            files: "*.jsonl".into(),
            image: "file".into(),
            text: "caption".into(),
        },
        path,
    )
    .get(0)
    .unwrap();
    assert_eq!(
        (pairs.image.unwrap(), pairs.texts),
        (digit(1, 0), vec!["a one".to_owned()])
    );
}
