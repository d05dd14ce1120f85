//! Spoils what is read from disk and looks on: whatever it is, a reader says what is wrong or reads
//! it, without panic, soon, and in little memory; where a file holds its own digest, what is
//! accepted is what was written.
//!
//!     cargo test --test fuzz                                    about a minute, as `cargo test` runs it
//!     cargo test --release --test fuzz -- --inputs 1000000      a long look
//!     cargo test --test fuzz -- image --seed 7                some of the readers, other faults

#![allow(clippy::disallowed_methods, reason = "a test may panic")]

#[path = "../support/mod.rs"]
#[allow(dead_code, reason = "the other tests use the rest")]
mod support;

mod mutate;
mod targets;

use std::{
    collections::BTreeMap,
    fs,
    panic::{self, AssertUnwindSafe},
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use clap::Parser;
use rand::{SeedableRng, rngs::StdRng};

use targets::{Target, Targets};

/// Most memory that one file may take, in bytes.
const MOST_MEMORY: u64 = 2 << 30;

#[derive(Parser)]
#[command(ignore_errors = true)] // what else is meant for Rust's own harness is no mistake here
struct Arguments {
    /// Targets whose names hold one of these words.
    words: Vec<String>,
    /// Spoiled files to try.
    #[arg(long, default_value_t = 40_000)]
    inputs: usize,
    /// Stop after so long, whatever was tried.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// A file that takes longer hangs.
    #[arg(long, default_value_t = 60)]
    hang: u64,
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Print the names of the targets.
    #[arg(long)]
    list: bool,
    /// What Rust's own harness is told, taken and left alone.
    #[command(flatten)]
    _harness: Harness,
}

#[derive(clap::Args)]
#[allow(dead_code, reason = "nothing here depends on it")]
struct Harness {
    #[arg(long, hide = true)]
    nocapture: bool,
    #[arg(long, short, hide = true)]
    quiet: bool,
    #[arg(long, hide = true)]
    exact: bool,
    #[arg(long, hide = true)]
    test_threads: Option<usize>,
}

/// What came of one target's files.
#[derive(Default)]
struct Count {
    tried: usize,
    refused: usize,
    same: usize,
    other: usize,
    seconds: f64,
    memory: u64,
}

fn main() {
    let arguments = Arguments::parse();
    let work = tempfile::tempdir().unwrap();
    let targets = build(work.path(), &arguments.words);
    if arguments.list {
        for target in &targets {
            println!("{}: test", target.name);
        }
        return;
    }
    panic::set_hook(Box::new(|_| {})); // those that are caught inside are no matter, the others are told below
    let failures = run(&arguments, &targets, work.path());
    if failures > 0 {
        println!("{failures} failures; the files are in {}", kept().display());
        process::exit(1);
    }
}

/// Targets of which one of the words is a part; all without words.
fn build(work: &Path, words: &[String]) -> Vec<Target> {
    type Build = fn(&mut Targets, &Path);
    let kinds: [(&str, Build); 9] = [
        ("picture", Targets::images),
        ("weights", Targets::weights),
        ("model", Targets::model),
        ("source", Targets::sources),
        ("corpus", Targets::corpora),
        ("settings", Targets::settings),
        ("results", Targets::results),
        ("results", Targets::runs),
        ("state", Targets::states),
    ];
    let mut targets = Targets::default();
    for (at, (kind, make)) in kinds.into_iter().enumerate() {
        if words.is_empty()
            || words
                .iter()
                .any(|word| kind.contains(word.split('/').next().unwrap_or_default()))
        {
            let folder = work.join(at.to_string());
            fs::create_dir(&folder).unwrap();
            make(&mut targets, &folder);
        }
    }
    targets.all.retain(|target| {
        words.is_empty() || words.iter().any(|word| target.name.contains(word.as_str()))
    });
    targets.all
}

fn run(arguments: &Arguments, targets: &[Target], work: &Path) -> usize {
    if targets.is_empty() {
        return 0;
    }
    let wholes: Vec<Vec<u8>> = targets
        .iter()
        .map(|target| fs::read(&target.file).unwrap())
        .collect();
    let answers: Vec<Result<String, String>> =
        targets.iter().map(|target| (target.read)()).collect();
    let spoiled = work.join("spoiled");
    watch(arguments.hang, spoiled.clone());
    let turns = Turns::of(targets);
    let (mut counts, mut failures) = (BTreeMap::<&str, Count>::new(), 0);
    let began = Instant::now();
    for input in 0..arguments.inputs {
        if began.elapsed().as_secs() >= arguments.seconds {
            println!("stopped after {input} of {} files", arguments.inputs);
            break;
        }
        let at = turns.at(input);
        let target = &targets[at];
        let mut rng = StdRng::seed_from_u64(arguments.seed << 32 | input as u64);
        let bytes = mutate::mutate(&mut rng, &wholes[at], target.text);
        if bytes == wholes[at] {
            continue;
        }
        fs::write(&spoiled, &bytes).unwrap();
        fs::write(&target.file, &bytes).unwrap();
        let before = peak_from_here();
        let start = Instant::now();
        DEADLINE.store(now() + arguments.hang, Ordering::SeqCst);
        let answer = panic::catch_unwind(AssertUnwindSafe(|| (target.read)()));
        DEADLINE.store(u64::MAX, Ordering::SeqCst);
        let memory = peak().saturating_sub(before);
        let count = counts.entry(&target.name).or_default();
        count.tried += 1;
        count.seconds = count.seconds.max(start.elapsed().as_secs_f64());
        count.memory = count.memory.max(memory);
        let mut fail = |what: &str| {
            failures += 1;
            let file = keep(&target.name, input, &bytes);
            println!(
                "{what}: {} {} as {}",
                target.name,
                target.file.file_name().unwrap().display(),
                file.display()
            );
        };
        if memory > MOST_MEMORY {
            fail(&format!("takes {} MB", memory >> 20));
        }
        match answer {
            Err(payload) => {
                let text = payload.downcast_ref::<String>().map(String::as_str);
                let text = text
                    .or_else(|| payload.downcast_ref::<&str>().copied())
                    .unwrap_or("?");
                fail(&format!("panics ({text})"));
            }
            Ok(Err(_)) => count.refused += 1,
            Ok(answer) if answer == answers[at] => count.same += 1,
            Ok(_) if target.sealed => fail("is accepted, and other than it was written"),
            Ok(_) => count.other += 1,
        }
        fs::write(&target.file, &wholes[at]).unwrap();
    }
    println!(
        "{:28} {:>7} {:>8} {:>6} {:>6} {:>7} {:>8}",
        "", "tried", "refused", "same", "other", "s most", "MB most"
    );
    for (name, count) in &counts {
        let Count {
            tried,
            refused,
            same,
            other,
            seconds,
            memory,
        } = count;
        println!(
            "{name:28} {tried:7} {refused:8} {same:6} {other:6} {seconds:7.2} {:8}",
            memory >> 20
        );
    }
    println!(
        "{} files in {:.0} s",
        counts.values().map(|count| count.tried).sum::<usize>(),
        began.elapsed().as_secs_f64()
    );
    for (target, answer) in targets.iter().zip(&answers) {
        // Some of the images are refused as they are; what is made of them is tried all the same.
        if let (Err(reason), false) = (answer, target.name.starts_with("picture")) {
            failures += 1;
            println!(
                "is refused unspoiled: {} {}: {reason}",
                target.name,
                target.file.display()
            );
        }
    }
    failures
}

/// Every reader has its turn equally often, however many files it has.
struct Turns(Vec<Vec<usize>>);

impl Turns {
    fn of(targets: &[Target]) -> Self {
        let mut positions: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        targets.iter().enumerate().for_each(|(position, target)| {
            positions.entry(&target.name).or_default().push(position);
        });
        Self(positions.into_values().collect())
    }

    fn at(&self, input: usize) -> usize {
        let positions = &self.0[input % self.0.len()];
        positions[input / self.0.len() % positions.len()]
    }
}

/// The time at which what is read now hangs, in seconds since 1970.
static DEADLINE: AtomicU64 = AtomicU64::new(u64::MAX);

fn now() -> u64 {
    std::time::UNIX_EPOCH.elapsed().unwrap().as_secs()
}

/// Ends the program where a file takes too long, or so much memory that the machine would suffer.
fn watch(hang: u64, spoiled: PathBuf) {
    thread::spawn(move || {
        loop {
            thread::sleep(Duration::from_millis(200));
            let late = now() > DEADLINE.load(Ordering::SeqCst);
            if late || status("VmRSS:").unwrap_or(0) > 4 * MOST_MEMORY {
                let file = keep(
                    "ended",
                    process::id() as usize,
                    &fs::read(&spoiled).unwrap_or_default(),
                );
                println!(
                    "{}: {}",
                    if late {
                        format!("takes more than {hang} s")
                    } else {
                        "takes too much memory".into()
                    },
                    file.display()
                );
                process::exit(1);
            }
        }
    });
}

/// A line of this process's status, in bytes; None where there is no such thing.
fn status(field: &str) -> Option<u64> {
    let text = fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(field))?;
    Some(line.trim().trim_end_matches(" kB").parse::<u64>().ok()? << 10)
}

/// Forgets the largest memory so far; returns what is taken now.
fn peak_from_here() -> u64 {
    let _reset = fs::write("/proc/self/clear_refs", "5");
    status("VmRSS:").unwrap_or(0)
}

fn peak() -> u64 {
    status("VmHWM:").unwrap_or(0)
}

fn kept() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("fuzz")
}

fn keep(name: &str, input: usize, bytes: &[u8]) -> PathBuf {
    fs::create_dir_all(kept()).unwrap();
    let file = kept().join(format!("{}-{input}", name.replace('/', "-")));
    fs::write(&file, bytes).unwrap();
    file
}
