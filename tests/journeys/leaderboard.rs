//! Leaderboards of runs, tables and the paper, from the command line.

use std::{fs, path::Path};

use serde_json::Value;
use tempfile::{TempDir, tempdir};

use crate::support::program::{Run, flava_eval};

const TASKS: &str = "mini-zero-shot,mini-things-knn,mini-retrieval";
const FORMATS: [&str; 5] = [
    "leaderboard.csv",
    "leaderboard-long.csv",
    "LEADERBOARD.md",
    "leaderboard.tex",
    "leaderboard.json",
];

/// Runs of the embedded model and of a copy whose last bits were rounded away.
fn runs() -> TempDir {
    let folder = tempdir().unwrap();
    for (out, precision) in [("a", "f32"), ("b", "bf16")] {
        let args = ["--tasks", TASKS, "--out", out, "--precision", precision];
        let run = flava_eval(folder.path(), &args);
        assert_eq!(run.code, 0, "{}", run.stderr);
    }
    folder
}

fn board(folder: &Path, args: &[&str]) -> Run {
    flava_eval(folder, &[&["leaderboard"], args].concat())
}

fn rows(csv: &str) -> Vec<csv::StringRecord> {
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    reader.records().map(Result::unwrap).collect()
}

#[test]
fn runs_and_the_paper_become_a_board_in_all_formats() {
    let folder = runs();
    let run = board(folder.path(), &["a", "b", "paper", "--out", "board"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let text =
        |out: &str, name: &str| fs::read_to_string(folder.path().join(out).join(name)).unwrap();
    assert_eq!(
        run.stdout.trim_end(),
        text("board", "LEADERBOARD.md").trim_end()
    );
    // Whatever the order and the threads, the same bytes.
    let args = ["paper", "b", "a", "a", "--out", "again"];
    assert_eq!(board(folder.path(), &args).code, 0);
    for name in FORMATS {
        assert_eq!(text("board", name), text("again", name), "{name}");
    }
    let wide = text("board", "leaderboard.csv");
    let head: Vec<&str> = wide.lines().next().unwrap().split(',').collect();
    assert_eq!(head[..4], ["rank", "rank_low", "rank_high", "model"]);
    let table = rows(&wide);
    let column = |name: &str| head.iter().position(|column| *column == name).unwrap();
    let ranked: Vec<&str> = table.iter().map(|row| &row[0]).collect();
    assert!(
        ranked[..2].iter().all(|rank| !rank.is_empty()),
        "{ranked:?}"
    );
    assert!(ranked[2..].iter().all(|rank| rank.is_empty()), "{ranked:?}");
    // A number is missing: there is an average of what all have, and none of the suite.
    let (average, common) = (column("average"), column("average_common"));
    assert!(table[0][average].is_empty() && !table[0][common].is_empty());
    assert_eq!(&table[0][column("numbers_common")], "3");
    assert!(
        run.stderr
            .contains("the mean of the 3 numbers that all rows have"),
        "{}",
        run.stderr
    );
    let json: Value = serde_json::from_str(&text("board", "leaderboard.json")).unwrap();
    assert_eq!(json["rows"][0]["rank"]["rank"], 1);
    assert!(text("board", "leaderboard.tex").contains("\\toprule"));
    assert!(text("board", "leaderboard-long.csv").lines().count() > 7);
}

#[test]
fn a_board_is_checked_byte_for_byte_and_reads_its_own_table() {
    let folder = runs();
    let args = ["a", "--out", "board"];
    assert_eq!(board(folder.path(), &args).code, 0);
    assert_eq!(
        board(folder.path(), &[&args[..], &["--check"]].concat()).code,
        0
    );
    let path = folder.path().join("board/leaderboard.csv");
    let whole = fs::read_to_string(&path).unwrap();
    fs::write(&path, whole.replace("0.", "1.")).unwrap();
    let refused = board(folder.path(), &[&args[..], &["--check"]].concat());
    assert_eq!(refused.code, 2);
    assert!(
        refused.stderr.contains("leaderboard.csv") && refused.stderr.contains("line 2"),
        "{}",
        refused.stderr
    );
    // The long table of a run stands for it where predictions are not needed.
    let table = board(folder.path(), &["a/results.csv", "--format", "json"]);
    assert_eq!(table.code, 0, "{}", table.stderr);
    let json: Value = serde_json::from_str(&table.stdout).unwrap();
    assert_eq!(json["rows"][0]["source"], "table");
}

#[test]
fn what_does_not_compare_is_refused_with_both_sides() {
    let folder = runs();
    let text = fs::read_to_string(folder.path().join("a/results.csv")).unwrap();
    let mut lines = text.lines();
    let head: Vec<&str> = lines.next().unwrap().split(',').collect();
    let column = |name: &str| head.iter().position(|column| *column == name).unwrap();
    let changed = |name: &str, value: &str| {
        let mut out = csv::Writer::from_writer(Vec::new());
        out.write_record(&head).unwrap();
        for row in rows(&text) {
            let cells = row.iter().enumerate();
            let cell = |(at, cell): (usize, &str)| {
                let is_model = at == column("model_fingerprint");
                let cell = if is_model {
                    format!("other{cell}")
                } else {
                    cell.to_owned()
                };
                if at == column(name) {
                    value.to_owned()
                } else {
                    cell
                }
            };
            out.write_record(cells.map(cell)).unwrap();
        }
        fs::write(folder.path().join("other.csv"), out.into_inner().unwrap()).unwrap();
        board(folder.path(), &["a", "other.csv"])
    };
    for (name, value, told) in [
        ("task_version", "99", "task version"),
        ("data_fingerprint", "ff", "data fingerprint"),
        ("protocol", "clip", "--protocol"),
        ("transform", "another", "transform"),
        ("publishable", "false", "--all"),
        ("value", "NaN", "line 2"),
        ("value", "0.25x", "line 2"),
    ] {
        let refused = changed(name, value);
        assert_eq!(refused.code, 2, "{name}: {}", refused.stdout);
        assert!(refused.stderr.contains(told), "{name}: {}", refused.stderr);
        assert!(
            refused.stderr.contains("other.csv"),
            "{name}: {}",
            refused.stderr
        );
    }
    let all = board(folder.path(), &["a", "other.csv", "--all"]);
    assert_eq!(all.code, 2, "a broken table stays one");
    assert_eq!(changed("publishable", "false").code, 2);
    let all = board(folder.path(), &["a", "other.csv", "--all"]);
    assert!(
        all.code == 0 && all.stdout.contains("not publishable"),
        "{}",
        all.stderr
    );
    fs::create_dir(folder.path().join("empty")).unwrap();
    for (argument, told) in [("empty", "holds no records"), ("nowhere", "nowhere")] {
        let refused = board(folder.path(), &["a", argument]);
        assert!(
            refused.code == 2 && refused.stderr.contains(told),
            "{}",
            refused.stderr
        );
    }
}
