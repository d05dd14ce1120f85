//! Which rows, whose labels, which settings a number belongs to: right, refused with the reason, or
//! noted.

use std::{
    fs::{self, File},
    os::unix::fs::symlink,
    path::Path,
    sync::Arc,
};

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use flava_base::walk;
use flava_model::checkpoint::Architecture;
use parquet::arrow::ArrowWriter;
use serde_json::Value;
use tempfile::{TempDir, tempdir};

use crate::support::{
    fixtures::{digit, digits, write_data, write_model, write_named_parquet},
    program::{Run, command, flava_eval, program},
    recipes::write_tiny_recipe,
};

/// A task file of one source; `more` are lines of the source.
fn write_task(folder: &Path, head: &str, source: &str) {
    let text = format!(
        "[[task]]\nname = \"own\"\nversion = 1\nsuite = \"own\"\nsummary = \"?\"\nchance = 0.5\nlicence = \"none\"\ncitation = \"none\"\n{head}\n[[task.source]]\nfolder = \"own\"\n{source}\n"
    );
    fs::write(folder.join("own.toml"), text).unwrap();
}

const PROBE: &str = "family = \"text\"\nclasses = 2\nmetrics = [\"accuracy\"]\nmethod = { kind = \"linear_probe\", feature = \"text_cls\" }";
const IMAGES: &str = "family = \"vision\"\nclasses = 3\nmetrics = [\"accuracy\"]\nmethod = { kind = \"knn\", feature = \"image_cls\" }";

fn run(folder: &Path, args: &[&str]) -> Run {
    let own = [
        "--task-file",
        "own.toml",
        "--tasks",
        "own",
        "--data",
        "data",
        "--model",
        "model",
    ];
    command(
        folder,
        &[("FLAVA_CACHE", "cache")],
        &[&own[..], args].concat(),
    )
    .output()
    .unwrap()
    .into()
}

fn record(folder: &Path, out: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(folder.join(out).join("own.json")).unwrap()).unwrap()
}

fn lab() -> TempDir {
    let folder = tempdir().unwrap();
    write_model(
        &folder.path().join("model"),
        Architecture::FlavaForPreTraining,
    );
    folder
}

fn write_texts(path: &Path, rows: &[(String, i64, i64)]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let texts: ArrayRef = Arc::new(StringArray::from_iter_values(
        rows.iter().map(|(text, ..)| text),
    ));
    let labels: ArrayRef = Arc::new(Int64Array::from_iter_values(
        rows.iter().map(|(_, label, _)| *label),
    ));
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(
        rows.iter().map(|(.., id)| *id),
    ));
    let batch =
        RecordBatch::try_from_iter([("text", texts), ("label", labels), ("idx", ids)]).unwrap();
    let mut writer =
        ArrowWriter::try_new(File::create(path).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

/// Sentences of ever other lengths about a cat or a dog, with a mark of each row.
fn sentences(rows: usize, from: usize) -> Vec<(String, i64, i64)> {
    let sentence = |row: usize| {
        let filler = vec!["the"; row * 7 % 14].join(" ");
        (
            format!("a {filler} photo of {}", ["cat", "dog"][row % 2]),
            (row % 2) as i64,
            row as i64,
        )
    };
    (from..from + rows).map(sentence).collect()
}

const TEXTS: &str = "format = \"parquet\"\ncolumns = { texts = [\"text\"], label = \"label\", id = \"idx\" }\ntrain = { name = \"train\", files = \"train*.parquet\", rows = 0 }\ntest = { name = \"test\", files = \"test*.parquet\", rows = 0 }";

fn score_of(folder: &Path, out: &str) -> Value {
    record(folder, out)["metrics"].clone()
}

/// From the store, without it and gone on with: the same bytes, whatever was changed in between.
fn assert_same_as_fresh(folder: &Path, what: &str) {
    for (out, more) in [("stored", &[][..]), ("fresh", &["--no-cache"])] {
        let run = run(folder, &[&["--out", out], more].concat());
        assert_eq!(run.code, 0, "{what}: {}", run.stderr);
    }
    let bytes = |out: &str, file: &str| fs::read(folder.join(out).join(file)).unwrap();
    assert_eq!(
        score_of(folder, "stored"),
        score_of(folder, "fresh"),
        "{what}"
    );
    assert_eq!(
        bytes("stored", "predictions/own.parquet"),
        bytes("fresh", "predictions/own.parquet"),
        "{what}"
    );
    assert_eq!(
        bytes("stored", "results.csv"),
        bytes("fresh", "results.csv"),
        "{what}"
    );
}

#[test]
fn texts_that_change_and_move_are_read_anew() {
    let lab = lab();
    let folder = lab.path();
    write_task(folder, PROBE, TEXTS);
    let (mut train, mut test) = (sentences(160, 0), sentences(90, 1000));
    let data = folder.join("data/own");
    write_texts(&data.join("train.parquet"), &train);
    write_texts(&data.join("test.parquet"), &test);
    assert_same_as_fresh(folder, "as written");
    let first = score_of(folder, "fresh")[0]["value"].as_f64().unwrap();
    // One row longer than all others: those behind it must not take each other's features.
    test[41].0 = format!(
        "a {} photo of {}",
        vec!["two"; 30].join(" "),
        ["cat", "dog"][41 % 2]
    );
    write_texts(&data.join("test.parquet"), &test);
    assert_same_as_fresh(folder, "a longer row");
    assert!((score_of(folder, "stored")[0]["value"].as_f64().unwrap() - first).abs() < 0.05);
    train[3].0 = "a red house".into();
    write_texts(&data.join("train.parquet"), &train);
    assert_same_as_fresh(folder, "another training row");
    let penalty = record(folder, "fresh")["details"]["penalty"].clone();
    let held_out = |out: &str| {
        let mut ids: Vec<String> =
            serde_json::from_value(record(folder, out)["details"]["held_out"]["ids"].clone())
                .unwrap();
        ids.sort();
        ids
    };
    let before = held_out("fresh");
    // The same rows in another order, in two shards: the same are held out, and the same penalty is
    // chosen.
    train.reverse();
    fs::remove_file(data.join("train.parquet")).unwrap();
    write_texts(&data.join("train-00000-of-00002.parquet"), &train[..50]);
    write_texts(&data.join("train-00001-of-00002.parquet"), &train[50..]);
    assert_same_as_fresh(folder, "another order");
    assert_eq!(
        (
            held_out("fresh"),
            record(folder, "fresh")["details"]["penalty"].clone()
        ),
        (before, penalty)
    );
    // One class alone is nothing to tell apart.
    for (part, file) in ["train-00000-of-00002", "train-00001-of-00002", "test"]
        .into_iter()
        .enumerate()
    {
        let rows: Vec<(String, i64, i64)> = sentences(40, 40 * part)
            .into_iter()
            .map(|(text, _, id)| (text, 1, id))
            .collect();
        write_texts(&data.join(format!("{file}.parquet")), &rows);
    }
    let one = run(folder, &["--out", "one"]);
    assert!(
        one.code == 1 && one.stderr.contains("nothing to tell apart"),
        "{}",
        one.stderr
    );
}

#[test]
fn an_image_that_is_replaced_is_seen_whatever_its_times_say() {
    let lab = lab();
    let folder = lab.path();
    write_task(
        folder,
        IMAGES,
        "format = \"archive\"\nlayout = \"image_folder\"\ntrain = { name = \"train\", rows = 0 }\ntest = { name = \"test\", rows = 0 }",
    );
    for (split, count) in [("train", 60), ("test", 30)] {
        for row in 0..count {
            let class = folder
                .join("data/own")
                .join(split)
                .join(["blue", "green", "red"][row % 3]);
            fs::create_dir_all(&class).unwrap();
            fs::write(class.join(format!("{row}.png")), digit(row % 3 * 3, row)).unwrap();
        }
    }
    assert_same_as_fresh(folder, "as written");
    let fingerprint = || record(folder, "stored")["data_fingerprint"].clone();
    let before = fingerprint();
    let image = folder.join("data/own/test/red/2.png");
    let modified = fs::metadata(&image).unwrap().modified().unwrap();
    let other = digit(1, 77);
    fs::write(&image, &other).unwrap();
    File::options()
        .write(true)
        .open(&image)
        .unwrap()
        .set_modified(modified)
        .unwrap();
    assert_same_as_fresh(folder, "a replaced image");
    assert_ne!(fingerprint(), before);
    // Hidden folders are no classes, and files that are no images are told of.
    for junk in [".ipynb_checkpoints", "__MACOSX"] {
        fs::create_dir_all(folder.join("data/own/train").join(junk)).unwrap();
        fs::write(
            folder.join("data/own/train").join(junk).join("x.png"),
            &other,
        )
        .unwrap();
    }
    fs::write(folder.join("data/own/train/red/notes.txt"), "mine").unwrap();
    assert_same_as_fresh(folder, "hidden folders");
    assert_eq!(run(folder, &["--out", "noted"]).code, 0);
    let notes = record(folder, "noted")["notes"].to_string();
    assert!(
        notes.contains("1 files that are no images are left out, such as red/notes.txt"),
        "{notes}"
    );
    // A class that is called otherwise in the test split is refused, with the names of both.
    fs::rename(
        folder.join("data/own/test/red"),
        folder.join("data/own/test/Red"),
    )
    .unwrap();
    let renamed = run(folder, &["--out", "renamed"]);
    assert_eq!(renamed.code, 1);
    for needle in [
        "the classes differ",
        "split train has \"blue\", \"green\", \"red\"",
        "split test has \"Red\", \"blue\", \"green\"",
    ] {
        assert!(
            renamed.stderr.contains(needle),
            "{needle}: {}",
            renamed.stderr
        );
    }
    assert_eq!(run(folder, &["--dry-run"]).code, 1);
    // One class alone is nothing to tell apart.
    for split in ["train", "test"] {
        for class in ["blue", "green", "Red", "red"] {
            let path = folder.join("data/own").join(split).join(class);
            if path.exists() && class != "blue" {
                fs::remove_dir_all(path).unwrap();
            }
        }
    }
    let toml = fs::read_to_string(folder.join("own.toml"))
        .unwrap()
        .replace("classes = 3", "classes = 1");
    fs::write(
        folder.join("own.toml"),
        toml.replace("\"knn\"", "\"linear_probe\""),
    )
    .unwrap();
    assert!(run(folder, &["--out", "one"]).code != 0);
    fs::write(
        folder.join("own.toml"),
        toml.replace("classes = 1", "classes = 2"),
    )
    .unwrap();
    let one = run(folder, &["--out", "one", "--allow-mismatch"]);
    assert!(
        one.code == 1 && one.stderr.contains("nothing to tell apart"),
        "{}",
        one.stderr
    );
}

#[test]
fn classes_in_another_order_are_mapped_by_name() {
    let lab = lab();
    let folder = lab.path();
    write_task(
        folder,
        IMAGES,
        "format = \"parquet\"\ncolumns = { image = \"image\", label = \"label\" }\ntrain = { name = \"train\", files = \"train*.parquet\", rows = 0 }\ntest = { name = \"test\", files = \"test*.parquet\", rows = 0 }",
    );
    let rows = |count: usize, map: [i64; 3]| -> Vec<(Vec<u8>, i64)> {
        digits(count * 10 / 3)
            .into_iter()
            .filter(|(_, class)| *class < 3)
            .map(|(image, class)| (image, map[class as usize]))
            .collect()
    };
    let data = folder.join("data/own");
    write_named_parquet(
        &data.join("train-00000-of-00002.parquet"),
        "image",
        &rows(12, [0, 1, 2]),
        &["red", "green", "blue"],
    );
    // Most rows lie here: taken by number, they would outvote the others.
    write_named_parquet(
        &data.join("train-00001-of-00002.parquet"),
        "image",
        &rows(90, [1, 2, 0]),
        &["blue", "red", "green"],
    );
    write_named_parquet(
        &data.join("test.parquet"),
        "image",
        &rows(30, [2, 0, 1]),
        &["green", "blue", "red"],
    );
    let mapped = run(folder, &["--out", "mapped"]);
    assert_eq!(mapped.code, 0, "{}", mapped.stderr);
    let record = record(folder, "mapped");
    assert_eq!(record["metrics"][0]["value"].as_f64(), Some(1.0));
    assert_eq!(
        record["notes"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|note| note.as_str().unwrap().contains("mapped by name"))
            .count(),
        2
    );
    write_named_parquet(
        &data.join("test.parquet"),
        "image",
        &rows(30, [0, 1, 2]),
        &["red", "green", "black"],
    );
    let other = run(folder, &["--out", "other"]);
    assert!(
        other.code == 1 && other.stderr.contains("the classes differ"),
        "{}",
        other.stderr
    );
    write_named_parquet(
        &data.join("test.parquet"),
        "image",
        &rows(30, [0, 1, 2]),
        &["red", "red", "blue"],
    );
    assert!(
        run(folder, &["--out", "twice"])
            .stderr
            .contains("calls both class 0 and class 1")
    );
}

#[test]
fn weights_that_are_no_numbers_are_named_by_the_first_row() {
    let lab = lab();
    let folder = lab.path();
    let path = folder.join("model/model.safetensors");
    let mut bytes = fs::read(&path).unwrap();
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let names: Value = serde_json::from_slice(&bytes[8..8 + header]).unwrap();
    for name in [
        "flava.image_model.layernorm.weight",
        "flava.text_model.layernorm.weight",
    ] {
        let start = names[name]["data_offsets"][0].as_u64().unwrap() as usize + 8 + header;
        bytes[start..start + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    }
    fs::write(&path, bytes).unwrap();
    let retrieval = flava_eval(
        folder,
        &[
            "--model",
            "model",
            "--tasks",
            "mini-retrieval",
            "--suite",
            "mini",
        ],
    );
    assert!(
        retrieval.code == 1
            && retrieval
                .stderr
                .contains("image_embedding of test-0: a number of it is not finite"),
        "{}",
        retrieval.stderr
    );
    fs::create_dir(folder.join("images")).unwrap();
    fs::write(folder.join("images/a.png"), digit(1, 1)).unwrap();
    fs::write(folder.join("texts.txt"), "a cat\n").unwrap();
    for (what, path, needle) in [
        ("--images", "images", "image_cls of a.png"),
        ("--texts", "texts.txt", "text_cls of 1:"),
    ] {
        let embed = flava_eval(
            folder,
            &[
                "embed",
                "--model",
                "model",
                what,
                path,
                "--out",
                "x.safetensors",
            ],
        );
        assert!(
            embed.code == 2 && embed.stderr.contains(needle),
            "{}",
            embed.stderr
        );
        assert!(!folder.join("x.safetensors").exists());
    }
}

/// What git-lfs leaves in a clone without it is called by its name, wherever it stands.
#[test]
fn pointers_of_git_lfs_are_named_by_every_reader() {
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 123456\n";
    let model = lab();
    fs::write(model.path().join("model/model.safetensors"), pointer).unwrap();
    let run = flava_eval(
        model.path(),
        &[
            "--model",
            "model",
            "--suite",
            "mini",
            "--tasks",
            "mini-sentence",
        ],
    );
    assert!(
        run.code == 2
            && run.stderr.contains("model.safetensors")
            && run.stderr.contains("git-lfs pointer"),
        "{}",
        run.stderr
    );
    let data = tempdir().unwrap();
    write_model(
        &data.path().join("model"),
        Architecture::FlavaForPreTraining,
    );
    write_data(&data.path().join("data"));
    for (task, ending) in [("mnist", "parquet"), ("cifar10", "tar")] {
        let files = walk(&data.path().join("data")).unwrap();
        let file = files
            .iter()
            .find(|file| file.extension().is_some_and(|found| found == ending))
            .unwrap();
        fs::write(data.path().join("data").join(file), pointer).unwrap();
        let run = flava_eval(
            data.path(),
            &[
                "--model",
                "model",
                "--data",
                "data",
                "--tasks",
                task,
                "--allow-mismatch",
            ],
        );
        assert!(
            run.code == 1 && run.stderr.contains("git-lfs pointer"),
            "{task}: {}",
            run.stderr
        );
    }
}

/// Devices, pipes and links that lead nowhere are broken rows with their reason; what is left out
/// on purpose is no failure.
#[test]
fn what_is_no_file_is_never_opened() {
    let folder = tempdir().unwrap();
    let images = folder.path().join("images");
    fs::create_dir_all(images.join("deep")).unwrap();
    fs::write(images.join("a.JFIF"), digit(1, 1)).unwrap();
    fs::write(
        images.join("deep/b.tif"),
        "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
    )
    .unwrap();
    symlink("/dev/zero", images.join("x.png")).unwrap();
    symlink("nowhere", images.join("y.png")).unwrap();
    assert!(
        std::process::Command::new("mkfifo")
            .arg(images.join("z.png"))
            .status()
            .unwrap()
            .success()
    );
    let embed = |more: &[&str]| {
        flava_eval(
            folder.path(),
            &[
                &["embed", "--images", "images", "--out", "x.safetensors"],
                more,
            ]
            .concat(),
        )
    };
    let refused = embed(&[]);
    assert!(
        refused.code == 2 && refused.stderr.contains("git-lfs pointer"),
        "{}",
        refused.stderr
    );
    let skipped = embed(&["--skip-broken"]);
    assert!(
        skipped.code == 0
            && skipped
                .stderr
                .contains("1 rows in x.safetensors, 4 broken images left out"),
        "{}",
        skipped.stderr
    );
    for (name, reason) in [
        ("deep/b.tif", "git-lfs pointer"),
        ("x.png", "is a device"),
        ("y.png", "is a link to nowhere"),
        ("z.png", "is a pipe"),
    ] {
        let told = |line: &str| {
            line.starts_with("left out: ") && line.contains(name) && line.contains(reason)
        };
        assert!(
            skipped.stderr.lines().any(told),
            "{name}: {}",
            skipped.stderr
        );
    }
    symlink("../../images", images.join("deep/up")).unwrap();
    let round = embed(&["--skip-broken", "--force"]);
    assert!(
        round.code == 2 && round.stderr.contains("which it lies in"),
        "{}",
        round.stderr
    );
}

/// The first model's numbers stay, the second's come beside them, and that is said; a refused run
/// moves nothing.
#[test]
fn earlier_records_are_put_aside_and_compared() {
    let folder = tempdir().unwrap();
    write_model(
        &folder.path().join("model"),
        Architecture::FlavaForPreTraining,
    );
    let run = |args: &[&str]| {
        flava_eval(
            folder.path(),
            &[
                &[
                    "--suite",
                    "mini",
                    "--tasks",
                    "mini-sentence",
                    "--limit",
                    "60",
                    "--out",
                    "runs",
                ],
                args,
            ]
            .concat(),
        )
    };
    assert_eq!(run(&[]).code, 0);
    let first = fs::read(folder.path().join("runs/mini-sentence.json")).unwrap();
    let failing = run(&["--features", "text_layer99"]);
    assert_eq!(failing.code, 1);
    assert_eq!(
        fs::read(folder.path().join("runs/mini-sentence.json")).unwrap(),
        first
    );
    let second = run(&["--model", "model"]);
    assert!(
        second.code == 0
            && second
                .stdout
                .contains("note: mini-sentence: the earlier record, of model embedded"),
        "{}",
        second.stdout
    );
    let aside: Vec<_> = fs::read_dir(folder.path().join("runs/earlier"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert_eq!(
        fs::read(aside[0].join("mini-sentence.json")).unwrap(),
        first
    );
    let compared = flava_eval(
        folder.path(),
        &["compare", aside[0].to_str().unwrap(), "runs", "--json"],
    );
    assert_eq!(compared.code, 0, "{}", compared.stderr);
    let compared: Value = serde_json::from_str(&compared.stdout).unwrap();
    let value = |bytes: &[u8]| {
        serde_json::from_slice::<Value>(bytes).unwrap()["metrics"][0]["value"]
            .as_f64()
            .unwrap()
    };
    let now = value(&fs::read(folder.path().join("runs/mini-sentence.json")).unwrap());
    assert_eq!(compared["tasks"][0]["first"].as_f64(), Some(value(&first)));
    assert_eq!(compared["tasks"][0]["second"].as_f64(), Some(now));
    assert!(
        (compared["tasks"][0]["difference"]["value"]
            .as_f64()
            .unwrap()
            - (now - value(&first)))
        .abs()
            < 1e-12
    );
}

/// Numbers for names: where both could be meant, logits decide, or the file is refused.
#[test]
fn classes_that_are_called_by_numbers_are_not_guessed() {
    let lab = lab();
    let folder = lab.path();
    let classes: Vec<String> = (0..12).map(|class| class.to_string()).collect();
    let mut sorted = classes.clone();
    sorted.sort();
    for split in ["train", "test"] {
        for class in &classes {
            let path = folder.join("data/own").join(split).join(class);
            fs::create_dir_all(&path).unwrap();
            fs::write(
                path.join("a.png"),
                digit(class.parse::<usize>().unwrap() % 10, 1),
            )
            .unwrap();
        }
    }
    write_task(
        folder,
        &IMAGES.replace("classes = 3", "classes = 12"),
        "format = \"archive\"\nlayout = \"image_folder\"\ntrain = { name = \"train\", rows = 0 }\ntest = { name = \"test\", rows = 0 }",
    );
    let score = |name: &str, text: String| {
        fs::write(folder.join(name), text).unwrap();
        flava_eval(
            folder,
            &[
                "score",
                "--task-file",
                "own.toml",
                "--task",
                "own",
                "--data",
                "data",
                "--predictions",
                name,
                "--json",
            ],
        )
    };
    let index = |class: &String| sorted.iter().position(|other| other == class).unwrap();
    let rows: String = classes
        .iter()
        .map(|class| format!("{class}/a.png,{}\n", index(class)))
        .collect();
    let ambiguous = score("p.csv", format!("id,prediction\n{rows}"));
    assert!(
        ambiguous.code == 2
            && ambiguous
                .stderr
                .contains("may be the class of that name or the class of that number"),
        "{}",
        ambiguous.stderr
    );
    let logits = |class: &String| {
        (0..12)
            .map(|c| if c == index(class) { "1" } else { "0" })
            .collect::<Vec<_>>()
            .join(" ")
    };
    let rows: String = classes
        .iter()
        .map(|class| format!("{class}/a.png,{},{}\n", index(class), logits(class)))
        .collect();
    let decided = score("q.csv", format!("id,prediction,logits\n{rows}"));
    assert_eq!(decided.code, 0, "{}", decided.stderr);
    assert_eq!(
        serde_json::from_str::<Value>(&decided.stdout).unwrap()[0]["value"].as_f64(),
        Some(1.0)
    );
}

/// Names that hold a terminal's commands are written out, on stdout and stderr, and a closed stderr
/// ends nothing.
#[test]
fn talk_is_harmless_and_ends_nothing() {
    let lab = lab();
    let folder = lab.path();
    let name = "red\x1b[2J\nspoof";
    for (split, class) in [
        ("train", "a"),
        ("train", name),
        ("test", "a"),
        ("test", "b"),
    ] {
        let path = folder.join("data/own").join(split).join(class);
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join("x\x1b[31m.png"), digit(1, 1)).unwrap();
    }
    write_task(
        folder,
        &IMAGES.replace("classes = 3", "classes = 2"),
        "format = \"archive\"\nlayout = \"image_folder\"\ntrain = { name = \"train\", rows = 0 }\ntest = { name = \"test\", rows = 0 }",
    );
    for args in [&["--out", "o"][..], &["--dry-run"]] {
        let run = run(folder, args);
        assert_eq!(run.code, 1);
        assert!(
            !run.stderr.contains('\x1b') && !run.stdout.contains('\x1b'),
            "{} {}",
            run.stderr,
            run.stdout
        );
        assert!(!run.stderr.contains("\nspoof") && !run.stdout.contains("\nspoof"));
    }
    fs::create_dir(folder.join("images")).unwrap();
    fs::write(folder.join("images/whole.png"), digit(1, 1)).unwrap();
    fs::write(folder.join("images/bad\x1b[31m\nspoof.png"), "no image").unwrap();
    let embed = |more: &[&str]| {
        flava_eval(
            folder,
            &[
                &["embed", "--images", "images", "--out", "x.safetensors"],
                more,
            ]
            .concat(),
        )
    };
    for run in [embed(&[]), embed(&["--skip-broken"])] {
        assert!(
            run.stderr.contains("bad")
                && !run.stderr.contains('\x1b')
                && !run.stderr.contains("\nspoof"),
            "{}",
            run.stderr
        );
    }
    // A spreadsheet takes no name for a formula.
    fs::rename(folder.join("model"), folder.join("=cmd|x")).unwrap();
    let formula = flava_eval(
        folder,
        &[
            "--model",
            "=cmd|x",
            "--suite",
            "mini",
            "--tasks",
            "mini-sentence",
            "--limit",
            "40",
            "--out",
            "formula",
        ],
    );
    assert_eq!(formula.code, 0, "{}", formula.stderr);
    let csv = fs::read_to_string(folder.join("formula/results.csv")).unwrap();
    assert!(csv.contains("'=cmd|x") && !csv.contains(",=cmd"), "{csv}");
    let recipe = write_tiny_recipe(folder, "");
    for (binary, args) in [
        (
            "flava-eval",
            &[
                "--tasks",
                "mini-sentence",
                "--limit",
                "40",
                "--out",
                "closed",
            ][..],
        ),
        (
            "flava-finetune",
            &[
                "mini-paraphrase-tuned",
                "--limit",
                "40",
                "--set",
                "epochs=1",
                "--out",
                "tuned",
            ],
        ),
        (
            "flava-pretrain",
            &[
                "run",
                recipe.to_str().unwrap(),
                "--out",
                "pretrained",
                "--device",
                "cpu",
            ],
        ),
    ] {
        let mut command = program(binary, folder, &[], args);
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let status = command
            .stderr(writer.try_clone().unwrap())
            .stdout(writer)
            .status()
            .unwrap();
        assert_eq!(status.code(), Some(0), "{binary}");
    }
    assert!(
        folder.join("closed/mini-sentence.json").exists() && folder.join("tuned/best").exists()
    );
    assert!(folder.join("pretrained/model/model.safetensors").exists());
}
