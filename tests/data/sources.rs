//! Every source of the registry reads files in its public layout.

use std::{collections::BTreeMap, fs, path::Path};

use flava_model::processor::decode;
use flava_tasks::{
    Columns, Layout, Method, Registry, Source, SourceFormat, Split, Suite, Task,
    sources::{AnswerVocabulary, Dataset, Label},
};
use sha2::{Digest, Sha256};
use tempfile::tempdir;

use crate::support::{
    fixtures::digit,
    program::flava_eval,
    sources::{ROWS, add_member, archives, with_images, write_snli_ve, write_source},
};

fn paper() -> Vec<Task> {
    Registry::built_in()
        .unwrap()
        .tasks()
        .iter()
        .filter(|task| [Suite::Paper, Suite::Variants].contains(&task.suite))
        .cloned()
        .collect()
}

/// Rows of each archive's splits, as torchvision gives them: label and SHA-256 of the RGB bytes.
fn expected() -> BTreeMap<String, BTreeMap<String, Vec<(usize, String)>>> {
    serde_json::from_str(&fs::read_to_string(archives().join("expected.json")).unwrap()).unwrap()
}

fn rows(dataset: &dyn Dataset) -> Vec<(usize, String)> {
    let row = |index| {
        let example = dataset.get(index).unwrap();
        let Label::Class(class) = example.label else {
            panic!("{} has no class", example.id)
        };
        assert_eq!(
            (dataset.id(index), dataset.label(index)),
            (example.id, Label::Class(class))
        );
        let image = decode(&example.image.unwrap()).unwrap();
        (
            class,
            Sha256::digest(&image.rgb)
                .iter()
                .map(|b| format!("{b:02x}"))
                .collect(),
        )
    };
    (0..dataset.len()).map(row).collect()
}

#[test]
fn archives_read_as_torchvision_reads_them() {
    let expected = expected();
    let mut seen = 0;
    for task in paper() {
        for source in task
            .sources
            .iter()
            .filter(|source| matches!(source.format, SourceFormat::Archive { .. }))
        {
            for split in source.splits() {
                let opened = task
                    .open_split(source, split, &archives().join(&source.folder), 0)
                    .unwrap();
                assert_eq!(
                    rows(&*opened.dataset),
                    expected[&source.folder][&split.name],
                    "{} {}",
                    source.folder,
                    split.name
                );
                seen += 1;
            }
        }
    }
    assert!(seen > 45, "{seen}");
    // Forms that no row names: the other table of FER2013, gzipped MNIST.
    for (folder, layout) in [
        ("fer2013-icml", Layout::Fer2013),
        ("MNIST-gz", Layout::Mnist),
    ] {
        let mut task = paper().swap_remove(0);
        task.classes = 10;
        task.sources[0].format = SourceFormat::Archive { layout };
        for (name, rows_there) in &expected[folder] {
            let split = Split::new(name, "");
            let opened = task
                .open_split(&task.sources[0], &split, &archives().join(folder), 0)
                .unwrap();
            assert_eq!(rows(&*opened.dataset), *rows_there, "{folder} {name}");
        }
    }
}

#[test]
fn every_source_reads_what_its_row_describes() {
    let data = tempdir().unwrap();
    let mut kinds = BTreeMap::new();
    for task in paper() {
        for source in &task.sources {
            write_source(data.path(), &task, source);
            let source = &with_images(data.path(), source);
            for split in source.splits() {
                let opened =
                    task.open_split(source, split, &data.path().join(source.data_folder()), 0);
                let dataset = opened
                    .unwrap_or_else(|e| {
                        panic!("{} {} {}: {e}", task.name, source.name(), split.name)
                    })
                    .dataset;
                check_rows(&task, source, &*dataset);
            }
            *kinds
                .entry(
                    format!("{:?}", source.format)
                        .split([' ', '{'])
                        .next()
                        .unwrap()
                        .to_owned(),
                )
                .or_insert(0) += 1;
        }
    }
    assert_eq!(
        kinds.keys().collect::<Vec<_>>(),
        [
            "Archive",
            "HatefulMemes",
            "Karpathy",
            "Parquet",
            "SnliVe",
            "Vqa",
            "Webdataset"
        ]
    );
}

fn check_rows(task: &Task, source: &Source, dataset: &dyn Dataset) {
    assert!(!dataset.is_empty());
    for index in 0..dataset.len() {
        let example = dataset.get(index).unwrap();
        assert_eq!(
            (&example.id, &example.label, example.texts.len()),
            (
                &dataset.id(index),
                &dataset.label(index),
                dataset.texts(index)
            )
        );
        if let Some(image) = &example.image {
            decode(image).unwrap();
        }
        match &task.method {
            Method::Retrieval { .. } => assert!(
                example.image.is_some() && example.texts.len() > 1,
                "{}",
                source.name()
            ),
            Method::LinearProbe { .. } => {
                assert!(matches!(example.label, Label::Class(c) if c < task.classes));
            }
            _ if task.name == "glue-stsb" => {
                assert_eq!(example.label, Label::Value(index as f64 * 1.25));
            }
            _ if task.name == "vqav2" => {
                assert!(matches!(&example.label, Label::Answers(answers) if answers.len() == 10));
            }
            _ => assert!(matches!(example.label, Label::Class(_)) && !example.texts.is_empty()),
        }
    }
    if ["vqav2", "snli-ve"].contains(&task.name.as_str()) {
        let clusters: Vec<usize> = (0..ROWS).map(|row| dataset.cluster(row)).collect();
        assert_eq!(
            clusters,
            [0, 0, 2, 2],
            "{}: rows about one image belong together",
            source.name()
        );
    }
}

#[test]
fn lists_of_images_are_read_as_lines_and_as_json() {
    let data = tempdir().unwrap();
    fs::create_dir(data.path().join("a b")).unwrap();
    for row in 0..3 {
        fs::write(data.path().join(format!("a b/{row}.png")), digit(row, 0)).unwrap();
    }
    fs::write(data.path().join("test.txt"), "a b/2.png 1\na b/0.png\t0\n").unwrap();
    fs::write(
        data.path().join("split.json"),
        r#"{"train": [["a b/1.png", 0, "cat"]], "test": [["a b/2.png", 1, "dog"], ["a b/0.png", 0, "cat"]]}"#,
    )
    .unwrap();
    let mut task = Registry::built_in().unwrap().get("pcam").unwrap().clone();
    task.sources[0].format = SourceFormat::ImageList { images: ".".into() };
    let mut open = |files: &str, classes| {
        task.classes = classes;
        let split = Split::new("test", files);
        task.open_split(&task.sources[0], &split, data.path(), 0)
    };
    let (lines, json) = (
        open("test.txt", 2).unwrap().dataset,
        open("split.json", 2).unwrap().dataset,
    );
    assert_eq!(rows(&*lines), rows(&*json));
    assert_eq!(
        (lines.label(0), json.class_names().unwrap()),
        (Label::Class(1), &["cat".to_owned(), "dog".to_owned()][..])
    );
    assert!(
        open("test.txt", 1)
            .err()
            .unwrap()
            .to_string()
            .contains("label 1 is none of the 1 classes")
    );
}

/// numpy's file of a vector of 8-byte integers.
fn npy(values: &[i64]) -> Vec<u8> {
    let mut header = format!(
        "{{'descr': '<i8', 'fortran_order': False, 'shape': ({},), }}",
        values.len()
    );
    header.push_str(&" ".repeat(63 - (10 + header.len()) % 64));
    header.push('\n');
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend((header.len() as u16).to_le_bytes());
    file.extend(header.bytes());
    file.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    file
}

#[test]
fn several_labels_of_a_image_are_read_from_a_vector() {
    let data = tempdir().unwrap();
    let mut archive = tar::Builder::new(fs::File::create(data.path().join("0.tar")).unwrap());
    add_member(&mut archive, "s0.png", &digit(1, 0));
    add_member(
        &mut archive,
        "s0.npy",
        &npy(&[0, 1, 0, 1, 0, 0, 0, 0, 0, 0]),
    );
    archive.finish().unwrap();
    let mut task = Registry::built_in().unwrap().get("mnist").unwrap().clone();
    task.sources[0].format = SourceFormat::Webdataset { captions: false };
    let split = Split::new("test", "");
    let opened = task
        .open_split(&task.sources[0], &split, data.path(), 0)
        .unwrap();
    assert_eq!(
        opened.dataset.get(0).unwrap().label,
        Label::Classes(vec![1, 3])
    );
    task.classes = 3;
    let error = task
        .open_split(&task.sources[0], &split, data.path(), 0)
        .err()
        .unwrap()
        .to_string();
    assert!(
        error.contains("s0.npy: a vector of 10 for 3 classes"),
        "{error}"
    );
}

#[test]
fn all_three_spellings_of_snli_ve_are_read() {
    let task = Registry::built_in()
        .unwrap()
        .get("snli-ve")
        .unwrap()
        .clone();
    let rows = ["Flickr30K_ID", "Flickr30kID", "Flikr30kID"].map(|key| {
        ["", ".jpg"].map(|ending| {
            let data = tempdir().unwrap();
            write_snli_ve(
                &data.path().join("snli_ve_test.jsonl"),
                &data.path().join("flickr30k-images"),
                key,
                ending,
            );
            let dataset = task
                .open_split(&task.sources[0], &task.sources[0].test, data.path(), 0)
                .unwrap()
                .dataset;
            (0..dataset.len())
                .map(|row| dataset.get(row).unwrap())
                .collect::<Vec<_>>()
        })
    });
    assert!(rows.iter().flatten().all(|other| *other == rows[0][0]));
    assert_eq!(
        rows[0][0][2].texts,
        ["Hypothesis 2."],
        "the caption is no part of the task"
    );
}

#[test]
fn captions_in_rows_of_their_own_are_gathered() {
    let data = tempdir().unwrap();
    let task = Registry::built_in().unwrap().get("coco").unwrap().clone();
    let source = task
        .sources
        .iter()
        .find(|source| source.repo == "bitmind/MS-COCO")
        .unwrap();
    write_source(data.path(), &task, source);
    let dataset = task
        .open_split(
            source,
            &source.test,
            &data.path().join(source.data_folder()),
            0,
        )
        .unwrap()
        .dataset;
    assert_eq!(dataset.len(), 2, "four rows about two images");
    assert_eq!(dataset.get(1).unwrap().texts, ["caption 2", "caption 3"]);
}

#[test]
fn rows_are_picked_by_a_split_column_and_labels_by_their_names() {
    let data = tempdir().unwrap();
    let mut task = Registry::built_in().unwrap().get("mnist").unwrap().clone();
    let columns = Columns {
        split: "split".into(),
        ..Columns {
            image: "image".into(),
            label: "label".into(),
            ..Columns::default()
        }
    };
    task.sources[0].format = SourceFormat::Parquet { columns };
    task.sources[0].test.name = "val".into();
    write_source(data.path(), &task, &task.sources[0]);
    let root = data.path().join(task.sources[0].data_folder());
    let open = |name: &str| {
        let split = Split {
            name: name.into(),
            ..task.sources[0].test.clone()
        };
        task.open_split(&task.sources[0], &split, &root, 0)
    };
    assert_eq!(open("val").unwrap().dataset.len(), ROWS);
    assert!(
        open("other")
            .err()
            .unwrap()
            .to_string()
            .contains("split other is empty")
    );
}

/// Mostly "yes" and three times "no" for each of the four questions: a question counts once, by its
/// most frequent answer.
#[test]
fn answers_are_counted_and_bound_what_can_be_reached() {
    let data = tempdir().unwrap();
    let task = Registry::built_in().unwrap().get("vqa").unwrap().clone();
    let source = &task.sources[0];
    write_source(data.path(), &task, source);
    let dataset = task
        .open_split(
            source,
            &source.test,
            &data.path().join(source.data_folder()),
            0,
        )
        .unwrap()
        .dataset;
    let same = |answer: &str| answer.to_owned();
    let rows: Vec<usize> = (0..dataset.len()).collect();
    let vocabulary = AnswerVocabulary::count(&[&*dataset, &*dataset], 8, same);
    assert_eq!(vocabulary.answers, ["yes"], "of eight questions");
    assert!(
        AnswerVocabulary::count(&[&*dataset, &*dataset], 9, same)
            .answers
            .is_empty()
    );
    assert_eq!(vocabulary.ceiling(&*dataset, &rows), 1.0);
    let only_no = AnswerVocabulary {
        answers: vec!["no".into()],
    };
    assert!(
        (only_no.ceiling(&*dataset, &rows) - 0.9).abs() < 1e-12,
        "three of ten agree"
    );
}

#[test]
fn a_dry_run_tells_ready_from_mismatched_from_missing() {
    let folder = tempdir().unwrap();
    let data = folder.path().join("data");
    for task in paper() {
        for source in task
            .sources
            .iter()
            .filter(|source| source.data_folder() != "ylecun/mnist")
        {
            if task.name != "dtd" {
                write_source(&data, &task, source);
            }
        }
    }
    // A task of one's own whose row says what the folder really has.
    let shown = flava_eval(folder.path(), &["tasks", "show", "rendered-sst2"]).stdout;
    let mut own = shown
        .replace("\"rendered-sst2\"", "\"my-sst2\"")
        .replace("\"sst2-rendered\"", "\"a\"")
        .replace("\"renderedsst2\"", "\"b\"");
    own = own
        .replace("folder = \"my-sst2\"", "folder = \"rendered-sst2\"")
        .replace("fit = 7792", "fit = 8")
        .replace("test = 1821", "test = 4");
    for (split, rows) in [("train", 6920), ("valid", 872), ("test", 1821)] {
        own = own.replace(
            &format!("name = \"{split}\"\nrows = {rows}"),
            &format!("name = \"{split}\"\nrows = 4"),
        );
    }
    fs::write(folder.path().join("mine.toml"), own).unwrap();
    let run = flava_eval(
        folder.path(),
        &[
            "--dry-run",
            "--data",
            "data",
            "--suite",
            "paper",
            "--tasks",
            "all,variants,my-sst2",
            "--task-file",
            "mine.toml",
        ],
    );
    assert_eq!(run.code, 1, "{}", run.stderr);
    let line = |name: &str| {
        run.stdout
            .lines()
            .find(|line| line.starts_with(&format!("{name} ")))
            .unwrap_or_else(|| panic!("{name} in {}", run.stdout))
    };
    assert!(
        line("my-sst2").contains("ready: rendered-sst2: 4 train, 4 valid, 4 test"),
        "{}",
        line("my-sst2")
    );
    assert!(
        line("dtd").contains("missing: no data for dtd: none of mteb/dtd, dtd"),
        "{}",
        line("dtd")
    );
    assert!(
        line("coco-retrieval").contains("mismatched")
            && line("coco-retrieval").contains("8 captions, 25010 are expected"),
        "{}",
        line("coco-retrieval")
    );
    for task in paper().iter().filter(|task| task.name != "dtd") {
        assert!(
            line(&task.name).contains("mismatched: "),
            "{}",
            line(&task.name)
        );
    }
    assert!(Path::new(&data).is_dir());
}

#[test]
fn cocos_archives_are_read_as_they_are() {
    let data = tempdir().unwrap();
    let registry = Registry::built_in().unwrap();
    let task = registry.get("vqav2").unwrap();
    let source = &task.sources[0];
    write_source(data.path(), task, source);
    let root = data.path().join(source.data_folder());
    let rows = || {
        let opened = task.open_split(source, &source.test, &root, 0).unwrap();
        let dataset = opened.dataset;
        (0..dataset.len())
            .map(|row| dataset.get(row).unwrap())
            .collect::<Vec<_>>()
    };
    let unpacked = rows();
    let mut archive = zip::ZipWriter::new(fs::File::create(root.join("val2014.zip")).unwrap());
    for file in flava_base::walk(&root.join("val2014")).unwrap() {
        let name = format!("val2014/{}", file.display());
        archive
            .start_file(&name, zip::write::SimpleFileOptions::default())
            .unwrap();
        std::io::Write::write_all(&mut archive, &fs::read(root.join(&name)).unwrap()).unwrap();
    }
    archive.finish().unwrap();
    fs::remove_dir_all(root.join("val2014")).unwrap();
    assert!(unpacked.len() > 1 && unpacked == rows());
}
