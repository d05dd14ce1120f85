//! The board of this repository is what its records give.

use tempfile::tempdir;

use crate::support::{place::root, program::flava_eval};

#[test]
fn the_board_of_the_repository_is_that_of_its_records() {
    let root = root();
    let folder = tempdir().unwrap();
    let mut tables: Vec<String> = std::fs::read_dir(root.join("results/measured"))
        .unwrap()
        .map(|entry| entry.unwrap().path().display().to_string())
        .collect();
    tables.sort();
    assert!(tables.len() > 1, "{tables:?}");
    let (out, readme) = (root.join("results"), root.join("README.md"));
    let mut args = vec!["leaderboard"];
    args.extend(tables.iter().map(String::as_str));
    args.extend(["--join-seeds", "--check", "--out"]);
    args.push(out.to_str().unwrap());
    args.extend(["--block", readme.to_str().unwrap()]);
    let run = flava_eval(folder.path(), &args);
    assert_eq!(run.code, 0, "{}\nmake board writes it anew", run.stderr);
}
