//! Features that another program computed, in place of a model's.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
};

use flava_tasks::{Dataset, Registry, Task};
use safetensors::{Dtype, tensor::TensorView};
use serde_json::{Value, json};
use tempfile::{TempDir, tempdir};

use crate::support::{
    given::{Stored, Table, write_npy, write_tensor},
    place::root,
    program::{Run, command, flava_eval},
};

/// The mini worlds in few rows, one task for each method that reads features.
const TASKS: &str = r#"
[[task]]
name = "few-groups"
classes = 6
metrics = ["accuracy"]
method = { kind = "linear_probe", feature = "image_cls" }
source = [{ format = "mini", world = "groups", train = { name = "learn", rows = 90 }, validation = { name = "tune", rows = 30 }, test = { name = "test", rows = 60 } }]

[[task]]
name = "few-sentences"
classes = 2
metrics = ["accuracy"]
method = { kind = "linear_probe", feature = "text_cls" }
source = [{ format = "mini", world = "sentences", train = { name = "train", rows = 60 }, test = { name = "test", rows = 40 } }]

[[task]]
name = "few-things"
classes = 60
metrics = ["accuracy"]
method = { kind = "knn", feature = "image_cls" }
source = [{ format = "mini", world = "things", train = { name = "train", rows = 120 }, test = { name = "test", rows = 70 } }]

[[task]]
name = "few-shots"
classes = 6
metrics = ["accuracy"]
method = { kind = "few_shot", feature = "image_cls" }
source = [{ format = "mini", world = "groups", train = { name = "draw", rows = 90 }, test = { name = "test", rows = 60 } }]

[[task]]
name = "few-looks"
classes = 2
metrics = ["accuracy"]
method = { kind = "zero_shot", templates = ["{c}", "a picture of {c}"], class_names = ["one", "two"] }
source = [{ folder = "shapes", format = "archive", layout = "image_folder", test = { name = "test", rows = 24 } }]

[[task]]
name = "few-captions"
metrics = ["text_recall@1", "text_recall@5", "image_recall@1", "image_recall@5"]
method = { kind = "retrieval" }
source = [{ format = "mini", world = "captions", test = { name = "test", rows = 40 } }]

[[task]]
name = "few-reranked"
metrics = ["text_recall@1"]
method = { kind = "retrieval", rerank = 4 }
source = [{ format = "mini", world = "captions", test = { name = "test", rows = 40 } }]

[[task]]
name = "few-tuned"
classes = 6
metrics = ["accuracy"]
method = { kind = "fine_tune", feature = "image_cls" }
source = [{ format = "mini", world = "groups", train = { name = "draw", rows = 90 }, test = { name = "test", rows = 60 } }]
"#;

/// What all of them have in common.
const COMMON: &str = r#"
version = 1
suite = "own"
family = "vision"
summary = "A few rows."
chance = 0.1
licence = "Apache-2.0"
citation = "none"
"#;

/// Tasks that given features stand in for the model of.
const MEASURED: [&str; 6] = [
    "few-groups",
    "few-sentences",
    "few-things",
    "few-shots",
    "few-looks",
    "few-captions",
];

fn view<'a>(dtype: Dtype, shape: &[usize], bytes: &'a [u8]) -> TensorView<'a> {
    TensorView::new(dtype, shape.to_vec(), bytes).unwrap()
}

fn tasks_file(folder: &Path) -> PathBuf {
    let path = folder.join("tasks.toml");
    fs::write(
        &path,
        TASKS.replace("[[task]]", &format!("[[task]]{COMMON}")),
    )
    .unwrap();
    path
}

fn task(file: &Path, name: &str) -> Task {
    let mut registry = Registry::built_in().unwrap();
    registry.add_file(file).unwrap();
    registry.get(name).unwrap().clone()
}

/// The captions of the test split, row by row.
fn captions(task: &Task) -> Vec<(String, String)> {
    let source = &task.sources[0];
    let split = task
        .open_split(source, &source.test, Path::new("."), 0)
        .unwrap();
    let dataset = &*split.dataset;
    let of_row = |row: usize| {
        let texts = dataset.texts_of(row).unwrap().into_iter().enumerate();
        let id = Dataset::id(dataset, row);
        texts.map(move |(number, text)| (format!("{id}#{number}"), text))
    };
    (0..dataset.len()).flat_map(of_row).collect()
}

fn ids(split: &str, rows: usize) -> Vec<String> {
    (0..rows).map(|row| format!("{split}-{row}")).collect()
}

/// A model's run, and the same features as another program would have written them.
struct Lab {
    folder: TempDir,
}

impl Lab {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn run(&self, more: &[&str]) -> Run {
        let data = root().join("examples/data").display().to_string();
        let args = [
            "--task-file",
            "tasks.toml",
            "--data",
            &data,
            "--device",
            "cpu",
        ];
        let cache = self.path("cache").display().to_string();
        let variables = [("FLAVA_CACHE", cache.as_str())];
        let args = [&args[..], more].concat();
        command(self.folder.path(), &variables, &args)
            .output()
            .unwrap()
            .into()
    }

    /// Of one task, with given features.
    fn given(&self, task: &str, more: &[&str]) -> Run {
        let args = [
            "--features-from",
            "given",
            "--tasks",
            task,
            "--out",
            "trial",
        ];
        self.run(&[&args[..], more].concat())
    }

    fn refused(&self, task: &str, reason: &str) {
        let run = self.given(task, &[]);
        let (code, stderr) = (run.code, run.stderr);
        assert!(code == 1 && stderr.contains(reason), "{code}: {stderr}");
    }

    fn record(&self, out: &str, task: &str) -> Value {
        let text = fs::read_to_string(self.path(out).join(format!("{task}.json"))).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    fn new() -> Self {
        let lab = Self {
            folder: tempdir().unwrap(),
        };
        tasks_file(lab.folder.path());
        let run = lab.run(&["--tasks", &MEASURED.join(","), "--out", "model"]);
        assert_eq!(run.code, 0, "{}", run.stderr);
        lab.write_given();
        lab
    }

    fn write_given(&self) {
        let stored = Stored::read(&self.path("cache"));
        let given = self.path("given");
        let image = |split: &str, rows| stored.get("image_cls", &format!("{split}: images"), rows);
        let at = |file: &str| given.join(file);
        // By id and shuffled, with rows of nobody among them.
        let (learn, names) = (image("learn", 90), ids("learn", 90));
        let order: Vec<usize> = (0..90).rev().chain([3, 7]).collect();
        let mut shuffled: Vec<String> = order.iter().map(|&row| names[row].clone()).collect();
        (shuffled[90], shuffled[91]) = ("nobody".into(), "no one".into());
        let learn = learn.picked(&order);
        learn.write_safetensors(&at("few-groups/train.safetensors"), Some(&shuffled));
        // numpy's form with ids beside it.
        let order: Vec<usize> = (0..30).map(|row| row * 7 % 30).collect();
        let names: Vec<String> = order.iter().map(|row| format!("tune-{row}\n")).collect();
        image("tune", 30)
            .picked(&order)
            .write_npy(&at("few-groups/validation.npy"));
        fs::write(at("few-groups/validation.ids.txt"), names.concat()).unwrap();
        image("test", 60).write_npy(&at("few-groups/test.npy"));
        for (split, rows) in [("train", 60), ("test", 40)] {
            let file = at(&format!("few-sentences/{split}.npy"));
            stored
                .get("text_cls", &format!("{split}: texts"), rows)
                .write_npy(&file);
        }
        image("draw", 90).write_npy(&at("few-shots/train.npy"));
        image("test", 60).write_npy(&at("few-shots/test.npy"));
        self.write_embeddings(&stored);
        let source = json!({ "name": "other/backbone", "revision": "abc", "transform": "resize 224", "note": "a test", "parameters": 12, "flops_per_row": 3.5 });
        fs::write(at("source.json"), source.to_string()).unwrap();
    }

    /// Of zero-shot classification, retrieval and neighbours.
    fn write_embeddings(&self, stored: &Stored) {
        let given = self.path("given");
        let at = |file: &str| given.join(file);
        let mut classes = stored.get("text_embedding", "prompts: texts", 4);
        classes.shape = vec![2, 2, classes.width()];
        classes.write_safetensors(&at("few-looks/classes.safetensors"), None);
        let looks = stored.get("image_embedding", "test: images", 24);
        looks.write_safetensors(&at("few-looks/test.safetensors"), None);
        let train = stored.get("image_cls", "train: images", 120);
        train.write_safetensors(&at("few-things/train.safetensors"), None);
        let test = stored.get("image_cls", "test: images", 70);
        test.write_safetensors(&at("few-things/test.safetensors"), None);
        let images = stored.get("image_embedding", "test: images", 40);
        images.write_npy(&at("few-captions/images.npy"));
        // The same text is stored once.
        let captions = captions(&task(&self.path("tasks.toml"), "few-captions"));
        let mut distinct: Vec<&str> = Vec::new();
        let mut order = Vec::new();
        for (_, text) in &captions {
            let known = distinct.iter().position(|known| known == text);
            order.push(known.unwrap_or(distinct.len()));
            if known.is_none() {
                distinct.push(text);
            }
        }
        let embeddings = stored.get("text_embedding", "captions: texts", distinct.len());
        let mut names: Vec<String> = captions.into_iter().map(|(id, _)| id).collect();
        names.reverse();
        order.reverse();
        let file = at("few-captions/captions.safetensors");
        embeddings
            .picked(&order)
            .write_safetensors(&file, Some(&names));
    }
}

/// Everything that a number is made of, and nothing of where features came from.
fn scores(record: &Value) -> Vec<(String, f64, f64)> {
    let metrics = record["metrics"].as_array().unwrap().iter();
    let score = |m: &Value| {
        let number = |name: &str| m[name].as_f64().unwrap();
        let name = m["metric"].as_str().unwrap().to_owned();
        (name, number("value"), number("standard_error"))
    };
    metrics.map(score).collect()
}

#[test]
fn given_features_give_the_scores_of_the_model_that_they_are_of() {
    let lab = Lab::new();
    let args = [
        "--features-from",
        "given",
        "--tasks",
        &MEASURED.join(","),
        "--out",
        "theirs",
    ];
    let dry = lab.run(&[&args[..], &["--dry-run"]].concat());
    assert_eq!(dry.code, 0, "{}", dry.stdout);
    for told in [
        "given features of other/backbone in given, on cpu, protocol flava",
        "features: train.safetensors [92, 128] f32 by id, validation.npy [30, 128] f32 by id, test.npy [60, 128] f32 in order",
        "nothing is encoded",
    ] {
        assert!(dry.stdout.contains(told), "{told}: {}", dry.stdout);
    }
    let run = lab.run(&args);
    assert_eq!(run.code, 0, "{}", run.stderr);
    for name in MEASURED {
        let (own, theirs) = (lab.record("model", name), lab.record("theirs", name));
        assert_eq!(scores(&own), scores(&theirs), "{name}");
        assert_eq!(own["train_rows"], theirs["train_rows"]);
        assert_eq!(own["data_fingerprint"], theirs["data_fingerprint"]);
        assert_eq!(own["publishable"], theirs["publishable"]);
    }
    // What is read as it stands gives the same predictions, bit for bit.
    for name in ["few-groups", "few-sentences", "few-things", "few-shots"] {
        let predictions = |out: &str| {
            let file = lab
                .path(out)
                .join("predictions")
                .join(format!("{name}.parquet"));
            fs::read(file).unwrap()
        };
        assert!(predictions("model") == predictions("theirs"), "{name}");
    }
    let record = lab.record("theirs", "few-groups");
    let digest = record["model_fingerprint"].as_str().unwrap();
    for (key, value) in [
        ("model", json!("other/backbone")),
        ("model_revision", json!("abc")),
        ("feature", json!("given")),
        ("initialisation", json!("given")),
        ("precision", json!("f32")),
        ("transform", json!("resize 224")),
        ("parameters", json!(12)),
        ("flops_per_row", json!(3.5)),
        ("publishable", json!(true)),
    ] {
        assert_eq!(record[key], value, "{key}");
    }
    let notes = record["notes"].to_string();
    let origin = format!("features computed elsewhere: other/backbone, digest {digest}");
    assert!(
        notes.contains(&origin) && notes.contains("other/backbone: a test"),
        "{notes}"
    );
    let left_out = "2 rows of train.safetensors have ids of no row, and are left out";
    assert!(notes.contains(left_out), "{notes}");
    assert_eq!(record["details"]["given"][0]["left_out"], 2);
}

#[test]
fn a_changed_file_is_another_number_and_an_unchanged_one_is_not_read_again() {
    let lab = Lab::new();
    let first = lab.given("few-things", &[]);
    assert_eq!(first.code, 0, "{}", first.stderr);
    let key = || lab.record("trial", "few-things")["key"].clone();
    let before = key();
    let again = lab.given("few-things", &[]);
    assert!(
        again.stderr.contains("its record is there already"),
        "{}",
        again.stderr
    );
    // Other times are the same file; another number is another.
    let path = lab.path("given/few-things/test.safetensors");
    let mut bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes).unwrap();
    assert_eq!(lab.given("few-things", &[]).code, 0);
    assert_eq!(key(), before);
    let end = bytes.len() - 2;
    bytes[end] ^= 1;
    fs::write(&path, &bytes).unwrap();
    assert_eq!(lab.given("few-things", &[]).code, 0);
    assert_ne!(key(), before);
    // So is another who computed them.
    let (source, middle) = (lab.path("given/source.json"), key());
    let text = fs::read_to_string(&source).unwrap();
    fs::write(&source, text.replace("resize 224", "resize 336")).unwrap();
    assert_eq!(lab.given("few-things", &[]).code, 0);
    assert_ne!(key(), middle);
}

#[test]
fn samples_and_other_methods_read_the_same_files() {
    let lab = Lab::new();
    for (more, name) in [
        (&["--limit", "50"][..], "few-things"),
        (&["--method", "knn", "--limit", "50"], "few-groups.knn"),
        (&["--limit", "20"], "few-captions"),
    ] {
        let task = name.split('.').next().unwrap();
        let own = lab.run(&[&["--tasks", task, "--out", "own", "--again"], more].concat());
        let theirs = lab.given(task, &[&["--again"], more].concat());
        assert!(
            own.code == 0 && theirs.code == 0,
            "{}{}",
            own.stderr,
            theirs.stderr
        );
        let (own, theirs) = (lab.record("own", name), lab.record("trial", name));
        for what in ["data_fingerprint", "train_rows", "rows_of"] {
            assert_eq!(own[what], theirs[what], "{name}: {what}");
        }
        // Rows alone and among others differ by rounding: a row may flip.
        let (own, theirs) = (&scores(&own)[0], &scores(&theirs)[0]);
        assert!(
            (own.1 - theirs.1).abs() <= 1.01 / 20.0,
            "{name}: {own:?} {theirs:?}"
        );
    }
}

#[test]
fn what_needs_the_model_itself_is_refused_and_the_others_go_on() {
    let lab = Lab::new();
    let run = lab.given("few-tuned,few-reranked,few-sentences", &[]);
    assert_eq!(run.code, 1, "{}", run.stderr);
    for reason in [
        "few-tuned fine-tunes the model itself",
        "few-reranked ranks with the model's matching head",
    ] {
        assert!(run.stderr.contains(reason), "{reason}: {}", run.stderr);
    }
    assert_eq!(lab.record("trial", "few-sentences")["feature"], "given");
    for option in [
        &["--model", "x"][..],
        &["--precision", "bf16"],
        &["--features", "image_mean"],
        &["--store", "f16"],
        &["--skip-broken"],
    ] {
        let run = lab.given("few-sentences", option);
        let told = run.stderr.contains("cannot be used with");
        assert!(run.code == 2 && told, "{option:?}: {}", run.stderr);
    }
    let run = flava_eval(lab.folder.path(), &["--features-from", "nowhere"]);
    assert!(
        run.code == 2 && run.stderr.contains("there is no such folder"),
        "{}",
        run.stderr
    );
    let source = lab.path("given/source.json");
    for (text, reason) in [
        ("{}", "missing field `name`"),
        (r#"{"name": " ", "transform": ""}"#, "the name is empty"),
        (
            r#"{"name": "a", "transform": "", "width": 3}"#,
            "unknown field `width`",
        ),
        (
            r#"{"name": "a", "transform": "", "flops_per_row": -1}"#,
            "no number of operations",
        ),
    ] {
        fs::write(&source, text).unwrap();
        let run = lab.given("few-sentences", &[]);
        assert!(
            run.code == 2 && run.stderr.contains(reason),
            "{text}: {}",
            run.stderr
        );
    }
}

#[test]
fn files_that_do_not_fit_their_rows_are_refused_by_name() {
    let lab = Lab::new();
    let at = |file: &str| lab.path("given").join(file);
    let test = Stored::read(&lab.path("cache")).get("text_cls", "test: texts", 40);
    let (path, all) = (at("few-sentences/test.npy"), ids("test", 40));
    let names = at("few-sentences/test.ids.txt");
    let order: Vec<usize> = (0..39).collect();
    test.picked(&order).write_npy(&path);
    lab.refused(
        "few-sentences",
        "test.npy: has 39 rows and no ids, for the 40 rows of the split test",
    );
    fs::write(&names, all[..39].join("\n")).unwrap();
    lab.refused(
        "few-sentences",
        "test.npy: lacks 1 of 40 ids of the split test, such as \"test-39\"",
    );
    test.write_npy(&path);
    lab.refused("few-sentences", "test.npy: has 39 ids for 40 rows");
    fs::write(&names, [&all[..39], &all[..1]].concat().join("\n")).unwrap();
    lab.refused(
        "few-sentences",
        "test.npy: rows 0 and 39 (from 0) have the same id \"test-0\"",
    );
    fs::remove_file(&names).unwrap();
    let narrow = Table {
        shape: vec![40, test.width() / 2],
        values: test.values[..20 * test.width()].to_vec(),
    };
    narrow.write_npy(&path);
    lab.refused(
        "few-sentences",
        "test.npy: has 64 numbers a row, train.npy has 128",
    );
    for bad in [f32::NAN, f32::INFINITY] {
        let mut damaged = test.clone();
        damaged.values[7 * test.width() + 5] = bad;
        damaged.write_npy(&path);
        lab.refused(
            "few-sentences",
            "test.npy: row 7 (from 0): a number of it is not finite",
        );
    }
    test.write_safetensors(&at("few-sentences/test.safetensors"), None);
    lab.refused(
        "few-sentences",
        "test.safetensors and test.npy: which is meant?",
    );
    fs::remove_file(at("few-sentences/test.safetensors")).unwrap();
    fs::remove_file(&path).unwrap();
    lab.refused(
        "few-sentences",
        "holds neither test.safetensors nor test.npy",
    );
    let dry = lab.given("few-sentences", &["--dry-run"]);
    let told =
        "not ready: mini (drawn): 60 train, 40 test; features: given/few-sentences: holds neither";
    assert!(dry.code == 1 && dry.stdout.contains(told), "{}", dry.stdout);
    // Files are called by what the split is for.
    fs::rename(
        at("few-groups/train.safetensors"),
        at("few-groups/learn.safetensors"),
    )
    .unwrap();
    lab.refused(
        "few-groups",
        "split learn is the task's train: call the file so",
    );
    fs::remove_dir_all(at("few-shots")).unwrap();
    lab.refused("few-shots", "given has no folder few-shots");
    let classes = at("few-looks/classes.safetensors");
    let bytes = fs::read(&classes).unwrap();
    let three = Table {
        shape: vec![3, 2],
        values: vec![1.0; 6],
    };
    three.write_safetensors(&classes, None);
    lab.refused(
        "few-looks",
        "classes.safetensors: has 3 rows and no ids, for the 2 rows of the classes",
    );
    let names = ["two".to_owned(), "three".to_owned(), "four".to_owned()];
    three.write_safetensors(&classes, Some(&names));
    lab.refused(
        "few-looks",
        "lacks 1 of 2 ids of the classes, such as \"one\"",
    );
    fs::write(&classes, bytes).unwrap();
    let looks = at("few-looks/test.safetensors");
    Table {
        shape: vec![24, 2, 48],
        values: vec![1.0; 24 * 96],
    }
    .write_safetensors(&looks, None);
    lab.refused("few-looks", "no table [rows, width]");
}

#[test]
fn hostile_files_are_refused_before_anything_is_allocated() {
    let lab = Lab::new();
    let at = |file: &str| lab.path("given").join(file);
    let path = at("few-sentences/test.npy");
    let numbers = [0u8; 40 * 4];
    for (kind, shape, reason) in [
        ("'|O'", "(40, 1)", "pickled objects"),
        ("'<i8'", "(40, 1)", "holds <i8: features are f32"),
        ("'>f4'", "(40, 1)", "holds >f4"),
        ("'<f4'", "(40,)", "no table [rows, width]"),
        ("'<f4'", "(0, 40)", "160 bytes too many"),
        ("'<f4'", "(40, 99999999999)", "is cut off"),
        ("'<f4'", "(9999999999999, 9999999999999)", "shape"),
        ("'<f4'", "(40, 2)", "is cut off"),
        ("'<f2'", "(40, 1)", "80 bytes too many"),
        ("[('a', '<f4')]", "(40, 1)", "no plain array"),
    ] {
        write_npy(&path, kind, shape, &numbers);
        lab.refused("few-sentences", reason);
        assert!(
            lab.given("few-sentences", &[])
                .stderr
                .contains("test.npy: "),
            "{reason}"
        );
    }
    fs::write(&path, b"\x80\x04\x95").unwrap();
    lab.refused("few-sentences", "is no file of numpy");
    fs::remove_file(&path).unwrap();
    let path = at("few-sentences/test.safetensors");
    write_tensor(&path, "cls", view(Dtype::F32, &[40, 1], &numbers), None);
    lab.refused("few-sentences", "has no tensor features (but cls)");
    write_tensor(
        &path,
        "features",
        view(Dtype::I32, &[40, 1], &numbers),
        None,
    );
    lab.refused("few-sentences", "test.safetensors: holds I32");
    let head = r#"{"features": {"dtype": "F32", "shape": [40, 99999999], "data_offsets": [0, 15999999840]}}"#;
    let forged = [
        &(head.len() as u64).to_le_bytes(),
        head.as_bytes(),
        &numbers,
    ]
    .concat();
    fs::write(&path, forged).unwrap();
    lab.refused(
        "few-sentences",
        "15999999840 bytes of tensors are announced, 160 are there",
    );
    fs::write(&path, u64::MAX.to_le_bytes()).unwrap();
    lab.refused("few-sentences", "is cut off, or no safetensors file");
    for length in [0, 5] {
        fs::write(&path, &numbers[..length]).unwrap();
        lab.refused("few-sentences", "is cut off");
    }
    let metadata = HashMap::from([("ids".to_owned(), "[1, 2]".to_owned())]);
    let tensor = view(Dtype::F32, &[40, 1], &numbers);
    let file = safetensors::serialize([("features", tensor)], Some(metadata)).unwrap();
    fs::write(&path, file).unwrap();
    lab.refused(
        "few-sentences",
        "the ids of its metadata are no JSON list of texts",
    );
}

#[test]
fn other_kinds_of_numbers_are_read_and_a_board_holds_both() {
    let lab = Lab::new();
    let at = |file: &str| lab.path("given").join(file);
    let stored = Stored::read(&lab.path("cache"));
    for (split, rows) in [("train", 60), ("test", 40)] {
        let table = stored.get("text_cls", &format!("{split}: texts"), rows);
        let wide: Vec<u8> = table
            .values
            .iter()
            .flat_map(|v| f64::from(*v).to_le_bytes())
            .collect();
        let shape = format!("({rows}, {})", table.width());
        write_npy(
            &at(&format!("few-sentences/{split}.npy")),
            "'<f8'",
            &shape,
            &wide,
        );
    }
    assert_eq!(lab.given("few-sentences", &[]).code, 0);
    let (own, theirs) = (
        lab.record("model", "few-sentences"),
        lab.record("trial", "few-sentences"),
    );
    assert_eq!(scores(&own), scores(&theirs));
    assert_eq!(theirs["precision"], "f64");
    for (split, rows) in [("train", 60), ("test", 40)] {
        let table = stored.get("text_cls", &format!("{split}: texts"), rows);
        fs::remove_file(at(&format!("few-sentences/{split}.npy"))).unwrap();
        // bfloat16 is the upper half of f32.
        let half = |v: &f32| v.to_le_bytes()[2..].to_vec();
        let half: Vec<u8> = table.values.iter().flat_map(half).collect();
        let path = at(&format!("few-sentences/{split}.safetensors"));
        write_tensor(
            &path,
            "features",
            view(Dtype::BF16, &table.shape, &half),
            None,
        );
    }
    assert_eq!(lab.given("few-sentences", &["--again"]).code, 0);
    assert_eq!(lab.record("trial", "few-sentences")["precision"], "bf16");
    // One row for the model, one for all tasks of the backbone.
    let run = lab.run(&[
        "--features-from",
        "given",
        "--tasks",
        "few-groups,few-things",
        "--out",
        "theirs",
    ]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let run = lab.run(&["--tasks", "few-groups,few-things", "--out", "own"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let args = ["leaderboard", "own", "theirs", "--format", "csv"];
    let board = flava_eval(lab.folder.path(), &args);
    assert_eq!(board.code, 0, "{}", board.stderr);
    assert_eq!(board.stdout.trim().lines().count(), 3, "{}", board.stdout);
}
