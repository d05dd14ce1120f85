//! Zero-shot classification: where class names and templates come from, and what is done about a
//! wrong order.

use std::{fs, path::Path};

use flava_model::checkpoint::Architecture;
use serde_json::Value;
use tempfile::{TempDir, tempdir};

use crate::support::{
    fixtures::{digits, write_model, write_named_parquet, write_webdataset},
    program::{Run, flava_eval},
};

const NAMES: [&str; 10] = [
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine",
];

fn write_prompts(folder: &Path, names: &[&str]) {
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join("classnames.txt"), names.join("\n") + "\n").unwrap();
    fs::write(
        folder.join("zeroshot_classification_templates.txt"),
        "a photo of {c}.\na {c}\n",
    )
    .unwrap();
}

fn lab() -> TempDir {
    let folder = tempdir().unwrap();
    write_model(
        &folder.path().join("model"),
        Architecture::FlavaForPreTraining,
    );
    folder
}

fn run(folder: &Path, more: &[&str]) -> Run {
    let args = [
        "--model",
        "model",
        "--data",
        "data",
        "--tasks",
        "mnist-zero-shot",
        "--allow-mismatch",
        "--json",
        "--quiet",
    ];
    flava_eval(folder, &[&args[..], more].concat())
}

fn first(run: &Run) -> Value {
    serde_json::from_str::<Value>(&run.stdout).unwrap_or_else(|e| panic!("{e}: {}", run.stderr))[0]
        .clone()
}

/// Where class names and templates came from.
fn origin(run: &Run) -> String {
    first(run)["details"]["prompts"]["from"].to_string()
}

#[test]
fn names_beside_the_shards_are_used_and_their_order_is_tested() {
    let folder = lab();
    let root = folder.path().join("data/clip-benchmark/wds_mnist");
    write_webdataset(&root.join("test"), &digits(60), 60);
    write_prompts(&root, &NAMES);
    let run = run(folder.path(), &[]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let records: Value = serde_json::from_str(&run.stdout).unwrap();
    let test = &records[0]["details"]["class_order"];
    assert_eq!(test["accuracy"], records[0]["metrics"][0]["value"]);
    assert!(
        test["shuffled"].as_f64().unwrap() < 0.5 && test["orders"].as_u64() == Some(20),
        "{test}"
    );
    assert_eq!(records[0]["details"]["prompts_per_class"], 2);
    // A random model cannot tell digits: its note says so.
    let as_good = test["orders_as_good"].as_u64().unwrap();
    assert_eq!(
        first(&run)["notes"]
            .to_string()
            .contains("class names in a random order score as well"),
        as_good > 2,
        "{test}"
    );
}

#[test]
fn names_of_another_repository_must_not_stand_in_another_order() {
    let folder = lab();
    let data = folder.path().join("data");
    write_named_parquet(
        &data.join("ylecun/mnist/mnist/test-00000-of-00001.parquet"),
        "image",
        &digits(60),
        &NAMES,
    );
    let without = run(folder.path(), &[]);
    assert!(
        without.code == 1 && without.stderr.contains("--prompts"),
        "{}",
        without.stderr
    );
    write_prompts(&data.join("clip-benchmark/wds_mnist"), &NAMES);
    let right = run(folder.path(), &[]);
    assert!(
        right.code == 0 && origin(&right) == "\"clip-benchmark/wds_mnist\"",
        "{}",
        right.stderr
    );
    let mut exchanged = NAMES;
    exchanged.swap(2, 7);
    write_prompts(&data.join("clip-benchmark/wds_mnist"), &exchanged);
    let wrong = run(folder.path(), &[]);
    assert!(
        wrong.code == 1
            && wrong.stderr.contains(
                "(2 differ): \"seven\" is class 2 among the names and class 7 in the data"
            ),
        "{}",
        wrong.stderr
    );
    // Cleaned names are other words: what they share is compared.
    let mut cleaned = exchanged;
    cleaned[5] = "a five";
    write_prompts(&data.join("clip-benchmark/wds_mnist"), &cleaned);
    assert!(
        run(folder.path(), &[])
            .stderr
            .contains("different orders (2 differ)")
    );
    write_prompts(&data.join("clip-benchmark/wds_mnist"), &NAMES[..9]);
    assert!(
        run(folder.path(), &[])
            .stderr
            .contains("9 class names for 10 classes")
    );
    // A user's own come first.
    write_prompts(&folder.path().join("own/mnist-zero-shot"), &NAMES);
    let own = run(folder.path(), &["--prompts", "own"]);
    assert!(
        own.code == 0
            && origin(&own) == "\"own/mnist-zero-shot\""
            && first(&own)["details"]["prompts"]["digest"] != Value::Null,
        "{}",
        own.stderr
    );
}
