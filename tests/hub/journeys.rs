//! Runs that fetch their model and data from a Hub.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use flava_model::checkpoint::Architecture;
use flava_tasks::Registry;
use serde_json::Value;
use tempfile::{TempDir, tempdir};

use crate::support::{
    fixtures::{digits, write_model, write_parquet},
    hub_server::{FaultKind, HubServer, ServedRepo, TOKEN},
    program::{Run, command},
};

const RUN: [&str; 7] = [
    "--model",
    "lab/flava",
    "--tasks",
    "mnist,cifar10",
    "--allow-mismatch",
    "--limit",
    "50",
];

/// A Hub with a model and two data sets at the commits that the registry pins, and a folder to run
/// in.
struct Lab {
    server: HubServer,
    folder: TempDir,
}

impl Lab {
    fn new(change: impl FnOnce(&mut ServedRepo)) -> Self {
        let made = tempdir().unwrap();
        write_model(
            &made.path().join("model"),
            Architecture::FlavaForPreTraining,
        );
        let registry = Registry::built_in().unwrap();
        let data = |task: &str, image: &str| {
            let source = &registry.get(task).unwrap().sources[0];
            let root = made.path().join(&source.repo);
            for (split, count) in [(source.train.as_ref().unwrap(), 120), (&source.test, 60)] {
                write_parquet(
                    &root.join(split.files.replace('*', "00000-of-00001")),
                    image,
                    &digits(count),
                    50,
                );
            }
            fs::write(root.join("README.md"), "---\nlicense: mit\n---\n").unwrap();
            fs::write(root.join("unneeded.parquet"), vec![0; 100_000]).unwrap();
            ServedRepo {
                pinned: Some(source.revision.clone()),
                ..ServedRepo::of(&root)
            }
        };
        let (mut mnist, cifar) = (data("mnist", "image"), data("cifar10", "img"));
        change(&mut mnist);
        let model = ServedRepo::of(&made.path().join("model"));
        let server = HubServer::start([
            ("models/lab/flava", model),
            ("datasets/ylecun/mnist", mnist),
            ("datasets/uoft-cs/cifar10", cifar),
        ]);
        Self {
            server,
            folder: tempdir().unwrap(),
        }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn run_with(&self, more: &[(&str, &str)], args: &[&str]) -> Run {
        let (endpoint, home, cache) = (
            self.server.endpoint(),
            self.path().join("hf"),
            self.path().join("cache"),
        );
        let own = [
            ("HF_ENDPOINT", endpoint.as_str()),
            ("HF_HOME", home.to_str().unwrap()),
            ("FLAVA_CACHE", cache.to_str().unwrap()),
        ];
        let variables = [&own[..], more].concat();
        command(self.path(), &variables, args)
            .output()
            .unwrap()
            .into()
    }

    fn run(&self, args: &[&str]) -> Run {
        self.run_with(&[], args)
    }

    /// Fetched parts that are not whole, anywhere below a folder.
    fn incomplete(&self) -> Vec<(PathBuf, u64)> {
        let blobs = self.path().join("hf/hub/datasets--ylecun--mnist/blobs");
        let entries = fs::read_dir(blobs).into_iter().flatten().flatten();
        let parts = entries.filter(|entry| {
            entry
                .path()
                .extension()
                .is_some_and(|ending| ending == "incomplete")
        });
        parts
            .map(|entry| (entry.path(), entry.metadata().map_or(0, |meta| meta.len())))
            .collect()
    }
}

fn scores(folder: &Path) -> Vec<Value> {
    let read = |task: &str| {
        serde_json::from_str::<Value>(
            &fs::read_to_string(folder.join(format!("{task}.json"))).unwrap(),
        )
        .unwrap()
    };
    ["mnist", "cifar10"]
        .map(|task| read(task)["metrics"].clone())
        .into()
}

#[test]
fn a_run_fetches_what_it_needs_and_then_needs_no_network() {
    let lab = Lab::new(|_| {});
    let run = lab.run(&[&RUN[..], &["--out", "first"]].concat());
    assert_eq!(run.code, 0, "{}", run.stderr);
    let seen = lab.server.take_seen();
    assert!(
        seen.iter().any(|s| s.path.contains("model.safetensors"))
            && !seen.iter().any(|s| s.path.contains("unneeded"))
    );
    let record: Value =
        serde_json::from_str(&fs::read_to_string(lab.path().join("first/mnist.json")).unwrap())
            .unwrap();
    assert_eq!(
        record["data_revision"],
        "77f3279092a1c1579b2250db8eafed0ad422088c"
    );
    assert_eq!(
        (
            record["model"].as_str(),
            record["model_revision"].as_str().map(str::len)
        ),
        (Some("lab/flava"), Some(40))
    );
    assert_eq!(
        (
            record["publishable"].as_bool(),
            record["mismatches"].as_array().map(Vec::len)
        ),
        (Some(false), Some(2))
    );
    // All is there: the second run asks nobody, and one without a network gives the same.
    assert_eq!(lab.run(&[&RUN[..], &["--out", "second"]].concat()).code, 0);
    let nowhere = [
        ("HF_ENDPOINT", "http://127.0.0.1:9"),
        ("HF_HUB_OFFLINE", "1"),
    ];
    let offline = lab.run_with(&nowhere, &[&RUN[..], &["--out", "third"]].concat());
    assert_eq!(offline.code, 0, "{}", offline.stderr);
    assert!(lab.server.take_seen().is_empty());
    let first = scores(&lab.path().join("first"));
    assert!(
        first == scores(&lab.path().join("second")) && first == scores(&lab.path().join("third"))
    );
}

#[test]
fn a_download_that_is_killed_goes_on_where_it_ended() {
    let lab = Lab::new(|mnist| {
        // Larger than what is sent before the program is killed.
        let noise = (0..2_000_000u32)
            .map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8)
            .collect();
        mnist
            .files
            .insert("mnist/train-00000-of-00001.parquet".into(), noise);
    });
    lab.server.fault("mnist_train", 1, FaultKind::Slow(400_000));
    let fetch = ["fetch", "--tasks", "mnist", "--quiet"];
    let (endpoint, home) = (lab.server.endpoint(), lab.path().join("hf"));
    let variables = [
        ("HF_ENDPOINT", endpoint.as_str()),
        ("HF_HOME", home.to_str().unwrap()),
    ];
    let mut child = command(lab.path(), &variables, &fetch)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let start = Instant::now();
    while !lab.incomplete().iter().any(|(_, size)| *size > 300_000) {
        assert!(
            start.elapsed() < Duration::from_mins(1),
            "nothing is fetched"
        );
        thread::sleep(Duration::from_millis(20));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(lab.incomplete().len(), 1);
    lab.server.take_seen();
    let run = lab.run(&fetch);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let ranges: Vec<String> = lab
        .server
        .take_seen()
        .into_iter()
        .filter_map(|s| s.range)
        .collect();
    let start: usize = ranges[0]
        .trim_start_matches("bytes=")
        .trim_end_matches('-')
        .parse()
        .unwrap();
    assert!(ranges.len() <= 2 && start > 300_000, "{ranges:?}");
    assert!(lab.incomplete().is_empty());
}

/// What a killed run left half fetched is no data set: the next run fetches the rest.
#[test]
fn a_run_completes_what_an_earlier_one_left() {
    let lab = Lab::new(|_| {});
    assert_eq!(lab.run(&["fetch", "--tasks", "mnist", "--quiet"]).code, 0);
    let snapshot = lab.path().join(
        "hf/hub/datasets--ylecun--mnist/snapshots/77f3279092a1c1579b2250db8eafed0ad422088c/mnist",
    );
    let test = snapshot.join("test-00000-of-00001.parquet");
    let blob = test.canonicalize().unwrap();
    fs::remove_file(&test).unwrap();
    fs::rename(&blob, blob.with_extension("incomplete")).unwrap();
    let run = lab.run(&[
        "--model",
        "lab/flava",
        "--tasks",
        "mnist",
        "--allow-mismatch",
        "--limit",
        "50",
    ]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(test.exists());
}

/// A bundle that is fetched again at a later commit leaves the cache as it was, and what it seals
/// is what it holds.
#[test]
fn bundles_and_the_cache_do_not_share_files() {
    let lab = Lab::new(|_| {});
    assert_eq!(lab.run(&["fetch", "--tasks", "mnist", "--quiet"]).code, 0);
    assert_eq!(
        lab.run(&["fetch", "--tasks", "mnist", "--to", "b", "--quiet"])
            .code,
        0
    );
    let readme = lab.path().join("b/ylecun/mnist/README.md");
    let cached = lab.path().join("hf/hub/datasets--ylecun--mnist/snapshots/77f3279092a1c1579b2250db8eafed0ad422088c/README.md");
    let before = fs::read(&cached).unwrap();
    fs::write(&readme, vec![b'x'; before.len()]).unwrap();
    assert_eq!(fs::read(&cached).unwrap(), before);
    // The same size, other content: fetched again.
    assert_eq!(
        lab.run(&["fetch", "--tasks", "mnist", "--to", "b", "--quiet"])
            .code,
        0
    );
    assert_eq!(fs::read(&readme).unwrap(), before);
}

#[test]
fn a_bundle_is_carried_to_a_machine_without_a_network() {
    let lab = Lab::new(|_| {});
    let fetch = [
        "fetch",
        "--tasks",
        "mnist,cifar10",
        "--model",
        "lab/flava",
        "--to",
        "bundle",
    ];
    let said = lab.run(&[&fetch[..], &["--dry-run"]].concat());
    assert!(
        said.code == 0 && said.stderr.contains("ylecun/mnist at 77f32790: 3 files"),
        "{}",
        said.stderr
    );
    assert!(
        !lab.path().join("bundle").exists(),
        "saying fetches nothing"
    );
    let run = lab.run(&fetch);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let manifest: Value =
        serde_json::from_str(&fs::read_to_string(lab.path().join("bundle/manifest.json")).unwrap())
            .unwrap();
    assert_eq!(manifest["tasks"]["mnist"]["splits"]["train"], 60000);
    assert_eq!(
        manifest["files"]["ylecun/mnist/README.md"]["sha256"]
            .as_str()
            .unwrap()
            .len(),
        64
    );
    let notice = fs::read_to_string(lab.path().join("bundle/NOTICE.md")).unwrap();
    assert!(notice.contains("LeCun et al. 1998") && notice.contains("CC BY-SA 3.0"));
    // Elsewhere: another home, no network.
    let elsewhere = tempdir().unwrap();
    fs::rename(lab.path().join("bundle"), elsewhere.path().join("bundle")).unwrap();
    let run = |args: &[&str]| -> Run {
        command(elsewhere.path(), &[("HF_HOME", "none")], args)
            .output()
            .unwrap()
            .into()
    };
    let offline = ["--data", "bundle", "--offline", "--out", "runs"];
    let evaluated = run(&[&RUN[..], &offline].concat());
    assert_eq!(evaluated.code, 0, "{}", evaluated.stderr);
    let record: Value = serde_json::from_str(
        &fs::read_to_string(elsewhere.path().join("runs/mnist.json")).unwrap(),
    )
    .unwrap();
    assert_eq!(
        record["data_revision"],
        "77f3279092a1c1579b2250db8eafed0ad422088c"
    );
    let verified = run(&["verify", "--data", "bundle", "--tasks", "mnist"]);
    assert!(
        verified.code == 1 && !verified.stdout.contains("broken file"),
        "{}",
        verified.stdout
    );
    let shard = elsewhere
        .path()
        .join("bundle/uoft-cs/cifar10/plain_text/test-00000-of-00001.parquet");
    let mut bytes = fs::read(&shard).unwrap();
    bytes[100] ^= 1;
    fs::remove_file(&shard).unwrap();
    fs::write(&shard, bytes).unwrap();
    let verified = run(&["verify", "--data", "bundle", "--tasks", "mnist"]);
    assert!(
        verified
            .stdout
            .contains("broken file: uoft-cs/cifar10/plain_text/test"),
        "{}",
        verified.stdout
    );
}

#[test]
fn one_refused_repository_does_not_stop_the_others_and_no_token_is_told() {
    let lab = Lab::new(|mnist| mnist.gated = true);
    let run = lab.run(&[&RUN[..], &["--out", "runs"]].concat());
    assert_eq!(run.code, 1, "{}", run.stderr);
    assert!(
        run.stderr.contains("task mnist")
            && run.stderr.contains("is gated")
            && lab.path().join("runs/cifar10.json").exists()
    );
    let run = lab.run_with(
        &[("HF_TOKEN", TOKEN)],
        &[&RUN[..], &["--out", "with-token", "--json"]].concat(),
    );
    assert_eq!(run.code, 0, "{}", run.stderr);
    let files = fs::read_dir(lab.path().join("with-token"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file());
    let records = files.map(|path| fs::read_to_string(path).unwrap());
    assert!(
        [run.stdout, run.stderr]
            .into_iter()
            .chain(records)
            .all(|text| !text.contains(TOKEN))
    );
    // The token file that `hf auth login` writes does as well.
    fs::write(lab.path().join("hf/token"), format!("{TOKEN}\n")).unwrap();
    assert_eq!(lab.run(&["fetch", "--tasks", "mnist", "--to", "b"]).code, 0);
}

#[test]
fn a_hub_that_cannot_be_reached_is_waited_for_once() {
    let folder = tempdir().unwrap();
    let start = Instant::now();
    let run = command(
        folder.path(),
        &[("HF_HOME", "none"), ("HF_ENDPOINT", "http://127.0.0.1:9")],
        &["fetch", "--tasks", "glue,mnist,cars"],
    );
    let run = Run::from({ run }.output().unwrap());
    assert!(
        run.code == 1 && run.stderr.matches("is there a network?").count() == 10,
        "{}",
        run.stderr
    );
    assert!(
        start.elapsed() < Duration::from_secs(30),
        "ten tasks wait together, not one after the other"
    );
}

#[test]
fn what_is_not_there_is_said_without_a_network() {
    let folder = tempdir().unwrap();
    let run = |args: &[&str]| -> Run {
        command(
            folder.path(),
            &[("HF_HOME", "none"), ("HF_HUB_OFFLINE", "1")],
            args,
        )
        .output()
        .unwrap()
        .into()
    };
    let model = run(&["--model", "lab/flava", "--tasks", "mnist"]);
    assert!(
        model.code == 2
            && model
                .stderr
                .contains("lab/flava is not in the cache none/hub"),
        "{}",
        model.stderr
    );
    let data = run(&["--tasks", "mnist,mini-sentence", "--limit", "60"]);
    assert!(
        data.code == 1 && data.stderr.contains("none of ylecun/mnist"),
        "{}",
        data.stderr
    );
    let fetch = run(&["fetch", "--tasks", "mnist"]);
    assert!(
        fetch.code == 1 && fetch.stderr.contains("the network is switched off"),
        "{}",
        fetch.stderr
    );
    let name = run(&["--model", "no such folder", "--tasks", "mnist"]);
    assert!(
        name.code == 2 && name.stderr.contains("is no folder, and no owner/name"),
        "{}",
        name.stderr
    );
}

/// Reviews in parquet, as `datasets` pushes them.
fn reviews(path: &Path, rows: usize) {
    let text = (0..rows).map(|row| format!("a {} film {row}", ["dull", "fine"][row % 2]));
    let label = (0..rows).map(|row| ["bad", "good"][row % 2]);
    let columns: [(&str, arrow_array::ArrayRef); 2] = [
        (
            "text",
            Arc::new(arrow_array::StringArray::from_iter_values(text)),
        ),
        (
            "label",
            Arc::new(arrow_array::StringArray::from_iter_values(label)),
        ),
    ];
    let batch = arrow_array::RecordBatch::try_from_iter(columns).unwrap();
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let file = fs::File::create(path).unwrap();
    let mut writer = parquet::arrow::ArrowWriter::try_new(file, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

#[test]
fn a_repository_is_a_source_by_its_name_alone() {
    let made = tempdir().unwrap();
    let root = made.path().join("reviews");
    reviews(&root.join("data/train-00000-of-00001.parquet"), 60);
    reviews(&root.join("data/validation-00000-of-00001.parquet"), 20);
    let converted = made.path().join("converted");
    reviews(&converted.join("default/train/0000.parquet"), 60);
    let script = ServedRepo {
        files: [("script.py".to_owned(), b"x".to_vec())].into(),
        converted: ServedRepo::of(&converted).files,
        ..ServedRepo::default()
    };
    let partial = made.path().join("partial");
    reviews(&partial.join("default/partial-train/0000.parquet"), 60);
    let begun = ServedRepo {
        converted: ServedRepo::of(&partial).files,
        ..script.clone()
    };
    let server = HubServer::start([
        ("datasets/lab/reviews", ServedRepo::of(&root)),
        ("datasets/lab/script", script),
        ("datasets/lab/begun", begun),
    ]);
    let lab = Lab {
        server,
        folder: tempdir().unwrap(),
    };
    let task = |repo: &str, more: &str| {
        let text = format!(
            "[[task]]\nname = \"films\"\nmethod = \"linear_probe\"\nsource = {{ repo = \"lab/{repo}\"{more} }}\n"
        );
        fs::write(lab.path().join("films.toml"), text).unwrap();
        lab.run(&["--task-file", "films.toml", "--out", repo, "--json"])
    };
    for (repo, files, train) in [
        ("reviews", "data/train-*.parquet", None),
        ("script", "default/train/*.parquet", None),
    ] {
        let run = task(repo, "");
        assert_eq!(run.code, 0, "{}", run.stderr);
        let records: Value = serde_json::from_str(&run.stdout).unwrap();
        let notes = records[0]["notes"].to_string();
        assert!(notes.contains(files), "{notes}");
        assert!(train.is_none_or(|train: u64| records[0]["train_rows"] == train));
        assert!(
            records[0]["data_revision"]
                .as_str()
                .is_some_and(|id| id.len() == 40),
            "{records}"
        );
    }
    let run = task("reviews", ", train = \"train\", test = \"validation\"");
    let records: Value =
        serde_json::from_str(&run.stdout).unwrap_or_else(|e| panic!("{e}: {}", run.stderr));
    assert_eq!(records[0]["metrics"][0]["n"], 20);
    let run = task("reviews", ", train = \"train\", test = \"tset\"");
    assert!(
        run.stderr.contains("has no split \"tset\""),
        "{}",
        run.stderr
    );
    let run = task("begun", "");
    assert!(
        run.stderr.contains("only the beginning of split train"),
        "{}",
        run.stderr
    );
}

#[test]
fn renamed_files_of_a_registrys_row_are_read_from_the_converted_branch() {
    let lab = Lab::new(|mnist| {
        let files = std::mem::take(&mut mnist.files);
        for (path, bytes) in files {
            let name = path.rsplit('/').next().unwrap();
            if let Some((split, _)) = name.split_once("-00000") {
                mnist
                    .converted
                    .insert(format!("default/{split}/0000.parquet"), bytes.clone());
                mnist.files.insert(format!("new/{split}.arrow"), bytes);
            } else {
                mnist.files.insert(path, bytes);
            }
        }
    });
    let run = lab.run(&[&RUN[..], &["--out", "first"]].concat());
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(
        run.stderr.contains("refs/convert/parquet"),
        "{}",
        run.stderr
    );
    let record = fs::read_to_string(lab.path().join("first/mnist.json")).unwrap();
    assert!(
        record.contains("the rows are those of refs/convert/parquet"),
        "{record}"
    );
    let offline = lab.run_with(
        &[("HF_HUB_OFFLINE", "1")],
        &[&RUN[..], &["--out", "second"]].concat(),
    );
    assert_eq!(offline.code, 0, "{}", offline.stderr);
    assert_eq!(
        scores(&lab.path().join("first")),
        scores(&lab.path().join("second"))
    );
}
