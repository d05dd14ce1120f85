//! Trainings in several processes of which one fails: all end, say why, and go on from the last state.

use std::{
    fs,
    net::TcpListener,
    path::Path,
    process::{Child, Command},
    thread,
    time::{Duration, Instant},
};

use flava_base::stream;
use rand::Rng;
use serde_json::Value;
use tempfile::tempdir;

use crate::support::{
    processes::{child_of, signal},
    program::{Run, limited},
    recipes::{write_short_recipe, write_tiny_recipe},
    trainings::{
        SMOOTH, STAGES, assert_same_losses, ends, free_port, losses, pretrain, run, start, tasks,
        wait_for_steps, weights,
    },
};

/// Some seconds of a training that can be disturbed.
const LONG: [&str; 2] = ["--set", "joint.schedule.steps=80"];
/// How long what is said of a failure may take to reach all processes, on a machine that is busy.
const SOON: Duration = Duration::from_secs(25);

fn args<'a>(out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&SMOOTH[..], &LONG, &["--out", out], more].concat()
}

fn untouched(_rank: usize, command: Command) -> Command {
    command
}

/// One line that is an error.
fn error_of(ended: &Run) -> &str {
    let mut errors = ended
        .stderr
        .lines()
        .filter(|line| line.starts_with("error: "));
    let error = errors.next().unwrap_or_default();
    assert_eq!(errors.next(), None, "{}", ended.stderr);
    assert!(!ended.stderr.contains("frame #"), "{}", ended.stderr);
    error
}

/// What a disturbed training left goes on in one process, with the losses of one that was left alone.
fn goes_on(folder: &Path, out: &str, whole: &[f64]) {
    let last = run(folder, &args(out, &[]));
    assert_eq!(last.code, 0, "{out}: {}", last.stderr);
    assert_same_losses(whole, &losses(&folder.join(out), "joint"), out);
}

fn left_alone(folder: &Path) -> Vec<f64> {
    write_short_recipe(folder);
    // The codebook of one process would name other words where two are equally near.
    let whole = run(folder, &args("whole", &["--processes", "2"]));
    assert_eq!(whole.code, 0, "{}", whole.stderr);
    losses(&folder.join("whole"), "joint")
}

/// Sends one of two processes a signal, and looks how the other ends.
struct Disturbed<'a> {
    signal: &'a str,
    rank: usize,
    /// Longest time until the other has ended.
    within: Duration,
    variables: &'a [(&'a str, &'a str)],
}

impl Disturbed<'_> {
    fn assert_that_it_ends_the_other(&self, folder: &Path, out: &str) {
        let with_variables = |_, mut command: Command| {
            command.envs(self.variables.iter().copied());
            command
        };
        let mut both = tasks(folder, 2, &args(out, &[]), with_variables);
        wait_for_steps(&folder.join(out), "joint", 3);
        let since = Instant::now();
        let mut disturbed = both.remove(self.rank);
        signal(disturbed.id(), self.signal);
        let other = ends(both).remove(0);
        let took = since.elapsed();
        disturbed.kill().unwrap();
        disturbed.wait().unwrap();
        assert!(took < self.within, "{out}: {took:?}");
        assert_eq!(other.code, 2, "{out}: {}", other.stderr);
        let named = format!("process {} on ", self.rank);
        assert!(error_of(&other).contains(&named), "{out}: {}", other.stderr);
    }
}

/// A process that is gone or does not answer ends the other, whether it keeps the store or not.
#[test]
fn a_process_that_is_gone_ends_the_other() {
    let folder = tempdir().unwrap();
    let whole = left_alone(folder.path());
    let impatient = [("FLAVA_TIMEOUT", "3")];
    // Twenty seconds without a word, and what a busy machine takes.
    let silence = Duration::from_secs(50);
    let disturb = |signal, rank, within, variables: &[(&str, &str)]| {
        let out = format!("{signal} {rank} {}", variables.len());
        let disturbed = Disturbed {
            signal,
            rank,
            within,
            variables,
        };
        disturbed.assert_that_it_ends_the_other(folder.path(), &out);
        goes_on(folder.path(), &out, &whole);
    };
    thread::scope(|scope| {
        let disturb = &disturb;
        for rank in [0, 1] {
            scope.spawn(move || disturb("STOP", rank, silence, &[]));
        }
        scope.spawn(|| {
            disturb("KILL", 0, SOON, &[]);
            disturb("KILL", 1, SOON, &[]);
            disturb("ABRT", 1, SOON, &[]);
            disturb("STOP", 1, SOON, &impatient);
        });
    });
}

/// An error of one is what all say: here of a full disk, whoever writes to it.
#[test]
fn an_error_of_one_ends_all_with_its_words() {
    let folder = tempdir().unwrap();
    let whole = left_alone(folder.path());
    for (full, shard, kilobytes) in [(0, "none", 40), (1, "full", 10)] {
        let limit = format!("trap '' XFSZ; ulimit -f {kilobytes}");
        let limited = |rank, command| {
            if rank == full {
                limited(&limit, &command)
            } else {
                command
            }
        };
        let args = args(shard, &["--shard", shard]);
        let both = tasks(folder.path(), 2, &args, untouched);
        wait_for_steps(&folder.path().join(shard), "joint", 3);
        signal(both[1].id(), "INT");
        ends(both);
        let since = Instant::now();
        let both = ends(tasks(folder.path(), 2, &args, limited));
        assert!(since.elapsed() < 2 * SOON, "{:?}", since.elapsed());
        for ended in &both {
            let told = &ended.stderr;
            assert_eq!(ended.code, 2, "{told}");
            assert!(error_of(ended).contains("File too large"), "{told}");
        }
        let named = format!("process {full} on ");
        assert!(error_of(&both[1 - full]).contains(&named), "{shard}");
        goes_on(folder.path(), shard, &whole);
    }
}

/// Pictures that are damaged under one process alone end all, which say whose they were.
#[test]
fn data_that_breaks_under_one_ends_all() {
    let folder = tempdir().unwrap();
    write_short_recipe(folder.path());
    let path = folder.path().join("tiny.toml");
    let corpora = "[corpora]\nphotos = { format = \"image_folder\", path = \"photos\" }\n";
    let recipe = fs::read_to_string(&path).unwrap();
    let recipe = recipe.replace("[corpora]\n", corpora);
    fs::write(path, recipe).unwrap();
    let photos = ["0", "1"].map(|rank| folder.path().join(rank).join("photos"));
    let photo = |of: &Path, number: u8| of.join(format!("{number}.png"));
    for of in &photos {
        fs::create_dir_all(of).unwrap();
        for number in 0..50 {
            let colour = image::Rgb([number * 5, 100, 200 - number]);
            let picture = image::RgbImage::from_pixel(40, 40, colour);
            picture.save(photo(of, number)).unwrap();
        }
    }
    let with_own = |rank: usize, mut command: Command| {
        command.arg("--data").arg(rank.to_string());
        command
    };
    let mixture = r#"joint.mixture=[{corpus="photos", ratio=1.0, rows="images"}]"#;
    let args = args(
        "out",
        &["--set", mixture, "--set", "joint.schedule.steps=2000"],
    );
    let both = tasks(folder.path(), 2, &args, with_own);
    wait_for_steps(&folder.path().join("out"), "joint", 3);
    for number in 0..50 {
        fs::write(photo(&photos[1], number), "no picture").unwrap();
    }
    let since = Instant::now();
    for ended in ends(both) {
        assert_eq!(ended.code, 2, "{}", ended.stderr);
        let error = error_of(&ended);
        assert!(
            error.contains("process 1") && error.contains(".png of photos"),
            "{error}"
        );
    }
    assert!(since.elapsed() < SOON, "{:?}", since.elapsed());
}

/// Where one has too little memory, all end: whether it says so or is ended for it.
#[test]
fn a_process_that_is_short_of_memory_ends_all() {
    let folder = tempdir().unwrap();
    write_short_recipe(folder.path());
    let both = tasks(folder.path(), 2, &args("small", &[]), untouched);
    wait_for_steps(&folder.path().join("small"), "joint", 3);
    let size = virtual_kilobytes(both[1].id());
    signal(both[0].id(), "INT");
    ends(both);
    let large = args("large", &["--set", "joint.schedule.batch_size=1000"]);
    // So much that a small batch fits, and a large one does not.
    let limit = format!("ulimit -v {}", size + (16 << 10));
    let short = |rank, command| match rank {
        1 => limited(&limit, &command),
        _ => command,
    };
    let since = Instant::now();
    let both = ends(tasks(folder.path(), 2, &large, short));
    assert!(since.elapsed() < 3 * SOON, "{:?}", since.elapsed());
    assert_ne!(both[1].code, 0, "{}", both[1].stderr);
    assert_eq!(both[0].code, 2, "{}", both[0].stderr);
    assert!(error_of(&both[0]).contains("process 1 on "));
}

/// The address space of a process.
fn virtual_kilobytes(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmPeak:"));
    let size = line.and_then(|line| line.split_whitespace().next());
    size.unwrap().parse().unwrap()
}

/// Told to stop, whoever is told: all save and end.
#[test]
fn a_process_that_is_told_to_stop_stops_all() {
    let folder = tempdir().unwrap();
    let whole = left_alone(folder.path());
    for (name, told) in [
        ("INT", &[1][..]),
        ("TERM", &[0]),
        ("USR1", &[1]),
        ("INT", &[0, 1]),
    ] {
        let out = format!("{name} {told:?}");
        let both = tasks(folder.path(), 2, &args(&out, &[]), untouched);
        wait_for_steps(&folder.path().join(&out), "joint", 3);
        let since = Instant::now();
        for rank in told {
            signal(both[*rank].id(), name);
        }
        for ended in ends(both) {
            assert_eq!(ended.code, 130, "{out}: {}", ended.stderr);
        }
        assert!(since.elapsed() < SOON, "{out}: {:?}", since.elapsed());
        let state = folder
            .path()
            .join(&out)
            .join("joint/last/training_state.json");
        let state: Value = serde_json::from_str(&fs::read_to_string(state).unwrap()).unwrap();
        assert!(state["step"].as_u64().unwrap() >= 3, "{state}");
        goes_on(folder.path(), &out, &whole);
    }
}

fn is_there(process: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    !status.is_empty() && !status.contains("State:\tZ")
}

fn launched(folder: &Path, out: &str) -> (Child, [u32; 2]) {
    let parent = start(&mut pretrain(
        folder,
        &[],
        &args(out, &["--processes", "2"]),
    ));
    wait_for_steps(&folder.join(out), "joint", 3);
    let children = [0, 1].map(|rank| child_of(parent.id(), rank));
    (parent, children)
}

/// Whatever ends the launcher, none of its processes is left.
#[test]
fn a_launcher_leaves_no_process_behind() {
    let folder = tempdir().unwrap();
    let whole = left_alone(folder.path());
    for (out, signals) in [
        ("killed", &["KILL"][..]),
        ("told", &["INT"]),
        ("told twice", &["INT", "INT"]),
    ] {
        let (parent, children) = launched(folder.path(), out);
        for name in signals {
            signal(parent.id(), name);
            thread::sleep(Duration::from_millis(100));
        }
        let since = Instant::now();
        let ended = ends(vec![parent]).remove(0);
        assert!(
            ended.code == if out == "killed" { -1 } else { 130 },
            "{}",
            ended.stderr
        );
        while children.iter().any(|child| is_there(*child)) {
            assert!(since.elapsed() < SOON, "{out}: {children:?} are left");
            thread::sleep(Duration::from_millis(20));
        }
        goes_on(folder.path(), out, &whole);
    }
}

/// What differs in one process is found before the first step, and both say whose it is.
#[test]
fn processes_that_differ_are_found_before_the_first_step() {
    let folder = tempdir().unwrap();
    write_short_recipe(folder.path());
    let elsewhere = tempdir().unwrap();
    write_short_recipe(elsewhere.path());
    for (out, more, says) in [
        ("seed", &["--seed", "1"][..], "settings, weights or data"),
        ("sharding", &["--shard", "optimiser"], "sharding"),
        (
            "precision",
            &["--precision", "bf16"],
            "settings, weights or data",
        ),
        ("parts", &["--micro-batch", "2"], "rows at once"),
        ("folder", &[], "run.rank-1.log"),
    ] {
        let other = |rank, mut command: Command| {
            if rank == 1 {
                command.args(more);
                if out == "folder" {
                    command.current_dir(elsewhere.path());
                }
            }
            command
        };
        for ended in ends(tasks(folder.path(), 2, &args(out, &[]), other)) {
            assert_eq!(ended.code, 2, "{out}: {}", ended.stderr);
            let error = error_of(&ended);
            assert!(error.contains(says), "{out}: {}", ended.stderr);
            assert!(
                error.contains("process 1") || out == "folder",
                "{out}: {error}"
            );
        }
        assert!(losses(&folder.path().join(out), "joint").is_empty());
    }
}

/// A port that another program has is named, with what names another.
#[test]
fn a_port_that_is_taken_is_named() {
    let folder = tempdir().unwrap();
    write_short_recipe(folder.path());
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let variables = [
        ("RANK", "0"),
        ("WORLD_SIZE", "2"),
        ("LOCAL_RANK", "0"),
        ("LOCAL_WORLD_SIZE", "2"),
        ("MASTER_ADDR", "127.0.0.1"),
        ("MASTER_PORT", &port),
    ];
    let ended: Run = pretrain(folder.path(), &variables, &args("out", &[]))
        .output()
        .unwrap()
        .into();
    assert_eq!(ended.code, 2, "{}", ended.stderr);
    assert!(error_of(&ended).contains(&port), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("hint: MASTER_PORT"),
        "{}",
        ended.stderr
    );
    assert_ne!(free_port().to_string(), port);
}

/// Every collective compared with the others' changes nothing.
#[test]
fn collectives_that_are_compared_are_the_same() {
    let folder = tempdir().unwrap();
    write_short_recipe(folder.path());
    let of = |out: &str, checks: &[(&str, &str)]| {
        let checked = [&SMOOTH[..], &["--out", out, "--processes", "2"]].concat();
        let made = pretrain(folder.path(), checks, &checked).output().unwrap();
        let made = Run::from(made);
        assert_eq!(made.code, 0, "{}", made.stderr);
        weights(&folder.path().join(out), "joint")
    };
    let (plain, checked) = (of("plain", &[]), of("checked", &[("FLAVA_CHECK", "1")]));
    for ((name, a), (_, b)) in plain.iter().zip(&checked) {
        assert!(a.equal(b), "{name}");
    }
}

/// Any process, killed at random moments: all end, the launcher starts them again, and the run ends
/// with the weights and losses of one that was left alone.
fn assert_that_kills_change_nothing(folder: &Path, processes: usize, shard: &str, kills: usize) {
    let count = processes.to_string();
    let args = [
        "--processes",
        &count,
        "--shard",
        shard,
        "--set",
        if shard == "full" {
            "joint.schedule.steps=40"
        } else {
            "joint.schedule.steps=120"
        },
    ];
    let whole = run(folder, &[&args[..], &["--out", "whole"]].concat());
    assert_eq!(whole.code, 0, "{}", whole.stderr);
    let out = folder.join("killed");
    let more = ["--out", "killed", "--max-restarts", "9"];
    let all = [&args[..], &more].concat();
    let mut parent = start(&mut pretrain(folder, &[], &all));
    let steps = || {
        STAGES
            .iter()
            .map(|stage| losses(&out, stage).len())
            .sum::<usize>()
    };
    let mut rng = stream(5, "moments of killing");
    for _ in 0..kills {
        let goal = steps() + rng.random_range(1..=4);
        let since = Instant::now();
        while steps() < goal && since.elapsed() < Duration::from_mins(1) {
            thread::sleep(Duration::from_millis(5));
        }
        if parent.try_wait().unwrap().is_some() {
            break; // this machine is faster than the kills
        }
        signal(
            child_of(parent.id(), rng.random_range(0..processes)),
            "KILL",
        );
        thread::sleep(Duration::from_secs(1)); // others end, and all begin again
    }
    let killed = Run::from(parent.wait_with_output().unwrap());
    assert_eq!(killed.code, 0, "{}", killed.stderr);
    let restarts = killed
        .stderr
        .matches("all processes are started again")
        .count();
    assert!(restarts >= kills.min(3), "{}", killed.stderr);
    let whole = folder.join("whole");
    for stage in STAGES {
        assert_eq!(losses(&whole, stage), losses(&out, stage), "{stage}");
    }
    for stage in STAGES.iter().filter(|stage| whole.join(stage).exists()) {
        let all = weights(&whole, stage).into_iter();
        for ((name, a), (_, b)) in all.zip(weights(&out, stage)) {
            assert!(a.equal(&b), "{stage}: {name}");
        }
    }
}

#[test]
fn killed_processes_are_started_again() {
    let folder = tempdir().unwrap();
    write_tiny_recipe(folder.path(), "");
    assert_that_kills_change_nothing(folder.path(), 2, "none", 6);
}

#[test]
fn killed_processes_with_parts_of_the_weights_are_started_again() {
    let folder = tempdir().unwrap();
    write_short_recipe(folder.path());
    assert_that_kills_change_nothing(folder.path(), 3, "full", 3);
}
