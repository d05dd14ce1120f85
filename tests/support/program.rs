//! Running the real binary.

use std::{
    path::Path,
    process::{Command, Output},
};

/// What a run gave.
pub struct Run {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code().unwrap_or(-1), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

/// `flava-eval` in `folder` with no environment but `variables`.
pub fn command(folder: &Path, variables: &[(&str, &str)], args: &[&str]) -> Command {
    program("flava-eval", folder, variables, args)
}

/// One of the binaries in `folder` with no environment but `variables`.
pub fn program(name: &str, folder: &Path, variables: &[(&str, &str)], args: &[&str]) -> Command {
    let path = match name {
        "flava-finetune" => env!("CARGO_BIN_EXE_flava-finetune"),
        "flava-pretrain" => env!("CARGO_BIN_EXE_flava-pretrain"),
        _ => env!("CARGO_BIN_EXE_flava-eval"),
    };
    let mut command = Command::new(path);
    command.args(args).current_dir(folder).env_clear().envs(variables.iter().copied());
    command
}

/// Runs `flava-eval` in `folder` with an empty environment.
pub fn flava_eval(folder: &Path, args: &[&str]) -> Run {
    command(folder, &[], args).output().unwrap().into()
}

/// The same with its memory limited, in kB of address space.
pub fn flava_eval_limited(folder: &Path, kilobytes: u64, args: &[&str]) -> Run {
    let script = format!("ulimit -v {kilobytes} && exec \"$0\" \"$@\"");
    let mut command = Command::new("sh");
    command.arg("-c").arg(script).arg(env!("CARGO_BIN_EXE_flava-eval")).args(args).current_dir(folder);
    // Every thread reserves address space: on a machine of many cores they alone would pass the limit.
    command.env("OMP_NUM_THREADS", "2").env("RAYON_NUM_THREADS", "2");
    command.output().unwrap().into()
}
