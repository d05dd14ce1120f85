//! Publishing runs: a repository of results that several people write to, and a model's card.

use std::{collections::BTreeMap, fs, path::Path};

use flava_evaluator::publish::{
    Ending, LongTable, Publication, PublishOptions, Tables, publish, publish_model_card, table_name,
};
use flava_model::hub::write::HubWriter;
use flava_results::{Record, Run, csv_table};
use serde_json::json;
use tempfile::{TempDir, tempdir};

use crate::support::hub_server::{FaultKind, HubServer, READ_TOKEN, ServedRepo, TOKEN};

const BOARD: &str = "datasets/owner/board";
const HEAD: &str = "model,model_fingerprint,protocol,suite_version,food101,pets\n";

fn record(model: &str, task: &str) -> Record {
    let score = json!({
        "metric": "accuracy", "split": "test", "value": 0.75, "standard_error": 0.1, "ci_low": 0.5,
        "ci_high": 0.9, "interval": "wilson", "n": 9,
    });
    serde_json::from_value(json!({
        "task": task, "key": format!("{model} {task}"), "task_version": 1, "family": "vision",
        "protocol": "flava", "method": "linear_probe", "feature": "image_cls", "split": "test",
        "metrics": [score], "chance": 0.1, "train_rows": 4, "skipped": 0, "model": model,
        "model_fingerprint": format!("{:0<64}", model.len()), "data": "x/y", "data_revision": "",
        "data_fingerprint": "11", "transform": "t", "precision": "f32", "device": "cpu", "seed": 0,
        "publishable": true, "notes": [], "details": {}, "program": "flava",
        "date": "2026-01-31T12:00:00Z", "seconds": 1.5,
    }))
    .unwrap()
}

fn run(folder: &Path, model: &str) -> Run {
    fs::create_dir_all(folder.join("predictions")).unwrap();
    fs::write(folder.join("predictions/pets.parquet"), vec![7; 2000]).unwrap();
    Run {
        folder: folder.to_owned(),
        records: vec![record(model, "food101"), record(model, "pets")],
        status: BTreeMap::new(),
    }
}

fn tables(run: &Run, accuracy: &str) -> Tables {
    let first = &run.records[0];
    let fingerprint = &first.model_fingerprint[..12];
    Tables {
        leaderboard: format!("{HEAD}{},{fingerprint},flava,1,{accuracy},\n", first.model),
        long: vec![LongTable {
            name: table_name(first),
            csv: csv_table(&run.records, &[]),
        }],
        report: Some("<!doctype html>\n".into()),
        finish: Ok,
    }
}

fn options() -> PublishOptions {
    PublishOptions {
        repo: "owner/board".into(),
        quiet: true,
        ..PublishOptions::default()
    }
}

/// A server without the repository, and a run.
struct Lab {
    server: HubServer,
    folder: TempDir,
}

impl Lab {
    fn new() -> Self {
        let foreign = ServedRepo {
            foreign: true,
            files: [("README.md".to_owned(), b"# theirs\n".to_vec())].into(),
            ..ServedRepo::default()
        };
        Self {
            server: HubServer::start([("datasets/other/board", foreign)]),
            folder: tempdir().unwrap(),
        }
    }

    fn writer(&self) -> HubWriter {
        HubWriter::at(&self.server.endpoint(), Some(TOKEN))
    }

    fn run(&self, model: &str) -> Run {
        run(self.folder.path(), model)
    }

    fn publish(&self, model: &str, accuracy: &str) -> Result<Publication, String> {
        self.publish_as(model, accuracy, &options())
    }

    fn publish_as(
        &self,
        model: &str,
        accuracy: &str,
        options: &PublishOptions,
    ) -> Result<Publication, String> {
        let run = self.run(model);
        let tables = tables(&run, accuracy);
        publish(&self.writer(), &[run], &tables, options).map_err(|error| error.to_string())
    }

    fn board(&self) -> String {
        self.server.files(BOARD)["leaderboard.csv"].clone()
    }
}

#[test]
fn a_private_repository_is_made_and_others_rows_stay() {
    let lab = Lab::new();
    let with_predictions = PublishOptions {
        predictions: true,
        ..options()
    };
    let done = lab
        .publish_as("lab/flava", "0.5", &with_predictions)
        .unwrap();
    assert!(matches!(&done.ending, Ending::Done { url, .. } if url.contains("/commit/")));
    assert!(lab.server.is_private(BOARD));
    let files: Vec<String> = lab.server.files(BOARD).into_keys().collect();
    let expected = [
        ".gitattributes",
        "README.md",
        "leaderboard.csv",
        "predictions/lab__flava-900000000000/pets.parquet",
        "report.html",
        "results/lab__flava-900000000000.csv",
    ];
    assert_eq!(files, expected);
    let card = &lab.server.files(BOARD)["README.md"];
    assert!(
        card.contains("load_dataset(\"owner/board\", \"leaderboard\""),
        "{card}"
    );
    let log = lab.server.log(BOARD);
    assert!(
        log[1].starts_with("Add lab/flava: 2 records (flava "),
        "{log:?}"
    );
    // Once more: nothing to write, no commit.
    let again = lab
        .publish_as("lab/flava", "0.5", &with_predictions)
        .unwrap();
    assert_eq!(again.ending, Ending::NothingChanged);
    assert_eq!(lab.server.log(BOARD).len(), 2);
    // Another model, and the first one measured again.
    lab.publish("/home/me/private/mine", "0.25").unwrap();
    assert!(
        lab.server.log(BOARD)[2].starts_with("Add mine: "),
        "no path of somebody's disk"
    );
    lab.publish("lab/flava", "0.625").unwrap();
    let rows: Vec<String> = lab.board().lines().map(str::to_owned).collect();
    assert_eq!(rows.len(), 3, "{rows:?}");
    assert!(
        rows[1].contains(",0.25,") && rows[2].contains(",0.625,"),
        "{rows:?}"
    );
}

#[test]
fn a_dry_run_says_what_would_change_and_writes_nothing() {
    let lab = Lab::new();
    let dry = PublishOptions {
        dry_run: true,
        ..options()
    };
    let first = lab.publish_as("lab/flava", "0.5", &dry).unwrap();
    assert_eq!(first.ending, Ending::DryRun);
    assert!(
        first
            .plan
            .starts_with("owner/board (to be made, private)\n"),
        "{}",
        first.plan
    );
    assert!(!lab.server.exists(BOARD));
    lab.publish("lab/flava", "0.5").unwrap();
    lab.server.take_seen();
    let second = lab.publish_as("lab/flava", "0.75", &dry).unwrap().plan;
    assert!(second.contains("(private, last commit "), "{second}");
    assert!(
        second.contains("  results/lab__flava-900000000000.csv  ")
            && second.contains("as it is there"),
        "{second}"
    );
    assert!(
        second.contains("    ~ 900000000000 flava: 1 cell\n"),
        "{second}"
    );
    let other = lab.publish_as("lab/another", "0.75", &dry).unwrap().plan;
    assert!(other.contains("    + 110000000000 flava\n"), "{other}");
    assert!(
        lab.server
            .take_seen()
            .iter()
            .all(|seen| seen.method == "GET")
    );
    assert_eq!(lab.server.log(BOARD).len(), 2);
}

#[test]
fn what_may_not_be_published_is_refused_before_anything_is_asked() {
    let lab = Lab::new();
    let refused = |change: &dyn Fn(&mut Run)| {
        let (one, mut two) = (lab.run("lab/flava"), lab.run("lab/another"));
        let tables = tables(&one, "0.5");
        change(&mut two);
        let error = publish(&lab.writer(), &[one, two], &tables, &options());
        error.unwrap_err().to_string()
    };
    let departed = refused(&|run| {
        run.records[1].publishable = false;
        run.records[1].departures.push("batch_size 3".into());
    });
    assert!(departed.contains("pets (batch_size 3)"), "{departed}");
    let version = refused(&|run| run.records[0].task_version = 2);
    assert!(
        version.contains("food101") && version.contains("task version 2 and 1"),
        "{version}"
    );
    let data = refused(&|run| run.records[0].data_fingerprint = "22".into());
    assert!(data.contains("do not compare"), "{data}");
    let transform = refused(&|run| run.records[0].transform = "bicubic".into());
    assert!(transform.contains("bicubic"), "{transform}");
    let twice = refused(&|run| run.records = lab.run("lab/flava").records);
    assert!(twice.contains("in two runs"), "{twice}");
    assert!(lab.server.take_seen().is_empty());
}

#[test]
fn a_token_or_repository_without_the_right_is_refused_before_uploads() {
    let lab = Lab::new();
    let run = lab.run("lab/flava");
    let tables = tables(&run, "0.5");
    let read_only = HubWriter::at(&lab.server.endpoint(), Some(READ_TOKEN));
    let error = publish(&read_only, &[run], &tables, &options()).unwrap_err();
    assert!(error.to_string().contains("may only read"), "{error}");
    let to = |repo: &str, pr| PublishOptions {
        repo: repo.into(),
        pr,
        ..options()
    };
    let foreign = lab
        .publish_as("lab/flava", "0.5", &to("other/board", false))
        .unwrap_err();
    assert!(foreign.contains("--pr"), "{foreign}");
    let missing = lab
        .publish_as("lab/flava", "0.5", &to("other/none", false))
        .unwrap_err();
    assert!(missing.contains("only other could make it"), "{missing}");
    let nothing = lab
        .publish_as("lab/flava", "0.5", &to("owner/none", true))
        .unwrap_err();
    assert!(nothing.contains("leave out --pr"), "{nothing}");
    assert!(
        lab.server
            .take_seen()
            .iter()
            .all(|seen| seen.method == "GET")
    );
    // A proposal is made where one may see.
    let done = lab
        .publish_as("lab/flava", "0.5", &to("other/board", true))
        .unwrap();
    assert!(matches!(&done.ending, Ending::Done { url, .. } if url.ends_with("/discussions/1")));
    assert!(
        done.plan.contains("README.md stays as it is"),
        "{}",
        done.plan
    );
    let proposed = &lab.server.proposed("datasets/other/board")[0];
    assert!(proposed["README.md"] == "# theirs\n" && proposed.contains_key("leaderboard.csv"));
}

#[test]
fn rows_of_others_that_come_in_between_are_merged() {
    let lab = Lab::new();
    lab.publish("lab/flava", "0.5").unwrap();
    let between = || FaultKind::Overtaken {
        repo: BOARD,
        file: "leaderboard.csv",
        line: "x,abc,clip,1,,0.125\n",
    };
    lab.server.fault("/commit/", 1, between());
    lab.publish("lab/another", "0.25").unwrap();
    let board = lab.board();
    assert!(
        board.contains("x,abc,clip")
            && board.contains("lab/another")
            && board.contains("lab/flava"),
        "{board}"
    );
    assert_eq!(board.lines().count(), 4, "{board}");
    assert_eq!(lab.server.log(BOARD)[2], "Somebody else's");
    // For ever: three times, and then it is said.
    let more = FaultKind::Overtaken {
        repo: BOARD,
        file: "notes.txt",
        line: "again\n",
    };
    lab.server.fault("/commit/", usize::MAX, more);
    lab.server.take_seen();
    let error = lab.publish("lab/third-one", "0.75").unwrap_err();
    assert!(error.contains("3 times another commit came"), "{error}");
    let seen = lab.server.take_seen();
    assert_eq!(
        seen.iter().filter(|s| s.path.contains("/commit/")).count(),
        3
    );
    assert_eq!(lab.board(), board, "nothing of ours");
    assert!(
        !lab.server
            .files(BOARD)
            .contains_key("results/lab__third-one-130000000000.csv")
    );
}

#[test]
fn lost_answers_and_broken_servers_leave_one_commit_or_none() {
    for (kind, expected) in [
        (FaultKind::StatusAfter(500), true),
        (FaultKind::Cut(0), true),
        (FaultKind::Status(500, None), false),
        (FaultKind::Down, false),
    ] {
        let lab = Lab::new();
        lab.publish("lab/flava", "0.5").unwrap();
        lab.server.fault("/commit/", 1, kind.clone());
        let done = lab.publish("lab/another", "0.25");
        assert_eq!(done.is_ok(), expected, "{kind:?}: {done:?}");
        let (files, log) = (lab.server.files(BOARD), lab.server.log(BOARD));
        assert_eq!(log.len(), 2 + usize::from(expected), "{kind:?}");
        let table = files.contains_key("results/lab__another-110000000000.csv");
        assert_eq!(
            (table, lab.board().contains("lab/another")),
            (expected, expected),
            "{kind:?}"
        );
        assert!(!done.err().unwrap_or_default().contains("hf_"));
    }
}

#[test]
fn a_table_that_does_not_take_the_rows_is_left_alone() {
    let lab = Lab::new();
    lab.publish("lab/flava", "0.5").unwrap();
    let words = lab.publish("lab/another", "good").unwrap_err();
    assert!(
        words.contains("\"food101\"") && words.contains("two meanings"),
        "{words}"
    );
    let run = lab.run("lab/another");
    let mut tables = tables(&run, "0.25");
    tables.leaderboard = tables.leaderboard.replace("flava,1,", "flava,2,");
    let error = publish(&lab.writer(), &[run], &tables, &options()).unwrap_err();
    assert!(
        error.to_string().contains("suite_version (1, 2)"),
        "{error}"
    );
    assert_eq!(lab.server.log(BOARD).len(), 2);
}

#[test]
fn a_models_card_gets_a_proposal_that_touches_nothing_else() {
    let card = "---\nlicense: mit\n---\n\n# FLAVA\n";
    let theirs = ServedRepo {
        foreign: true,
        files: [("README.md".to_owned(), card.as_bytes().to_vec())].into(),
        ..ServedRepo::default()
    };
    let server = HubServer::start([("models/other/flava", theirs)]);
    let writer = HubWriter::at(&server.endpoint(), Some(TOKEN));
    let options = |dry_run| PublishOptions {
        repo: "other/flava".into(),
        dry_run,
        ..options()
    };
    let merge = |old: Option<&str>| {
        let block = "mit\nmodel-index:\n- name: flava\n  results: []\n";
        Ok(old.unwrap().replace("mit\n", block))
    };
    let dry = publish_model_card(&writer, &options(true), &merge).unwrap();
    assert_eq!(
        dry.plan,
        "other/flava\n  + model-index:\n  + - name: flava\n  +   results: []\n"
    );
    assert!(server.proposed("models/other/flava").is_empty());
    let done = publish_model_card(&writer, &options(false), &merge).unwrap();
    assert!(
        matches!(&done.ending, Ending::Done { url, .. } if url.ends_with("/other/flava/discussions/1"))
    );
    assert_eq!(server.files("models/other/flava")["README.md"], card);
    let proposed = &server.proposed("models/other/flava")[0]["README.md"];
    assert!(
        proposed.contains("model-index:") && proposed.ends_with("\n# FLAVA\n"),
        "{proposed}"
    );
    let same = publish_model_card(&writer, &options(false), &|old| Ok(old.unwrap().to_owned()));
    assert_eq!(same.unwrap().ending, Ending::NothingChanged);
    let bad = |old: Option<&str>| Ok(old.unwrap().replace("mit", "bsd"));
    let error = publish_model_card(&writer, &options(false), &bad).unwrap_err();
    assert!(
        error.to_string().contains("more than the model-index"),
        "{error}"
    );
    assert_eq!(server.proposed("models/other/flava").len(), 1);
}
