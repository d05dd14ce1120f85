//! Files as people have them: codecs, types and names of every kind.

use std::{fs, path::Path, sync::Arc};

use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, DictionaryArray, Float64Array, Int32Array,
    Int64Array, LargeBinaryArray, LargeStringArray, RecordBatch, StringArray, StringViewArray,
    StructArray, types::Int32Type,
};
use arrow_schema::{DataType, Field};
use flava_tasks::{
    Label, Registry, SourceFormat,
    sources::{Corpus, Example},
};
use parquet::{
    arrow::ArrowWriter,
    basic::{BrotliLevel, Compression, GzipLevel},
    file::properties::WriterProperties,
};
use tempfile::tempdir;

use crate::support::fixtures::{digit, write_tar};

fn write(path: &Path, columns: &[(&str, ArrayRef)], compression: Compression) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let batch = RecordBatch::try_from_iter_with_nullable(
        columns
            .iter()
            .map(|(name, column)| (*name, Arc::clone(column), true)),
    )
    .unwrap();
    let properties = WriterProperties::builder()
        .set_compression(compression)
        .build();
    let mut writer = ArrowWriter::try_new(
        fs::File::create(path).unwrap(),
        batch.schema(),
        Some(properties),
    )
    .unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

/// The rows of `glue-sst2`'s development set, or of mnist's test set, from such columns; or why
/// they cannot be read.
fn open(
    task: &str,
    columns: &[(&str, ArrayRef)],
    compression: Compression,
) -> Result<Vec<Example>, String> {
    let data = tempdir().unwrap();
    let task = Registry::built_in().unwrap().get(task).unwrap().clone();
    let source = &task.sources[0];
    let file = data
        .path()
        .join(source.test.files.replace('*', "00000-of-00001"));
    write(&file, columns, compression);
    let split = task
        .open_split(source, &source.test, data.path(), 0)
        .map_err(|e| e.to_string())?;
    (0..split.dataset.len())
        .map(|row| split.dataset.get(row).map_err(|e| e.to_string()))
        .collect()
}

fn sentences() -> ArrayRef {
    Arc::new(StringArray::from(vec!["good", "bad", "good"]))
}

fn ids() -> ArrayRef {
    Arc::new(Int32Array::from(vec![0, 1, 2]))
}

#[test]
fn every_codec_and_every_kind_of_text_and_label_is_read() {
    let gzip = Compression::GZIP(GzipLevel::default());
    let codecs = [
        gzip,
        Compression::BROTLI(BrotliLevel::default()),
        Compression::LZ4_RAW,
        Compression::LZ4,
        Compression::SNAPPY,
    ];
    let labels: ArrayRef = Arc::new(Int64Array::from(vec![1, 0, 1]));
    let plain = open(
        "glue-sst2",
        &[
            ("sentence", sentences()),
            ("label", Arc::clone(&labels)),
            ("idx", ids()),
        ],
        Compression::UNCOMPRESSED,
    );
    let plain = plain.unwrap();
    for codec in codecs {
        let read = open(
            "glue-sst2",
            &[
                ("sentence", sentences()),
                ("label", Arc::clone(&labels)),
                ("idx", ids()),
            ],
            codec,
        );
        assert_eq!(read.as_ref(), Ok(&plain), "{codec:?}");
    }
    let texts: [ArrayRef; 3] = [
        Arc::new(StringViewArray::from(vec!["good", "bad", "good"])),
        Arc::new(LargeStringArray::from(vec!["good", "bad", "good"])),
        Arc::new(
            ["good", "bad", "good"]
                .into_iter()
                .collect::<DictionaryArray<Int32Type>>(),
        ),
    ];
    for texts in texts {
        let kind = texts.data_type().clone();
        let read = open(
            "glue-sst2",
            &[
                ("sentence", texts),
                ("label", Arc::clone(&labels)),
                ("idx", ids()),
            ],
            gzip,
        );
        assert_eq!(read.as_ref(), Ok(&plain), "{kind}");
    }
    let numbers = DictionaryArray::<Int32Type>::try_new(
        Int32Array::from(vec![1, 0, 1]),
        Arc::new(Int64Array::from(vec![0, 1])),
    )
    .unwrap();
    let kinds: [ArrayRef; 3] = [
        Arc::new(BooleanArray::from(vec![true, false, true])),
        Arc::new(Float64Array::from(vec![1.0, 0.0, 1.0])),
        Arc::new(numbers),
    ];
    for labels in kinds {
        let kind = labels.data_type().clone();
        let read = open(
            "glue-sst2",
            &[("sentence", sentences()), ("label", labels), ("idx", ids())],
            gzip,
        );
        assert_eq!(read.as_ref(), Ok(&plain), "{kind}");
    }
    for (labels, needle) in [
        (
            vec![1.0, 0.5, 0.0],
            "row 1: the label 0.5 is no whole number",
        ),
        (vec![1.0, f64::NAN, 0.0], "NaN is no whole"),
    ] {
        let labels: ArrayRef = Arc::new(Float64Array::from(labels));
        let error = open(
            "glue-sst2",
            &[("sentence", sentences()), ("label", labels), ("idx", ids())],
            gzip,
        )
        .unwrap_err();
        assert!(error.contains(needle), "{error}");
    }
}

#[test]
fn images_are_read_from_every_kind_of_column() {
    let images: Vec<Vec<u8>> = (0..3).map(|class| digit(class, 1)).collect();
    let labels: ArrayRef = Arc::new(Int64Array::from(vec![0, 1, 2]));
    let plain = BinaryArray::from_iter_values(&images);
    let keys = Int32Array::from(vec![0, 1, 2]);
    let columns: [ArrayRef; 3] = [
        Arc::new(plain.clone()),
        Arc::new(LargeBinaryArray::from_iter_values(&images)),
        Arc::new(DictionaryArray::<Int32Type>::try_new(keys, Arc::new(plain.clone())).unwrap()),
    ];
    for column in columns {
        let kind = column.data_type().clone();
        let read = open(
            "mnist",
            &[("image", column), ("label", Arc::clone(&labels))],
            Compression::UNCOMPRESSED,
        );
        let read: Vec<Vec<u8>> = read
            .unwrap_or_else(|e| panic!("{kind}: {e}"))
            .into_iter()
            .map(|row| row.image.unwrap())
            .collect();
        assert_eq!(read, images, "{kind}");
    }
    // A path alone is a file beside, or named where it leads out.
    let path = |path: &str| -> ArrayRef {
        let nulls: ArrayRef = Arc::new(BinaryArray::from_opt_vec(vec![None]));
        let paths: ArrayRef = Arc::new(StringArray::from(vec![path]));
        Arc::new(StructArray::from(vec![
            (Arc::new(Field::new("bytes", DataType::Binary, true)), nulls),
            (Arc::new(Field::new("path", DataType::Utf8, true)), paths),
        ]))
    };
    let one: ArrayRef = Arc::new(Int64Array::from(vec![0]));
    for (named, needle) in [
        ("a.png", "a.png"),
        (
            "/data/a.png",
            "the path \"/data/a.png\", outside its folder",
        ),
    ] {
        let error = open(
            "mnist",
            &[("image", path(named)), ("label", Arc::clone(&one))],
            Compression::UNCOMPRESSED,
        )
        .unwrap_err();
        assert!(error.contains(needle), "{error}");
    }
}

/// Id, whether there is an image, and texts.
type Member = (String, bool, Vec<String>);

fn corpus(folder: &Path, members: &[(&str, &[u8])]) -> (Vec<Member>, Vec<String>) {
    write_tar(&folder.join("s.tar"), members);
    let shards = Corpus::Webdataset {
        files: "s.tar".into(),
    }
    .open(folder, 0)
    .unwrap();
    let row = |row: usize| {
        let example = shards.get(row).unwrap();
        (
            example.id.trim_start_matches("s.tar/").to_owned(),
            example.image.is_some(),
            example.texts,
        )
    };
    ((0..shards.len()).map(row).collect(), shards.notes())
}

/// As webdataset 0.2 has it: endings in either case, keys to the first dot, JSON as Python writes
/// it; what is left over is told.
#[test]
fn members_are_put_together_as_webdataset_does() {
    let folder = tempdir().unwrap();
    let image = digit(1, 1);
    let (rows, notes) = corpus(
        folder.path(),
        &[
            ("a.JPG", &image),
            (
                "a.json",
                br#"{"caption": "one", "similarity": NaN, "bounds": [-Infinity, Infinity]}"#,
            ),
            ("b.png", &image),
            ("b.TXT", b"two"),
            ("c.Png", &image),
            ("c.JSON", br#"{"text": "three"}"#),
            ("photo 2.1.jpg", &image),
            ("photo 2.1.txt", b"four"),
            ("f.cls", b"3"),
            ("README", b"none"),
            ("dir/._x.jpg", b"macOS"),
            ("g.json", br#"{"url": "no caption"}"#),
        ],
    );
    let row = |key: &str, text: &str| (key.to_owned(), true, vec![text.to_owned()]);
    assert_eq!(
        rows,
        [
            row("a", "one"),
            row("b", "two"),
            row("c", "three"),
            row("photo 2", "four")
        ]
    );
    assert_eq!(notes.len(), 1);
    assert!(
        notes[0].starts_with("3 members of shards belong to no sample, such as README"),
        "{notes:?}"
    );
}

/// The endings of a task's shards may be written in capitals, as a corpus's.
#[test]
fn endings_in_capitals_are_read_as_any() {
    let image = digit(1, 1);
    let open = |task: &str, ending: &str, label: &[u8]| {
        let data = tempdir().unwrap();
        let registry = Registry::built_in().unwrap();
        let task = registry.get(task).unwrap();
        let source = task
            .sources
            .iter()
            .find(|source| matches!(source.format, SourceFormat::Webdataset { .. }))
            .unwrap();
        let file = data.path().join(&source.test.files).join("0.tar");
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        write_tar(
            &file,
            &[
                ("a.JPG", &image),
                (&format!("a.{ending}"), label),
                ("b.png", &image),
                (&format!("b.{ending}"), label),
            ],
        );
        let split = task
            .open_split(source, &source.test, data.path(), 0)
            .unwrap();
        (0..split.dataset.len())
            .map(|row| split.dataset.get(row).unwrap())
            .collect::<Vec<_>>()
    };
    let classes = open("cifar10", "CLS", b"3");
    assert!(classes.len() == 2 && classes.iter().all(|row| row.label == Label::Class(3)));
    let captions = open("flickr30k-retrieval", "TXT", b"one\ntwo");
    assert!(captions.len() == 2 && captions.iter().all(|row| row.texts == ["one", "two"]));
}

#[test]
fn archives_of_git_are_read_and_what_follows_their_end_is_not_lost() {
    let folder = tempdir().unwrap();
    let image = digit(1, 1);
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(tar::EntryType::XGlobalHeader);
    let comment = b"52 comment=0123456789012345678901234567890123456789\n";
    header.set_size(comment.len() as u64);
    archive
        .append_data(&mut header, "pax_global_header", &comment[..])
        .unwrap();
    for (name, bytes) in [("a.png", &image[..]), ("a.txt", b"one")] {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, name, bytes).unwrap();
    }
    let bytes = archive.into_inner().unwrap();
    let path = folder.path().join("s.tar");
    let open = || {
        Corpus::Webdataset {
            files: "s.tar".into(),
        }
        .open(folder.path(), 0)
        .map(|shards| shards.len())
        .map_err(|e| e.to_string())
    };
    fs::write(&path, &bytes).unwrap();
    assert_eq!(open(), Ok(1));
    fs::write(&path, [&bytes[..], &bytes].concat()).unwrap();
    assert!(open().unwrap_err().contains("more follows its end"));
    fs::write(&path, [&bytes[..], &vec![0; 4 << 20]].concat()).unwrap();
    assert!(open().unwrap_err().contains("bytes follow its end"));
    write_tar(&path, &[("a.1.png", &image), ("a.2.png", &image)]);
    assert!(
        open()
            .unwrap_err()
            .contains("sample a has two images, a.1.png and a.2.png")
    );
}

/// Files whose names are no UTF-8 are rows of their own.
#[test]
fn names_that_are_no_text_have_ids_of_their_own() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};
    let folder = tempdir().unwrap();
    for name in [&b"a\xff.png"[..], b"a\xfe.png"] {
        fs::write(folder.path().join(OsStr::from_bytes(name)), digit(1, 1)).unwrap();
    }
    let images = Corpus::ImageFolder { path: ".".into() }
        .open(folder.path(), 0)
        .unwrap();
    assert_eq!(images.len(), 2);
    assert_ne!(images.id(0), images.id(1));
    assert!((0..2).all(
        |row| images.get(row).unwrap().image.is_some() && images.label(row) == Label::Class(0)
    ));
}
