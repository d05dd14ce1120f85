//! Reports, exports and publishing of a run, from the command line.

use std::{fs, process::Output};

use tempfile::{TempDir, tempdir};

use crate::support::{
    hub_server::{HubServer, READ_TOKEN, TOKEN},
    program::{Run, command, flava_eval},
};

const TASKS: &str = "mini-zero-shot,mini-retrieval";
const BOARD: &str = "datasets/owner/board";

fn run() -> TempDir {
    let folder = tempdir().unwrap();
    let run = flava_eval(folder.path(), &["--tasks", TASKS, "--out", "a"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    folder
}

#[test]
fn a_report_is_one_file_of_figures_that_fetches_nothing() {
    let folder = run();
    let told = flava_eval(folder.path(), &["report", "a"]);
    assert_eq!(told.code, 0, "{}", told.stderr);
    let page = fs::read_to_string(folder.path().join("report.html")).unwrap();
    assert!(page.contains("default-src &#39;none&#39;") && page.len() < 2 << 20);
    // Drawn scenes may be shown, and their classes have names.
    assert!(page.contains("data:image/png;base64,"), "no thumbnails");
    assert!(!page.contains("class 12"), "classes without names");
    let plain = ["report", "a", "--images", "none", "--out", "plain.html"];
    assert_eq!(flava_eval(folder.path(), &plain).code, 0);
    let plain = fs::read_to_string(folder.path().join("plain.html")).unwrap();
    assert!(!plain.contains("data:image/png;base64,"));
    let figures = flava_eval(folder.path(), &["report", "a", "--figures"]).stdout;
    let name = figures.lines().next().unwrap();
    let figure = ["report", "a", "--figure", name, "--out", "one.svg"];
    assert_eq!(flava_eval(folder.path(), &figure).code, 0);
    assert!(
        fs::read_to_string(folder.path().join("one.svg"))
            .unwrap()
            .contains("<svg")
    );
    let png = ["report", "a", "--figure", name, "--format", "png"];
    let drawn = flava_eval(folder.path(), &png);
    match fs::read(folder.path().join(format!("{name}.png"))) {
        Ok(bytes) => assert!(bytes.starts_with(b"\x89PNG") && drawn.code == 0),
        Err(_) => assert!(drawn.stderr.contains("has no fonts"), "{}", drawn.stderr),
    }
    let refused = flava_eval(folder.path(), &["report", "a", "--figure", "nothing"]);
    assert!(refused.code == 2 && refused.stderr.contains("--figures lists them"));
    let refused = flava_eval(folder.path(), &["report", "nowhere"]);
    assert!(
        refused.code == 2 && refused.stderr.contains("nowhere"),
        "{}",
        refused.stderr
    );
}

#[test]
fn exports_name_their_files_and_what_they_cannot_hold() {
    let folder = run();
    let export = |format: &str| {
        let out = format!("out-{format}");
        flava_eval(
            folder.path(),
            &["export", "a", "--format", format, "--out", &out],
        )
    };
    let told = export("lm-eval");
    assert_eq!(told.code, 0, "{}", told.stderr);
    let files: Vec<&str> = told.stdout.lines().collect();
    assert!(files.len() > 1 && files.iter().all(|file| folder.path().join(file).is_file()));
    let told = export("timm");
    assert!(
        told.code == 0 && told.stderr.contains("mini-retrieval"),
        "{}",
        told.stderr
    );
    let refused = export("lm-evall");
    assert!(
        refused.code == 2 && refused.stderr.contains("lm-eval"),
        "{}",
        refused.stderr
    );
    // What was exported is read as a row of another tool.
    let results = files.iter().find(|file| file.contains("results_")).unwrap();
    let board = flava_eval(
        folder.path(),
        &["leaderboard", "a", results, "--format", "csv"],
    );
    assert_eq!(board.code, 0, "{}", board.stderr);
}

#[test]
fn a_run_is_published_once_and_only_by_who_may() {
    let folder = run();
    let server = HubServer::start([]);
    let endpoint = server.endpoint();
    let publish = |token: &str, args: &[&str]| -> Run {
        let variables = [("HF_ENDPOINT", endpoint.as_str()), ("HF_TOKEN", token)];
        let args = [&["publish", "a", "--repo", "owner/board"], args].concat();
        let output: Output = command(folder.path(), &variables, &args).output().unwrap();
        output.into()
    };
    let refused = publish(READ_TOKEN, &[]);
    assert!(
        refused.code == 2 && !refused.stderr.contains(READ_TOKEN),
        "{}",
        refused.stderr
    );
    let dry = publish(TOKEN, &["--dry-run"]);
    assert!(
        dry.code == 0 && dry.stdout.contains("leaderboard.csv"),
        "{}",
        dry.stderr
    );
    assert!(!server.exists(BOARD), "a dry run writes nothing");
    let done = publish(TOKEN, &["--predictions"]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    let there = server.files(BOARD);
    for file in ["README.md", "leaderboard.csv", "report.html"] {
        assert!(there.contains_key(file), "{file}");
    }
    let again = publish(TOKEN, &["--predictions"]);
    assert!(
        again.code == 0 && again.stdout.contains("nothing changed"),
        "{}",
        again.stderr
    );
    assert!(there["leaderboard.csv"].lines().count() == 2 && server.is_private(BOARD));
}
