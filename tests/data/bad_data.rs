//! Data that is broken, contradictory or hostile: a clear error with file and row.

use std::{
    fs::{self, File},
    path::Path,
    sync::Arc,
};

use arrow_array::{ArrayRef, Float64Array, RecordBatch, StringArray};
use flava_tasks::{Registry, Source, SourceFormat, Task};
use parquet::arrow::ArrowWriter;
use tempfile::tempdir;

use crate::support::sources::{add_member, archives, write_source};

fn task(name: &str) -> Task {
    Registry::built_in().unwrap().get(name).unwrap().clone()
}

fn source<'a>(task: &'a Task, position: &str) -> &'a Source {
    task.sources
        .iter()
        .find(|source| source.data_folder() == position)
        .unwrap()
}

/// What opening a spoilt test split says.
fn refusal(name: &str, position: &str, spoil: impl FnOnce(&Path)) -> String {
    let data = tempdir().unwrap();
    let task = task(name);
    let source = source(&task, position);
    write_source(data.path(), &task, source);
    let root = data.path().join(position);
    if matches!(source.format, SourceFormat::Archive { .. }) {
        fs::remove_file(&root).unwrap();
        copy_folder(&archives().join(position), &root);
    }
    spoil(&root);
    task.open_split(source, &source.test, &root, 0)
        .err()
        .unwrap_or_else(|| panic!("{name} was opened"))
        .to_string()
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn edit(path: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{from} in {text}");
    fs::write(path, text.replacen(from, to, 1)).unwrap();
}

fn cut(path: &Path, to: u64) {
    File::options()
        .write(true)
        .open(path)
        .unwrap()
        .set_len(to)
        .unwrap();
}

fn assert_says(message: &str, needles: &[&str]) {
    for needle in needles {
        assert!(message.contains(needle), "{needle:?} is not in {message}");
    }
}

#[test]
fn annotations_that_contradict_themselves_are_named() {
    let questions = "v2_OpenEnded_mscoco_val2014_questions.json";
    let annotations = "v2_mscoco_val2014_annotations.json";
    let vqa = |file: &'static str, from: &'static str, to: &'static str| {
        refusal("vqa", "vqav2", move |root| edit(&root.join(file), from, to))
    };
    assert_says(
        &vqa(questions, "\"question_id\":1001", "\"question_id\":1000"),
        &[questions, "question_id 1000 is there twice"],
    );
    assert_says(
        &vqa(annotations, "\"question_id\":1001", "\"question_id\":1000"),
        &[annotations, "1000 is there twice"],
    );
    assert_says(
        &vqa(annotations, "\"question_id\":1003", "\"question_id\":2003"),
        &[annotations, "no answers to question_id 1003"],
    );
    assert_says(
        &vqa(annotations, "\"image_id\":41", "\"image_id\":40"),
        &["belongs to image 40", "to 41"],
    );
    assert_says(
        &vqa(questions, "\"questions\":[", "\"queries\":["),
        &[questions, "JSON"],
    );
    let images = refusal("vqa", "vqav2", |root| {
        fs::remove_file(root.join("val2014/COCO_val2014_000000000041.jpg")).unwrap();
    });
    assert_says(
        &images,
        &[
            "lacks 2 of 4 images",
            "COCO_val2014_000000000041.jpg",
            "row 2",
        ],
    );
    let truncated = refusal("vqa", "vqav2", |root| cut(&root.join(questions), 100));
    assert_says(&truncated, &[questions]);
}

#[test]
fn lines_of_json_are_checked_one_by_one() {
    let meme = |from: &'static str, to: &'static str| {
        refusal("hateful-memes", "hateful_memes", move |root| {
            edit(&root.join("test_unseen.jsonl"), from, to);
        })
    };
    assert_says(
        &meme("\"id\":2", "\"id\":1"),
        &["test_unseen.jsonl", "line 3", "id 1 is there twice"],
    );
    assert_says(&meme("\"label\":1", "\"label\":7"), &["line 2: label 7"]);
    assert_says(
        &meme("\"label\":1", "\"label\":\"hateful\""),
        &["test_unseen.jsonl", "line 2"],
    );
    assert_says(
        &meme("img/00001.png", "../../etc/passwd"),
        &["outside its folder"],
    );
    assert_says(
        &meme("img/00001.png", "/etc/passwd"),
        &["outside its folder"],
    );
    let entailment = refusal("snli-ve", "snli-ve", |root| {
        edit(
            &root.join("snli_ve_test.jsonl"),
            "\"neutral\",\"pairID\"",
            "\"-\",\"pairID\"",
        );
    });
    assert_says(
        &entailment,
        &[
            "snli_ve_test.jsonl",
            "line 2",
            "\"-\" is none of entailment, neutral, contradiction",
        ],
    );
    let shape = refusal("flickr30k", "flickr30k", |root| {
        fs::write(root.join("dataset_flickr30k.json"), "{\"pictures\": []}").unwrap();
    });
    assert_says(&shape, &["dataset_flickr30k.json", "JSON"]);
    let silent = refusal("flickr30k", "flickr30k", |root| {
        fs::write(
            root.join("dataset_flickr30k.json"),
            r#"[{"image": "val2014/COCO_val2014_000000000001.jpg", "caption": []}]"#,
        )
        .unwrap();
    });
    assert_says(&silent, &["has no caption"]);
}

#[test]
fn labels_of_wrong_kinds_are_refused() {
    let write = |column: ArrayRef| {
        refusal("glue-sst2", "nyu-mll/glue", move |root| {
            let texts: ArrayRef = Arc::new(StringArray::from(vec!["a", "b"]));
            let ids: ArrayRef = Arc::new(arrow_array::Int32Array::from(vec![0, 1]));
            let batch =
                RecordBatch::try_from_iter([("sentence", texts), ("label", column), ("idx", ids)])
                    .unwrap();
            let file = File::create(root.join("sst2/validation-00000-of-00001.parquet")).unwrap();
            let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
            writer.write(&batch).unwrap();
            writer.close().unwrap();
        })
    };
    assert_says(
        &write(Arc::new(Float64Array::from(vec![0.0, 0.5]))),
        &[
            "validation-00000-of-00001.parquet",
            "row 1: the label 0.5 is no whole number",
        ],
    );
    assert_says(
        &write(Arc::new(StringArray::from(vec!["good", "bad"]))),
        &["column label is Utf8", "label_names"],
    );
    assert_says(
        &write(Arc::new(arrow_array::Int64Array::from(vec![0, -1]))),
        &["row 1: label -1 is none of the 2 classes"],
    );
    assert_says(
        &write(Arc::new(arrow_array::Int64Array::from(vec![Some(0), None]))),
        &["row 1: the label is null"],
    );
}

#[test]
fn missing_parts_are_named() {
    let part = refusal("food101", "ethz/food101", |root| {
        fs::rename(
            root.join("data/validation-00000-of-00001.parquet"),
            root.join("data/validation-00002-of-00003.parquet"),
        )
        .unwrap();
    });
    assert_says(&part, &["lacks part 0 of 3"]);
    let shards = refusal("cars", "clip-benchmark/wds_cars", |root| {
        fs::write(root.join("test/nshards.txt"), "3\n").unwrap();
    });
    assert_says(&shards, &["1.tar"]);
    let number = refusal("cars", "clip-benchmark/wds_cars", |root| {
        fs::write(root.join("test/nshards.txt"), "many\n").unwrap();
    });
    assert_says(&number, &["nshards.txt", "\"many\" is no number"]);
}

/// A shard with one member of a given name and kind, and a whole sample.
fn shard(name: &str, kind: tar::EntryType) -> String {
    refusal("cars", "clip-benchmark/wds_cars", |root| {
        let mut archive = tar::Builder::new(File::create(root.join("test/0.tar")).unwrap());
        let mut header = tar::Header::new_ustar();
        // The library refuses to write such names itself.
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(kind);
        header.set_size(3);
        header.set_mode(0o644);
        header.set_cksum();
        archive.append(&header, &b"abc"[..]).unwrap();
        archive.finish().unwrap();
    })
}

#[test]
fn members_that_lead_out_of_an_archive_are_refused() {
    for name in ["../../etc/cron.png", "/etc/passwd.png", "a/../../b.cls"] {
        assert_says(
            &shard(name, tar::EntryType::Regular),
            &["0.tar", "leads out of the archive"],
        );
    }
    for kind in [
        tar::EntryType::Symlink,
        tar::EntryType::Link,
        tar::EntryType::Block,
    ] {
        assert_says(
            &shard("s0000000.png", kind),
            &["0.tar", "is a link or leads out"],
        );
    }
    assert_says(
        &shard("s0000000.png", tar::EntryType::Regular),
        &["sample s0000000 has no s0000000.cls"],
    );
    assert_says(
        &shard("s0000000.cls", tar::EntryType::Regular),
        &["s0000000.cls: \"abc\" is no label"],
    );
    let captions = refusal("flickr30k", "clip-benchmark/wds_flickr30k", |root| {
        let mut archive = tar::Builder::new(File::create(root.join("test/0.tar")).unwrap());
        add_member(&mut archive, "s0.png", b"x");
        add_member(&mut archive, "s0.cls", b"3");
        archive.finish().unwrap();
    });
    assert_says(&captions, &["sample s0: there are no captions"]);
    let twice = refusal("cars", "clip-benchmark/wds_cars", |root| {
        let mut archive = tar::Builder::new(File::create(root.join("test/0.tar")).unwrap());
        add_member(&mut archive, "s0.cls", b"1");
        add_member(&mut archive, "s0.cls", b"1");
        archive.finish().unwrap();
    });
    assert_says(&twice, &["sample s0 has two members cls"]);
}

/// Task, folder, file, what is replaced by what, and what is said of it.
type Spoilt = (
    &'static str,
    &'static str,
    &'static str,
    [&'static str; 2],
    &'static [&'static str],
);

#[test]
fn broken_archives_name_the_file_and_the_place() {
    let cases: [Spoilt; 9] = [
        (
            "food101",
            "food-101",
            "meta/test.txt",
            ["/", "_"],
            &["meta/test.txt", "line 1: there is no class"],
        ),
        (
            "pets",
            "oxford-iiit-pet",
            "annotations/test.txt",
            [" 1 1 ", " x 1 "],
            &["annotations/test.txt", "has no class from 1"],
        ),
        (
            "aircraft",
            "fgvc-aircraft-2013b",
            "data/variants.txt",
            ["7", ""],
            &["images_variant_test.txt", "there is no class"],
        ),
        (
            "gtsrb",
            "gtsrb",
            "GT-final_test.csv",
            ["ClassId", "Class"],
            &["GT-final_test.csv", "line 2 has no Filename or ClassId"],
        ),
        (
            "fer2013",
            "fer2013",
            "fer2013.csv",
            ["PublicTest", "PrivateTest,1"],
            &["fer2013.csv"],
        ),
        (
            "sun397",
            "SUN397",
            "ClassName.txt",
            ["/a/abbey", "/a/alley"],
            &["Testing_01.txt", "there is no class \"/a/abbey\""],
        ),
        (
            "clevr",
            "clevr",
            "CLEVR_v1.0/scenes/CLEVR_val_scenes.json",
            ["image_filename", "filename"],
            &["CLEVR_val_scenes.json", "JSON"],
        ),
        (
            "kitti",
            "Kitti",
            "raw/ImageSets/test.txt",
            ["0000", "9999"],
            &["label_2/9999"],
        ),
        (
            "ucf101",
            "UCF-101-midframes",
            "ucfTrainTestlist/testlist01.txt",
            ["/", "-"],
            &["testlist01.txt", "line 1", "names no class"],
        ),
    ];
    for (name, position, file, [from, to], needles) in cases {
        assert_says(
            &refusal(name, position, |root| edit(&root.join(file), from, to)),
            needles,
        );
    }
    for (name, position, file, size, needles) in [
        (
            "stl10",
            "stl10_binary",
            "test_X.bin",
            30_000,
            &["test_X.bin", "cut off"][..],
        ),
        (
            "pcam",
            "pcam",
            "camelyonpatch_level_2_split_test_x.h5",
            700,
            &["camelyonpatch_level_2_split_test_x.h5"],
        ),
        (
            "cars",
            "stanford_cars",
            "cars_test_annos_withlabels.mat",
            300,
            &["cars_test_annos_withlabels.mat"],
        ),
        (
            "cifar10",
            "cifar-10-batches-py",
            "test_batch",
            4000,
            &["test_batch", "cut off"],
        ),
        (
            "cifar100",
            "cifar-100-binary",
            "test.bin",
            4000,
            &["test.bin", "cut off"],
        ),
        (
            "mnist",
            "MNIST",
            "raw/t10k-images-idx3-ubyte",
            100,
            &["t10k-images-idx3-ubyte", "cut off"],
        ),
    ] {
        assert_says(
            &refusal(name, position, |root| cut(&root.join(file), size)),
            needles,
        );
    }
    // Each level refers sixteen times to the one before: nine levels would be 10^11 values.
    let mut doubling = b"\x80\x02)".to_vec();
    for level in 0..9u8 {
        doubling.extend([b'q', level, b'(']);
        doubling.extend([b'h', level].repeat(16));
        doubling.push(b't');
    }
    doubling.push(b'.');
    let nested = [b"]".repeat(1_000_000), b"a".repeat(999_999), b".".to_vec()].concat();
    for bomb in [doubling, nested] {
        let refused = refusal("cifar10", "cifar-10-batches-py", |root| {
            fs::write(root.join("test_batch"), bomb).unwrap();
        });
        assert_says(&refused, &["test_batch"]);
    }
    let evil = refusal("cifar10", "cifar-10-batches-py", |root| {
        fs::write(
            root.join("test_batch"),
            b"cposix\nsystem\n(X\x05\0\0\0falsetR.",
        )
        .unwrap();
    });
    assert_says(&evil, &["test_batch", "no batch of CIFAR"]);
}
