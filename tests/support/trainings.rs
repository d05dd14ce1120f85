//! Trainings of a tiny model by the real program, in one process or several.

use std::{
    fs,
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use flava_model::checkpoint::read_tensors;
use serde_json::Value;
use tch::Tensor;

use super::program::{Run, program};

/// Every stage; gradients as they are, so that no norm is the sum of others'. A larger epsilon keeps
/// the optimiser from making whole steps of what rounding leaves of gradients that are zero in truth,
/// as those of keys' biases are.
pub const SMOOTH: [&str; 16] = [
    "--set",
    "codebook.schedule.clip_norm=0",
    "--set",
    "codebook.schedule.eps=1e-4",
    "--set",
    "text.schedule.clip_norm=0",
    "--set",
    "text.schedule.eps=1e-4",
    "--set",
    "image.clip_each=0",
    "--set",
    "image.schedule.eps=1e-4",
    "--set",
    "joint.schedule.clip_norm=0",
    "--set",
    "joint.schedule.eps=1e-4",
];
/// What losses may differ by where sums are taken in another order.
pub const SAME: f64 = 1e-6;
pub const STAGES: [&str; 4] = ["codebook", "text", "image", "joint"];

pub fn pretrain(folder: &Path, variables: &[(&str, &str)], args: &[&str]) -> Command {
    let args = [
        &["run", "tiny.toml", "--device", "cpu", "--threads", "1"],
        args,
    ];
    program("flava-pretrain", folder, variables, &args.concat())
}

pub fn run(folder: &Path, args: &[&str]) -> Run {
    pretrain(folder, &[], args).output().unwrap().into()
}

pub fn start(command: &mut Command) -> Child {
    let piped = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    piped.spawn().unwrap()
}

/// The losses that a stage's log tells of, step by step.
pub fn losses(out: &Path, stage: &str) -> Vec<f64> {
    let log = fs::read_to_string(out.join(stage).join("log.jsonl")).unwrap_or_default();
    // The last line may be under way.
    let whole = log
        .split_inclusive('\n')
        .filter(|line| line.ends_with('\n'));
    let lines = whole.map(|line| serde_json::from_str(line).unwrap());
    let of_training = |line: &Value| line["kind"] == "train";
    lines
        .filter(of_training)
        .map(|line: Value| line["loss"].as_f64().unwrap())
        .collect()
}

/// That the losses of two trainings are the same but for [`SAME`].
pub fn assert_same_losses(one: &[f64], other: &[f64], of: &str) {
    assert_eq!(one.len(), other.len(), "{of}");
    for (step, (a, b)) in one.iter().zip(other).enumerate() {
        let close = (a - b).abs() < SAME * a.abs().max(1.0);
        assert!(close, "{of}, step {step}: {a} and {b}");
    }
}

pub fn weights(out: &Path, stage: &str) -> Vec<(String, Tensor)> {
    state(&out.join(stage).join("last"), "model")
}

/// What the files of a state hold, by name, however many there are: `model`, or `optimiser`.
pub fn state(last: &Path, what: &str) -> Vec<(String, Tensor)> {
    let files = fs::read_dir(last).unwrap().map(|entry| entry.unwrap());
    let is_of = |name: &str| name.starts_with(what) && name.ends_with(".safetensors");
    let files = files.filter(|file| is_of(file.file_name().to_str().unwrap()));
    let mut all: Vec<_> = files.flat_map(|file| tensors(&file.path())).collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

/// What a file holds, by name.
pub fn tensors(file: &Path) -> Vec<(String, Tensor)> {
    let mut all = read_tensors(file).unwrap();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

/// Waits until a stage has made so many steps.
pub fn wait_for_steps(out: &Path, stage: &str, steps: usize) {
    let since = Instant::now();
    while losses(out, stage).len() < steps {
        assert!(
            since.elapsed() < Duration::from_mins(2),
            "{stage} does not go on"
        );
        thread::sleep(Duration::from_millis(5));
    }
}

/// A port that nobody listens at.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// So many processes that no launcher of ours looks after, as torchrun or srun would start them:
/// `each` may change what one of them is started with.
pub fn tasks(
    folder: &Path,
    world: usize,
    args: &[&str],
    each: impl Fn(usize, Command) -> Command,
) -> Vec<Child> {
    let (port, world_size) = (free_port().to_string(), world.to_string());
    let task = |rank: usize| {
        let number = rank.to_string();
        let variables = [
            ("RANK", number.as_str()),
            ("LOCAL_RANK", &number),
            ("WORLD_SIZE", &world_size),
            ("LOCAL_WORLD_SIZE", &world_size),
            ("MASTER_ADDR", "127.0.0.1"),
            ("MASTER_PORT", &port),
        ];
        start(&mut each(rank, pretrain(folder, &variables, args)))
    };
    (0..world).map(task).collect()
}

/// How each of some processes ends.
pub fn ends(processes: Vec<Child>) -> Vec<Run> {
    let processes = processes.into_iter();
    processes
        .map(|process| process.wait_with_output().unwrap().into())
        .collect()
}
