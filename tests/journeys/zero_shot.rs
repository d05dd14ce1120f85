//! Zero-shot classification: where class names and templates come from, and what is done about a wrong order.

use std::{fs, path::Path};

use flava_model::checkpoint::Architecture;
use serde_json::Value;
use tempfile::{TempDir, tempdir};

use crate::support::{
    fixtures::{digits, write_model, write_named_parquet, write_webdataset},
    program::{Run, flava_eval},
};

const NAMES: [&str; 10] = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"];

fn write_prompts(folder: &Path, names: &[&str]) {
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join("classnames.txt"), names.join("\n") + "\n").unwrap();
    fs::write(folder.join("zeroshot_classification_templates.txt"), "a photo of {c}.\na {c}\n").unwrap();
}

fn lab() -> TempDir {
    let folder = tempdir().unwrap();
    write_model(&folder.path().join("model"), Architecture::FlavaForPreTraining);
    folder
}

fn run(folder: &Path, more: &[&str]) -> Run {
    let args = ["--model", "model", "--data", "data", "--tasks", "mnist-zero-shot", "--allow-mismatch", "--json", "--quiet"];
    flava_eval(folder, &[&args[..], more].concat())
}

fn notes(run: &Run) -> String {
    serde_json::from_str::<Value>(&run.stdout).unwrap_or_else(|e| panic!("{e}: {}", run.stderr))[0]["notes"].to_string()
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
    assert!(test["shuffled"].as_f64().unwrap() < 0.5 && test["orders"].as_u64() == Some(20), "{test}");
    assert_eq!(records[0]["details"]["prompts_per_class"], 2);
    // A random model cannot tell digits: its note says so.
    let as_good = test["orders_as_good"].as_u64().unwrap();
    assert_eq!(notes(&run).contains("class names in a random order score as well"), as_good > 2, "{test}");
}

#[test]
fn names_of_another_repository_must_not_stand_in_another_order() {
    let folder = lab();
    let data = folder.path().join("data");
    write_named_parquet(&data.join("ylecun/mnist/mnist/test-00000-of-00001.parquet"), "image", &digits(60), &NAMES);
    let without = run(folder.path(), &[]);
    assert!(without.code == 1 && without.stderr.contains("--prompts"), "{}", without.stderr);
    write_prompts(&data.join("clip-benchmark/wds_mnist"), &NAMES);
    let right = run(folder.path(), &[]);
    assert!(right.code == 0 && notes(&right).contains("class names and templates of clip-benchmark/wds_mnist"), "{}", right.stderr);
    let mut exchanged = NAMES;
    exchanged.swap(2, 7);
    write_prompts(&data.join("clip-benchmark/wds_mnist"), &exchanged);
    let wrong = run(folder.path(), &[]);
    assert!(wrong.code == 1 && wrong.stderr.contains("class 2 is \"seven\" among the names and \"two\" in the data"), "{}", wrong.stderr);
    write_prompts(&data.join("clip-benchmark/wds_mnist"), &NAMES[..9]);
    assert!(run(folder.path(), &[]).stderr.contains("9 class names for 10 classes"));
    // A user's own come first.
    write_prompts(&folder.path().join("own/mnist-zero-shot"), &NAMES);
    let own = run(folder.path(), &["--prompts", "own"]);
    assert!(own.code == 0 && notes(&own).contains("class names and templates of own/mnist-zero-shot"), "{}", own.stderr);
}
