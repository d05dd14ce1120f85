//! An evaluation in several processes: the bytes of one, whoever dies.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use flava_model::checkpoint::Architecture;
use tempfile::tempdir;

use crate::support::{
    fixtures::{digits, write_data, write_model, write_parquet},
    processes::{child_of, signal},
    program::{Run, command, program},
};

/// Tasks of several methods; all but the last read images, whose features are shared.
const TASKS: &str = "mini-groups,mini-things-knn,mini-zero-shot,mini-retrieval,mini-sentence";

fn evaluation(folder: &Path, more: &[&str]) -> Command {
    let cache = folder.join("cache").display().to_string();
    // Sums depend on the number of threads by rounding.
    let args = [
        "--tasks",
        TASKS,
        "--threads",
        "1",
        "--limit",
        "700",
        "--device",
        "cpu",
        "--out",
        "runs",
    ];
    let args: Vec<&str> = args.into_iter().chain(more.iter().copied()).collect();
    command(folder, &[("FLAVA_CACHE", &cache)], &args)
}

fn run(folder: &Path, more: &[&str]) -> Run {
    evaluation(folder, more).output().unwrap().into()
}

/// What a run and its store hold, but for times, logs, and what a killed process was writing.
fn written(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    let mut folders = vec![folder.join("runs/predictions"), folder.join("cache")];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_none_or(|ending| ending != "part") {
                let name = path.strip_prefix(folder).unwrap().display().to_string();
                all.insert(name, fs::read(path).unwrap());
            }
        }
    }
    let table = "runs/results.csv";
    all.insert(table.to_owned(), fs::read(folder.join(table)).unwrap());
    all
}

fn assert_same(folder: &Path, as_one: &BTreeMap<String, Vec<u8>>) {
    let found = written(folder);
    assert!(found.keys().eq(as_one.keys()), "{:?}", found.keys());
    for (name, bytes) in as_one {
        assert!(found[name] == *bytes, "{name} differs");
    }
}

fn one_process() -> BTreeMap<String, Vec<u8>> {
    let folder = tempdir().unwrap();
    let one = run(folder.path(), &[]);
    assert_eq!(one.code, 0, "{}", one.stderr);
    written(folder.path())
}

fn start(folder: &Path, processes: &str) -> Child {
    evaluation(folder, &["--processes", processes])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Waits until a process of the run has made something that the others read.
fn wait_for_features(folder: &Path) {
    let since = Instant::now();
    let is_there = || {
        let store = fs::read_dir(folder.join("cache/features"));
        store.is_ok_and(|mut entries| entries.next().is_some())
    };
    while !is_there() && since.elapsed() < Duration::from_mins(1) {
        sleep(Duration::from_millis(20));
    }
}

#[test]
fn three_processes_write_what_one_does_and_so_do_those_that_lose_one() {
    let as_one = one_process();
    let folder = tempdir().unwrap();
    let three = run(folder.path(), &["--processes", "3"]);
    assert_eq!(three.code, 0, "{}", three.stderr);
    assert!(three.stdout.contains("mini-sentence"), "{}", three.stdout);
    assert_same(folder.path(), &as_one);

    let folder = tempdir().unwrap();
    let parent = start(folder.path(), "3");
    wait_for_features(folder.path());
    signal(child_of(parent.id(), 2), "KILL");
    let killed = Run::from(parent.wait_with_output().unwrap());
    assert_eq!(killed.code, 0, "{}", killed.stderr);
    for told in [
        "process 2 on ",
        " was ended by signal 9; the others go on without it",
    ] {
        assert!(killed.stderr.contains(told), "{}", killed.stderr);
    }
    assert_same(folder.path(), &as_one);
}

/// Rows of parquet, several blocks of them, and of shards.
#[test]
fn files_of_rows_are_shared_too() {
    let folder = tempdir().unwrap();
    let data = folder.path().join("data");
    write_model(&folder.path().join("model"), Architecture::FlavaModel);
    write_data(&data);
    let train = data.join("ylecun/mnist/mnist/train-00000-of-00001.parquet");
    write_parquet(&train, "image", &digits(2700), 300);
    let measure = |out: &str, more: &[&str]| {
        let cache = folder.path().join(format!("cache-{out}"));
        let cache = cache.display().to_string();
        let args = [
            "--model",
            "model",
            "--data",
            "data",
            "--tasks",
            "mnist,cifar10",
        ];
        let run = [
            "--allow-mismatch",
            "--threads",
            "1",
            "--device",
            "cpu",
            "--out",
            out,
        ];
        let args: Vec<&str> = args.iter().chain(&run).chain(more).copied().collect();
        let measured = command(folder.path(), &[("FLAVA_CACHE", &cache)], &args).output();
        let measured = Run::from(measured.unwrap());
        assert_eq!(measured.code, 0, "{}", measured.stderr);
        let mut files = vec![fs::read(folder.path().join(out).join("results.csv")).unwrap()];
        for task in ["mnist", "cifar10"] {
            let predictions = format!("{out}/predictions/{task}.parquet");
            files.push(fs::read(folder.path().join(predictions)).unwrap());
        }
        files
    };
    assert!(measure("one", &[]) == measure("three", &["--processes", "3"]));
}

/// Whatever ends the launcher or process 0, nobody is left, and the same command goes on.
#[test]
fn processes_end_with_those_that_they_belong_to() {
    let as_one = one_process();
    for (rank, how, code) in [(None, "INT", 130), (Some(0), "KILL", 137)] {
        let folder = tempdir().unwrap();
        let parent = start(folder.path(), "2");
        let [first, second] = [0, 1].map(|rank| child_of(parent.id(), rank));
        wait_for_features(folder.path());
        signal(rank.map_or(parent.id(), |_| first), how);
        let ended = Run::from(parent.wait_with_output().unwrap());
        assert_eq!(ended.code, code, "{how}: {}", ended.stderr);
        for process in [first, second] {
            let left = Path::new(&format!("/proc/{process}")).exists();
            assert!(!left, "process {process} is left after {how}");
        }
        let again = run(folder.path(), &["--processes", "2"]);
        assert_eq!(again.code, 0, "{}", again.stderr);
        assert_same(folder.path(), &as_one);
    }
}

/// Two processes that srun would start: process 0 serves their store, and nothing is kept of
/// features where they are not to be stored.
#[test]
fn a_step_of_slurm_shares_its_work_without_a_cache() {
    let as_one = one_process();
    let folder = tempdir().unwrap();
    // A job's number gives the port: one that no other test on this machine takes.
    let job = format!("{}", std::process::id());
    let step = |rank: &str| {
        let mut process = evaluation(folder.path(), &["--no-cache"]);
        let variables = [
            ("SLURM_JOB_ID", job.as_str()),
            ("SLURM_JOB_NAME", "evaluation"),
            ("SLURM_STEP_ID", "0"),
            ("SLURM_STEP_NUM_TASKS", "2"),
            ("SLURM_STEP_NODELIST", "localhost"),
            ("SLURM_STEP_TASKS_PER_NODE", "2"),
            ("SLURM_NODEID", "0"),
            ("SLURM_PROCID", rank),
            ("SLURM_LOCALID", rank),
        ];
        process
            .envs(variables)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        process.spawn().unwrap()
    };
    let processes = ["0", "1"].map(step);
    for process in processes {
        let run = Run::from(process.wait_with_output().unwrap());
        assert_eq!(run.code, 0, "{}", run.stderr);
    }
    assert!(!folder.path().join("cache/features").exists());
    assert!(!folder.path().join("runs/.features").exists());
    for (name, bytes) in as_one.iter().filter(|(name, _)| name.starts_with("runs/")) {
        assert!(
            fs::read(folder.path().join(name)).unwrap() == *bytes,
            "{name} differs"
        );
    }
}

#[test]
fn what_a_launcher_says_is_checked() {
    let folder = tempdir().unwrap();
    let of_two = [
        ("RANK", "1"),
        ("WORLD_SIZE", "2"),
        ("LOCAL_RANK", "1"),
        ("LOCAL_WORLD_SIZE", "2"),
        ("MASTER_ADDR", "127.0.0.1"),
    ];
    let mut lacking = command(folder.path(), &of_two, &["--tasks", "mini-groups"]);
    let lacking = Run::from(lacking.output().unwrap());
    assert_eq!(lacking.code, 2);
    let told = "MASTER_PORT is not set: the launcher sets it";
    assert!(lacking.stderr.contains(told), "{}", lacking.stderr);
    let unknown = [("FLAVA_COLLECTIVES", "mpi")];
    let args = ["mini-paraphrase-tuned", "--processes", "2"];
    let unknown = program("flava-finetune", folder.path(), &unknown, &args).output();
    let unknown = Run::from(unknown.unwrap());
    assert_eq!(unknown.code, 2);
    let told = "FLAVA_COLLECTIVES is \"mpi\", and neither gloo nor nccl";
    assert!(unknown.stderr.contains(told), "{}", unknown.stderr);
}

/// Three seeds by two processes are those of one.
#[test]
fn seeds_of_a_training_are_shared_out() {
    let folder = tempdir().unwrap();
    let train = |out: &str, more: &[&str]| {
        let args = ["mini-paraphrase-tuned", "--seeds", "3", "--limit", "96"];
        let recipe = ["--set", "epochs=1", "--threads", "1", "--out", out];
        let args: Vec<&str> = args.iter().chain(&recipe).chain(more).copied().collect();
        let output = program("flava-finetune", folder.path(), &[], &args).output();
        let run = Run::from(output.unwrap());
        assert_eq!(run.code, 0, "{}", run.stderr);
        run.stdout
    };
    let (one, two) = (train("one", &[]), train("two", &["--processes", "2"]));
    let summary = |text: &str| text.lines().last().unwrap().to_owned();
    assert!(summary(&one).contains("3 seeds"), "{one}");
    assert_eq!(summary(&one), summary(&two));
    for seed in 0..3 {
        let weights = |out: &str| {
            let file = format!("{out}/seed-{seed}/best/model.safetensors");
            fs::read(folder.path().join(file)).unwrap()
        };
        assert!(weights("one") == weights("two"), "seed {seed}");
    }
}
