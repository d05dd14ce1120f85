//! From nothing to a checkpoint: all stages, killed and gone on, measured on the way, read by the
//! other programs.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use flava_base::{replace_file, restore_folder, stream};
use flava_results::PAPER_COLUMNS;
use rand::Rng;
use serde_json::Value;
use tempfile::tempdir;

use crate::support::{
    program::{Run, command, limited, program},
    recipes::write_tiny_recipe,
};

const KILLS: usize = 8;

fn pretrain(folder: &Path, args: &[&str]) -> Command {
    program(
        "flava-pretrain",
        folder,
        &[],
        &[args, &["--device", "cpu"]].concat(),
    )
}

fn run(folder: &Path, args: &[&str]) -> Run {
    pretrain(folder, args).output().unwrap().into()
}

/// The files below a folder that say what was made, by their paths; records of evaluations, which
/// tell the time, apart.
fn made(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(folder).unwrap().display().to_string();
            if path.is_dir() && !path.ends_with("evaluations") {
                folders.push(path);
            } else if [".safetensors", ".bin", ".json", ".txt", "key"]
                .iter()
                .any(|ending| name.ends_with(ending))
            {
                found.insert(name, fs::read(path).unwrap());
            }
        }
    }
    found
}

/// Steps that the logs of all stages tell of.
fn steps_in_logs(out: &Path) -> usize {
    let log = |stage: &str| {
        fs::read_to_string(out.join(stage).join("log.jsonl")).map_or(0, |log| log.lines().count())
    };
    ["codebook", "text", "image", "joint"]
        .into_iter()
        .map(log)
        .sum()
}

/// Killed at random moments in every stage, a run ends with the bytes of one that was left alone.
#[test]
fn a_pretraining_that_is_killed_ends_as_if_it_had_not_been() {
    let (whole, killed) = (tempdir().unwrap(), tempdir().unwrap());
    let more =
        r#"joint.evaluate = { every = 3, tasks = "mini-retrieval", best_by = "mini-retrieval" }"#;
    for folder in [&whole, &killed] {
        write_tiny_recipe(folder.path(), more);
    }
    let args = [
        "run",
        "tiny.toml",
        "--out",
        "out",
        "--set",
        "joint.schedule.keep=2",
    ];
    let first = run(whole.path(), &args);
    assert_eq!(first.code, 0, "{}", first.stderr);
    assert_eq!(first.stdout.trim(), "out/model");
    let mut rng = stream(3, "moments of killing");
    let out = killed.path().join("out");
    let mut in_its_midst = 0;
    for _ in 0..KILLS {
        let goal = steps_in_logs(&out) + rng.random_range(1..=4);
        let mut process = pretrain(killed.path(), &args)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        while steps_in_logs(&out) < goal && process.try_wait().unwrap().is_none() {
            thread::sleep(Duration::from_millis(2));
        }
        thread::sleep(Duration::from_secs_f64(rng.random_range(0.0..0.05)));
        in_its_midst += usize::from(process.try_wait().unwrap().is_none());
        process.kill().unwrap();
        process.wait().unwrap();
    }
    assert!(
        in_its_midst > KILLS / 2,
        "{in_its_midst} runs were in their midst"
    );
    let last = run(killed.path(), &args);
    assert_eq!(last.code, 0, "{}", last.stderr);
    let (whole, killed) = (
        made(&whole.path().join("out")),
        made(&killed.path().join("out")),
    );
    assert!(
        whole.keys().eq(killed.keys()),
        "{:?} and {:?}",
        whole.keys(),
        killed.keys()
    );
    for stage in ["codebook", "text", "image", "joint"] {
        assert!(
            whole.contains_key(&format!("{stage}/last/optimiser.safetensors")),
            "{stage}"
        );
    }
    for (name, bytes) in whole {
        assert!(bytes == killed[&name], "{name} differs");
    }
}

/// A disk that fills while a state is saved leaves the one before, from which the same command goes
/// on once there is room.
#[test]
fn a_full_disk_leaves_the_state_before() {
    let (whole, full) = (tempdir().unwrap(), tempdir().unwrap());
    for folder in [&whole, &full] {
        write_tiny_recipe(folder.path(), "");
    }
    let args = [
        "run",
        "tiny.toml",
        "--out",
        "out",
        "--set",
        "text.schedule.steps=60",
    ];
    assert_eq!(run(whole.path(), &args).code, 0);
    let state = full.path().join("out/text/last/training_state.json");
    let mut process = pretrain(full.path(), &args)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    while !state.exists() {
        assert!(
            process.try_wait().unwrap().is_none(),
            "it ended before it saved"
        );
        thread::sleep(Duration::from_millis(2));
    }
    process.kill().unwrap();
    process.wait().unwrap();
    restore_folder(&full.path().join("out/text/last")); // it may have been killed between two renames
    let before = made(&full.path().join("out/text/last"));
    let refused: Run = limited("trap '' XFSZ; ulimit -f 40", &pretrain(full.path(), &args))
        .output()
        .unwrap()
        .into();
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    assert!(
        refused.stderr.contains("out/text/last") && refused.stderr.contains("File too large"),
        "{}",
        refused.stderr
    );
    assert!(
        made(&full.path().join("out/text/last")) == before,
        "the state before is whole"
    );
    let last = run(full.path(), &args);
    assert_eq!(last.code, 0, "{}", last.stderr);
    assert!(
        made(&whole.path().join("out")) == made(&full.path().join("out")),
        "it ends with the same bytes"
    );
}

#[test]
fn ctrl_c_saves_and_the_same_command_goes_on() {
    let folder = tempdir().unwrap();
    write_tiny_recipe(folder.path(), "");
    let args = [
        "run",
        "tiny.toml",
        "--out",
        "out",
        "--set",
        "text.schedule.steps=4000",
    ];
    let mut process = pretrain(folder.path(), &args)
        .stderr(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    while !folder.path().join("out/text/last").exists() {
        thread::sleep(Duration::from_millis(5));
    }
    // The signal must not come to a thread that computes: it would spoil the heap now and then.
    let status = fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
    let blocked = status
        .lines()
        .find_map(|line| line.strip_prefix("SigBlk:"))
        .unwrap()
        .trim();
    assert_eq!(
        u64::from_str_radix(blocked, 16).unwrap() & 0b10,
        0b10,
        "the first thread takes Ctrl-C: {blocked}"
    );
    Command::new("kill")
        .args(["-INT", &process.id().to_string()])
        .status()
        .unwrap();
    assert_eq!(process.wait().unwrap().code(), Some(130));
    let state: Value = serde_json::from_str(
        &fs::read_to_string(folder.path().join("out/text/last/training_state.json")).unwrap(),
    )
    .unwrap();
    let step = state["step"].as_u64().unwrap();
    assert!(step > 0 && step < 4000);
    let other = run(
        folder.path(),
        &[
            "run",
            "tiny.toml",
            "--out",
            "out",
            "--set",
            "text.schedule.steps=5",
        ],
    );
    assert_eq!(other.code, 2);
    assert!(
        other
            .stderr
            .contains("other settings (stage.schedule.steps was 4000, is 5)"),
        "{}",
        other.stderr
    );
}

/// The best state is chosen by a task of flava-eval, old states are kept by number, and the other
/// programs read the result. A state that is not as it was written is refused with what to do; as
/// it was, the training goes on.
#[test]
fn damaged_states_are_refused_with_what_to_do() {
    let folder = tempdir().unwrap();
    let recipe = write_tiny_recipe(folder.path(), "");
    let args = ["run", recipe.to_str().unwrap(), "--out", "out"];
    let first = run(folder.path(), &args);
    assert_eq!(first.code, 0, "{}", first.stderr);
    let last = folder.path().join("out/joint/last");
    for file in [
        "model.safetensors",
        "training_state.json",
        "optimiser.safetensors",
    ] {
        let path = last.join(file);
        let whole = fs::read(&path).unwrap();
        let mut tail = whole.clone();
        let from = tail.len() - tail.len().min(4096) / 2;
        tail[from..].fill(0);
        let mut bit = whole.clone();
        *bit.last_mut().unwrap() ^= 1;
        for damaged in [tail, bit, whole[..whole.len() / 2].to_vec()] {
            fs::write(&path, damaged).unwrap();
            let refused = run(folder.path(), &args);
            let told = refused.stderr.contains(file)
                && refused.stderr.contains("remove")
                && refused.stderr.contains("out/joint/last");
            assert!(refused.code != 0 && told, "{file}: {}", refused.stderr);
        }
        fs::write(&path, whole).unwrap();
    }
    assert_eq!(run(folder.path(), &args).code, 0);
}

#[test]
fn a_model_is_measured_while_it_is_trained() {
    let folder = tempdir().unwrap();
    let more = r#"joint.evaluate = { every = 4, tasks = "mini-things-knn,mini-retrieval", best_by = "mini-retrieval" }"#;
    write_tiny_recipe(folder.path(), more);
    let run = run(
        folder.path(),
        &[
            "run",
            "tiny.toml",
            "--out",
            "out",
            "--set",
            "joint.schedule.keep=2",
            "--micro-batch",
            "3",
        ],
    );
    assert_eq!(run.code, 0, "{}", run.stderr);
    let log = fs::read_to_string(folder.path().join("out/joint/log.jsonl")).unwrap();
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let evaluated: Vec<&Value> = lines
        .iter()
        .filter(|line| line["kind"] == "evaluation")
        .collect();
    assert_eq!(
        evaluated
            .iter()
            .map(|line| line["step"].as_u64().unwrap())
            .collect::<Vec<_>>(),
        [4, 8, 9]
    );
    assert!(evaluated[0]["mini-things-knn"].is_f64() && evaluated[0]["mini-retrieval"].is_f64());
    let trained = lines.iter().rfind(|line| line["kind"] == "train").unwrap();
    for name in [
        "loss",
        "gradient_norm",
        "rows_per_s",
        "logit_scale",
        "share_of_peak",
        "peak_memory_mb",
    ] {
        assert!(trained[name].is_number(), "{name} in {trained}");
    }
    for name in ["best/model.safetensors", "step-6", "step-8"] {
        assert!(
            folder.path().join("out/joint").join(name).exists(),
            "{name}"
        );
    }
    assert!(!folder.path().join("out/joint/step-4").exists());
    // A program that was killed after its last step, before the last measurement, measures and
    // chooses when it runs again.
    let last = folder.path().join("out/joint/last/training_state.json");
    let whole = fs::read_to_string(&last).unwrap();
    let mut state: Value = serde_json::from_str(&whole).unwrap();
    (state["evaluated"], state["best"]) = (8.into(), Value::Null);
    replace_file(
        &folder.path().join("out/joint/last"),
        "training_state.json",
        state.to_string().as_bytes(),
    )
    .unwrap();
    fs::remove_dir_all(folder.path().join("out/joint/best")).unwrap();
    let again = self::run(
        folder.path(),
        &[
            "run",
            "tiny.toml",
            "--out",
            "out",
            "--set",
            "joint.schedule.keep=2",
            "--micro-batch",
            "3",
        ],
    );
    assert_eq!(again.code, 0, "{}", again.stderr);
    let state: Value = serde_json::from_str(&fs::read_to_string(&last).unwrap()).unwrap();
    assert!(state["evaluated"] == 9 && state["best"][0] == 9, "{state}");
    assert!(
        folder
            .path()
            .join("out/joint/best/model.safetensors")
            .exists()
    );
    let eval = [
        "--model",
        "out/model",
        "--tasks",
        "mini-sentence",
        "--device",
        "cpu",
        "--limit",
        "50",
    ];
    let eval: Run = command(folder.path(), &[], &eval).output().unwrap().into();
    assert_eq!(eval.code, 0, "{}", eval.stderr);
}

/// Every column of the paper at the size of a test.
#[test]
fn every_recipe_runs() {
    let folder = tempdir().unwrap();
    write_tiny_recipe(folder.path(), "");
    let tiny = fs::read_to_string(folder.path().join("tiny.toml")).unwrap();
    for column in PAPER_COLUMNS {
        fs::write(
            folder.path().join("column.toml"),
            tiny.replace(
                "extends = \"mini\"",
                &format!("extends = \"mini-{column}\""),
            ),
        )
        .unwrap();
        let run = run(
            folder.path(),
            &["run", "column.toml", "--out", column, "--quiet"],
        );
        assert_eq!(run.code, 0, "{column}: {}", run.stderr);
        assert!(
            folder
                .path()
                .join(column)
                .join("model/model.safetensors")
                .exists(),
            "{column}"
        );
    }
}
