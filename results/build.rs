//! Tells the program its commit, so that a record can say by what it was made.

use std::{env, path::Path, process::Command};

/// What the programs are made of, from this crate's folder on.
const SOURCES: [&str; 8] = [
    "../base",
    "../model",
    "../heads",
    "../tasks",
    "../training",
    "../evaluator",
    "../pretrain",
    ".",
];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // A debug build would be made again at every commit, and nobody publishes what it says.
    let commit = if env::var("PROFILE").is_ok_and(|profile| profile == "release") {
        watch();
        git(&[
            "describe",
            "--always",
            "--dirty",
            "--abbrev=12",
            "--exclude=*",
        ])
    } else {
        Some("debug".to_owned())
    };
    let commit = commit.unwrap_or_else(|| "unknown".to_owned());
    println!("cargo:rustc-env=FLAVA_COMMIT={commit}");
}

/// Runs again when something is committed, or when a source changes.
fn watch() {
    let head = git(&["rev-parse", "--git-path", "logs/HEAD"]);
    let sources = SOURCES.iter().map(|source| format!("{source}/src"));
    for path in head.into_iter().chain(sources) {
        if Path::new(&path).exists() {
            println!("cargo:rerun-if-changed={path}");
        }
    }
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let text = text.trim();
    (output.status.success() && !text.is_empty()).then(|| text.to_owned())
}
