//! Running the real binary.

use std::{
    path::Path,
    process::{Command, Output},
};

use super::place::program_path;

/// What a run gave.
pub struct Run {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }
}

/// `flava-eval` in `folder` with no environment of this process, but `variables`.
pub fn command(folder: &Path, variables: &[(&str, &str)], args: &[&str]) -> Command {
    program("flava-eval", folder, variables, args)
}

/// One of the binaries in `folder` with no environment of this process, but `variables`.
pub fn program(name: &str, folder: &Path, variables: &[(&str, &str)], args: &[&str]) -> Command {
    let mut command = Command::new(program_path(name));
    // Programs of several tests share the processors: threads that wait must not keep the others
    // from theirs.
    command
        .args(args)
        .current_dir(folder)
        .env_clear()
        .env("OMP_WAIT_POLICY", "passive")
        .envs(variables.iter().copied());
    command
}

/// Runs `flava-eval` in `folder` with an empty environment.
pub fn flava_eval(folder: &Path, args: &[&str]) -> Run {
    command(folder, &[], args).output().unwrap().into()
}

/// The same with its memory limited, in kB of address space.
pub fn flava_eval_limited(folder: &Path, kilobytes: u64, args: &[&str]) -> Run {
    // Every thread reserves address space: on a machine of many cores they alone would pass the
    // limit.
    let threads = [("OMP_NUM_THREADS", "2"), ("RAYON_NUM_THREADS", "2")];
    limited(
        &format!("ulimit -v {kilobytes}"),
        &command(folder, &threads, args),
    )
    .output()
    .unwrap()
    .into()
}

/// A command after another of the shell, which limits it.
pub fn limited(limit: &str, command: &Command) -> Command {
    let mut shell = Command::new("/bin/sh");
    shell
        .arg("-c")
        .arg(format!("{limit} && exec \"$0\" \"$@\""))
        .arg(command.get_program())
        .args(command.get_args());
    shell
        .current_dir(command.get_current_dir().unwrap_or(Path::new(".")))
        .env_clear();
    shell.envs(
        command
            .get_envs()
            .filter_map(|(name, value)| Some((name, value?))),
    );
    shell
}
