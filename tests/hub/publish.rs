//! Writing to a server that fails in every way a Hub does: afterwards a repository has its old
//! commit or the new one, never a part of it.

use std::{collections::BTreeMap, time::Instant};

use flava_model::hub::{
    RepoId, RepoKind,
    write::{
        Access, CommitPlan, Committed, Content, Created, HubWriter, Upload, Visibility, WriteError,
    },
};
use serde_json::Value;
use tempfile::tempdir;

use crate::support::hub_server::{FaultKind, HubServer, READ_TOKEN, Seen, ServedRepo, TOKEN};

const BOARD: &str = "datasets/owner/board";

fn repo() -> ServedRepo {
    let files = [
        ("README.md", "---\nlicense: mit\n---\n"),
        ("leaderboard.csv", "model,accuracy\na,0.5\n"),
    ];
    ServedRepo {
        files: files
            .into_iter()
            .map(|(path, text)| (path.to_owned(), text.as_bytes().to_vec()))
            .collect(),
        ..ServedRepo::default()
    }
}

fn server() -> HubServer {
    HubServer::start([
        (BOARD, repo()),
        (
            "datasets/other/board",
            ServedRepo {
                foreign: true,
                ..repo()
            },
        ),
        (
            "datasets/owner/old",
            ServedRepo {
                renamed: Some("owner/board".into()),
                ..repo()
            },
        ),
    ])
}

fn writer(server: &HubServer) -> HubWriter {
    HubWriter::at(&server.endpoint(), Some(TOKEN))
}

fn id(name: &str) -> RepoId {
    RepoId::new(RepoKind::Dataset, name, "").unwrap()
}

fn board() -> RepoId {
    id("owner/board")
}

fn plan(files: Vec<Upload>) -> CommitPlan {
    CommitPlan {
        summary: "Add b".into(),
        files,
        ..CommitPlan::default()
    }
}

/// A row more in the table, after the head.
fn row(writer: &HubWriter) -> CommitPlan {
    CommitPlan {
        parent: Some(writer.head(&board()).unwrap().oid),
        ..plan(vec![
            Upload::bytes("leaderboard.csv", "model,accuracy\na,0.5\nb,0.75\n"),
            Upload::bytes("results/b.csv", "metric,value\naccuracy,0.75\n"),
        ])
    }
}

/// Whether the row is there, with all that came with it.
fn is_published(server: &HubServer) -> bool {
    let files = server.files(BOARD);
    let row = files["leaderboard.csv"].contains("b,0.75");
    assert_eq!(row, files.contains_key("results/b.csv"), "half of a commit");
    assert_eq!(row, server.log(BOARD).contains(&"Add b".to_owned()));
    row
}

fn posts<'a>(seen: &'a [Seen], what: &str) -> Vec<&'a Seen> {
    let posts = seen.iter().filter(|s| s.method == "POST");
    posts.filter(|s| s.path.contains(what)).collect()
}

fn lines(seen: &Seen) -> Vec<Value> {
    let text = std::str::from_utf8(&seen.body).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn noise(size: usize) -> Vec<u8> {
    (0..size)
        .map(|i| ((i * 2_654_435_761) >> 7) as u8)
        .collect()
}

#[test]
fn small_and_large_files_arrive_in_one_commit() {
    let (server, folder) = (server(), tempdir().unwrap());
    let writer = writer(&server);
    let (small, large) = (noise(300), noise(500_000));
    std::fs::write(folder.path().join("p.parquet"), &large).unwrap();
    let file = |path: &str| Upload {
        path: path.into(),
        content: Content::File(folder.path().join("p.parquet")),
    };
    let head = writer.head(&board()).unwrap();
    assert!(!head.private);
    server.take_seen();
    let plan = CommitPlan {
        parent: Some(head.oid.clone()),
        delete: vec!["leaderboard.csv".into()],
        ..plan(vec![
            Upload::bytes("a b/ü.csv", small.clone()),
            Upload::bytes("empty.parquet", Vec::new()),
            Upload::bytes("README.md", "---\nlicense: mit\n---\n"),
            Upload::bytes("ignored/x", "x"),
            file("predictions/a.parquet"),
            file("predictions/b.parquet"),
        ])
    };
    let done = writer.commit(&board(), &plan).unwrap();
    let Committed::Done {
        oid,
        url,
        pr_url,
        ignored,
    } = done
    else {
        panic!("{done:?}")
    };
    assert_eq!(writer.head(&board()).unwrap().oid, oid);
    assert!(
        url.ends_with(&format!("/datasets/owner/board/commit/{oid}")),
        "{url}"
    );
    assert_eq!((pr_url, ignored), (None, vec!["ignored/x".to_owned()]));
    let paths: Vec<String> = server.files(BOARD).into_keys().collect();
    let expected = [
        "README.md",
        "a b/ü.csv",
        "empty.parquet",
        "predictions/a.parquet",
        "predictions/b.parquet",
    ];
    assert_eq!(paths, expected);
    let read = |path: &str| writer.read(&board(), &oid, path, 1 << 20).unwrap();
    assert_eq!(read("a b/ü.csv").unwrap(), small);
    assert_eq!(read("predictions/b.parquet").unwrap(), large);
    assert!(read("leaderboard.csv").is_none());
    let old = writer
        .read(&board(), &head.oid, "leaderboard.csv", 99)
        .unwrap();
    assert_eq!(old.unwrap(), b"model,accuracy\na,0.5\n");
    assert!(
        writer.read(&board(), &oid, "a b/ü.csv", 299).is_err(),
        "too long"
    );

    let seen = server.take_seen();
    let commit = lines(posts(&seen, "/commit/")[0]);
    let keys: Vec<&str> = commit
        .iter()
        .map(|line| line["key"].as_str().unwrap())
        .collect();
    assert_eq!(
        keys,
        [
            "header",
            "file",
            "file",
            "lfsFile",
            "lfsFile",
            "deletedFile"
        ]
    );
    assert_eq!(commit[0]["value"]["parentCommit"], head.oid.as_str());
    let puts: Vec<&Seen> = seen.iter().filter(|s| s.method == "PUT").collect();
    assert_eq!(puts.len(), 1, "the same bytes are sent once");
    assert!(
        puts[0].host == "cdn" && !puts[0].token,
        "storage gets no token"
    );
    assert!(seen.iter().filter(|s| s.host == "hub").all(|s| s.token));
    assert_eq!(posts(&seen, "/api/verify/").len(), 1);
    assert_eq!(posts(&seen, "/api/validate-yaml").len(), 1);
}

#[test]
fn large_files_go_in_parts_and_only_once() {
    let server = server();
    server.part(200_000);
    let writer = writer(&server);
    let large = noise(500_001);
    server.fault("/upload/", 2, FaultKind::Status(503, Some(0)));
    server.fault("/3", 1, FaultKind::Dropped);
    let files = vec![Upload::bytes("p.parquet", large.clone())];
    writer.commit(&board(), &plan(files.clone())).unwrap();
    let oid = writer.head(&board()).unwrap().oid;
    let read = writer.read(&board(), &oid, "p.parquet", 1 << 20).unwrap();
    assert_eq!(read.unwrap(), large);
    let seen = server.take_seen();
    let puts = seen.iter().filter(|s| s.method == "PUT");
    assert_eq!(puts.map(|s| s.body.len()).max(), Some(200_000));
    assert!(
        seen.iter()
            .any(|s| s.path.ends_with("/complete") && s.method == "POST")
    );
    // Once more: nothing is sent, nothing is committed.
    let again = writer.commit(&board(), &plan(files)).unwrap();
    assert_eq!(again, Committed::NothingChanged);
    let seen = server.take_seen();
    assert!(
        seen.len() == 1 && seen[0].path.contains("preupload"),
        "{seen:?}"
    );
    // Under another name: the storage has its bytes.
    let files = vec![Upload::bytes("q.parquet", large)];
    writer.commit(&board(), &plan(files)).unwrap();
    assert!(server.take_seen().iter().all(|s| s.method != "PUT"));
}

#[test]
fn many_files_are_asked_about_in_calls_of_256() {
    let server = server();
    let files = (0..600).map(|i| Upload::bytes(&format!("f/{i}.csv"), format!("{i}")));
    writer(&server)
        .commit(&board(), &plan(files.collect()))
        .unwrap();
    assert_eq!(server.files(BOARD).len(), 602);
    let seen = server.take_seen();
    let sizes = posts(&seen, "/preupload/").into_iter().map(|call| {
        let body: Value = serde_json::from_slice(&call.body).unwrap();
        body["files"].as_array().unwrap().len()
    });
    assert_eq!(sizes.collect::<Vec<_>>(), [256, 256, 88]);
    assert_eq!(posts(&seen, "/commit/").len(), 1);
}

#[test]
fn who_may_write_is_asked_before_anything_is_sent() {
    let server = server();
    let may = writer(&server).may_write(&board()).unwrap();
    assert_eq!((may.account.as_str(), may.access), ("owner", Access::Write));
    let new = writer(&server).may_write(&id("lab/new")).unwrap();
    assert_eq!(new.access, Access::Create);
    let foreign = writer(&server).may_propose(&id("other/board")).unwrap();
    assert_eq!(foreign.access, Access::Propose);
    let refused = |token: Option<&str>, name: &str| {
        let writer = HubWriter::at(&server.endpoint(), token);
        let error = writer.may_write(&id(name)).unwrap_err().to_string();
        assert!(!error.contains("hf_"), "no token in {error}");
        error
    };
    let read_only = refused(Some(READ_TOKEN), "owner/board");
    assert!(
        read_only.contains("may only read") && read_only.contains("\"of the tests\""),
        "{read_only}"
    );
    let foreign = refused(Some(TOKEN), "other/board");
    assert!(
        foreign.contains("--pr") && foreign.contains("owner may not write"),
        "{foreign}"
    );
    let missing = refused(Some(TOKEN), "other/none");
    assert!(missing.contains("only other could make it"), "{missing}");
    let wrong = refused(Some("hf_wrong"), "owner/board");
    assert!(wrong.contains("not valid"), "{wrong}");
    let moved = refused(Some(TOKEN), "owner/old");
    assert!(moved.contains("owner/board"), "{moved}");
    server.take_seen();
    let nobody = refused(None, "owner/board");
    assert!(nobody.contains("HF_TOKEN"), "{nobody}");
    assert!(server.take_seen().is_empty());
}

#[test]
fn repositories_are_private_unless_asked_otherwise_and_made_once() {
    let server = server();
    let writer = writer(&server);
    let create = |name: &str, visibility| writer.create(&id(name), visibility);
    let made = create("owner/new", Visibility::Private).unwrap();
    assert_eq!(made, Created::New);
    assert!(server.is_private("datasets/owner/new"));
    let again = create("owner/new", Visibility::Public).unwrap();
    assert_eq!(again, Created::Existed);
    assert!(server.is_private("datasets/owner/new"), "it stays as it is");
    create("lab/open", Visibility::Public).unwrap();
    assert!(!server.is_private("datasets/lab/open"));
    // Whoever may not make it may still write, if it can be seen.
    assert_eq!(
        create("other/board", Visibility::Private).unwrap(),
        Created::Existed
    );
    let refused = create("other/new", Visibility::Private)
        .unwrap_err()
        .to_string();
    assert!(
        refused.contains("403") && refused.contains("You don't have the rights"),
        "{refused}"
    );
    assert!(refused.contains("request Root=1-2345"), "{refused}");
    server.fault("/repos/create", 2, FaultKind::Status(429, Some(0)));
    assert_eq!(
        create("owner/late", Visibility::Private).unwrap(),
        Created::New
    );
}

#[test]
fn another_commit_in_between_is_told_and_nothing_is_lost() {
    let server = server();
    let writer = writer(&server);
    let row = row(&writer);
    let between = FaultKind::Overtaken {
        repo: BOARD,
        file: "leaderboard.csv",
        line: "c,0.25\n",
    };
    server.fault("/commit/", 1, between);
    let error = writer.commit(&board(), &row).unwrap_err();
    assert!(error.is_conflict(), "{error}");
    assert!(
        error.to_string().contains("A commit has happened since"),
        "{error}"
    );
    assert!(!is_published(&server));
    assert!(server.files(BOARD)["leaderboard.csv"].ends_with("c,0.25\n"));
}

#[test]
fn a_lost_answer_is_looked_up_and_the_commit_never_sent_twice() {
    for kind in [
        FaultKind::StatusAfter(500),
        FaultKind::StatusAfter(504),
        FaultKind::Cut(0),
        FaultKind::Cut(20),
    ] {
        for with_parent in [true, false] {
            let server = server();
            let writer = writer(&server);
            let mut row = row(&writer);
            row.parent = row.parent.filter(|_| with_parent);
            server.fault("/commit/", 1, kind.clone());
            let done = writer.commit(&board(), &row).unwrap();
            let Committed::Done { oid, url, .. } = done else {
                panic!("{kind:?}: {done:?}")
            };
            assert!(is_published(&server), "{kind:?}");
            assert_eq!(oid, writer.head(&board()).unwrap().oid);
            assert!(url.contains(&oid));
            assert_eq!(posts(&server.take_seen(), "/commit/").len(), 1, "{kind:?}");
            assert_eq!(server.log(BOARD).len(), 2);
        }
    }
}

#[test]
fn what_did_not_happen_is_said_so() {
    for kind in [
        FaultKind::Status(500, None),
        FaultKind::Status(503, Some(0)),
        FaultKind::Dropped,
    ] {
        let server = server();
        let writer = writer(&server);
        let row = row(&writer);
        server.fault("/commit/", 1, kind.clone());
        let error = writer.commit(&board(), &row).unwrap_err();
        assert!(
            matches!(error, WriteError::NotCommitted { .. }),
            "{kind:?}: {error}"
        );
        assert!(error.to_string().contains("nothing was written"), "{error}");
        assert!(!is_published(&server));
        assert_eq!(posts(&server.take_seen(), "/commit/").len(), 1, "{kind:?}");
        // The same again goes through.
        writer.commit(&board(), &row).unwrap();
        assert!(is_published(&server));
    }
    // Refused plainly: nobody is asked what happened, and nothing is sent again.
    for status in [429, 409, 403] {
        let server = server();
        let writer = writer(&server);
        server.fault("/commit/", 1, FaultKind::Status(status, Some(0)));
        let error = writer
            .commit(&board(), &row(&writer))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains(&status.to_string()) && error.contains("Root=1-9"),
            "{error}"
        );
        assert!(!is_published(&server));
        assert_eq!(posts(&server.take_seen(), "/commit/").len(), 1);
    }
}

#[test]
fn a_commit_of_somebody_else_is_not_taken_for_ours() {
    let server = server();
    let writer = writer(&server);
    let row = row(&writer);
    // The server falls ill before the commit, and another's comes first.
    server.fault("/commit/", 1, FaultKind::Status(500, None));
    let between = FaultKind::Overtaken {
        repo: BOARD,
        file: "leaderboard.csv",
        line: "c,0.25\n",
    };
    server.fault("/commits/", 1, between);
    let error = writer.commit(&board(), &row).unwrap_err();
    assert!(error.is_conflict(), "{error}");
    assert!(!is_published(&server));
}

#[test]
fn a_server_that_goes_down_leaves_the_old_commit_or_the_new_one() {
    let start = Instant::now();
    for needle in ["/commit/", "/preupload/", "/upload/"] {
        let server = server();
        let writer = writer(&server);
        let mut row = row(&writer);
        row.files.push(Upload::bytes("p.parquet", noise(1000)));
        server.fault(needle, 1, FaultKind::Down);
        let error = writer.commit(&board(), &row).unwrap_err();
        let text = error.to_string();
        assert!(!text.contains("hf_"), "no token in {text}");
        assert!(!is_published(&server), "{needle}");
        if needle == "/commit/" {
            assert!(matches!(error, WriteError::Unsettled { .. }), "{text}");
            assert!(
                text.contains("/datasets/owner/board/commits/main"),
                "{text}"
            );
        }
    }
    // Done, and then down.
    let server = server();
    let writer = writer(&server);
    let row = row(&writer);
    server.fault("/commits/", 1, FaultKind::Down);
    server.fault("/commit/", 1, FaultKind::StatusAfter(500));
    let error = writer.commit(&board(), &row).unwrap_err();
    assert!(matches!(error, WriteError::Unsettled { .. }), "{error}");
    assert!(is_published(&server));
    assert!(start.elapsed().as_secs() < 120);
}

#[test]
fn a_busy_hub_is_asked_again_about_everything_but_the_commit() {
    let server = server();
    let writer = writer(&server);
    for needle in [
        "/revision/",
        "/tree/",
        "/preupload/",
        "/objects/batch",
        "/upload/",
        "/verify/",
        "/validate-yaml",
        "/whoami",
        "/auth-check",
    ] {
        server.fault(needle, 1, FaultKind::Status(429, Some(0)));
        server.fault(needle, 1, FaultKind::Dropped);
    }
    writer.may_write(&board()).unwrap();
    let mut row = row(&writer);
    row.files.push(Upload::bytes("p.parquet", noise(1000)));
    row.files.push(Upload::bytes(
        "README.md",
        "---\nlicense: apache-2.0\n---\n",
    ));
    writer.commit(&board(), &row).unwrap();
    assert!(is_published(&server));
    let parent = row.parent.unwrap();
    let old = writer
        .read(&board(), &parent, "leaderboard.csv", 99)
        .unwrap();
    assert!(old.is_some());
}

#[test]
fn pull_requests_change_nothing_and_are_made_once() {
    for kind in [
        None,
        Some(FaultKind::StatusAfter(500)),
        Some(FaultKind::Cut(0)),
    ] {
        let server = server();
        let writer = writer(&server);
        let row = CommitPlan {
            as_pr: true,
            parent: None,
            ..row(&writer)
        };
        if let Some(kind) = kind {
            server.fault("/commit/", 1, kind);
        }
        let foreign = id("other/board");
        let done = writer.commit(&foreign, &row).unwrap();
        let Committed::Done {
            pr_url: Some(url), ..
        } = done
        else {
            panic!("{done:?}")
        };
        assert!(
            url.ends_with("/datasets/other/board/discussions/1"),
            "{url}"
        );
        let proposed = server.proposed("datasets/other/board");
        assert!(proposed.len() == 1 && proposed[0].contains_key("results/b.csv"));
        assert_eq!(server.log("datasets/other/board").len(), 1);
        let seen = server.take_seen();
        let commits = posts(&seen, "/commit/");
        assert!(commits.len() == 1 && commits[0].path.ends_with("/commit/main?create_pr=1"));
        assert!(
            posts(&seen, "/preupload/")[0]
                .path
                .ends_with("?create_pr=1")
        );
        // Without, it is refused.
        let direct = CommitPlan {
            as_pr: false,
            ..row
        };
        let error = writer.commit(&foreign, &direct).unwrap_err().to_string();
        assert!(error.contains("403"), "{error}");
    }
}

#[test]
fn what_no_repository_takes_is_refused_before_anything_is_sent() {
    let server = server();
    let writer = writer(&server);
    let file = |path: &str| plan(vec![Upload::bytes(path, "x")]);
    let mut deletes = file("a");
    deletes.delete.push("../b".into());
    let mut short = file("a");
    short.summary = "two\nlines".into();
    let mut parent = file("a");
    parent.parent = Some("main".into());
    let mut gone = file("a");
    gone.files.push(Upload {
        path: "b".into(),
        content: Content::File("/nowhere/b".into()),
    });
    for plan in [
        file(".git/config"),
        file("a/../../b"),
        file("/etc/passwd"),
        file(""),
        file("a\tb"),
        deletes,
        short,
        parent,
        gone,
    ] {
        assert!(writer.commit(&board(), &plan).is_err(), "{plan:?}");
    }
    assert!(server.take_seen().is_empty());
    let card = plan(vec![Upload::bytes(
        "README.md",
        "---\nlicense: none-such\n---\n",
    )]);
    let error = writer.commit(&board(), &card).unwrap_err().to_string();
    assert!(
        error.contains("README.md: \"license\" must be one of"),
        "{error}"
    );
    assert_eq!(server.log(BOARD).len(), 1);
}

#[test]
fn without_a_network_no_socket_is_opened() {
    let writer = HubWriter::from_environment(true);
    assert!(writer.is_offline());
    let errors = [
        writer.may_write(&board()).map(drop),
        writer.create(&board(), Visibility::Private).map(drop),
        writer.head(&board()).map(drop),
        writer.read(&board(), "main", "a", 9).map(drop),
        writer.commit(&board(), &plan(Vec::new())).map(drop),
    ];
    for error in errors {
        assert!(matches!(error, Err(WriteError::Offline { .. })));
    }
}

#[test]
fn wrong_and_cut_bytes_are_not_read_for_the_table() {
    let server = server();
    let writer = writer(&server);
    let head = writer.head(&board()).unwrap().oid;
    server.fault("/resolve/", 1, FaultKind::WrongByte);
    server.fault("/resolve/", 1, FaultKind::Cut(9));
    let read = writer.read(&board(), &head, "leaderboard.csv", 99).unwrap();
    assert_eq!(read.unwrap(), b"model,accuracy\na,0.5\n");
    server.fault("/resolve/", 99, FaultKind::Cut(9));
    assert!(writer.read(&board(), &head, "leaderboard.csv", 99).is_err());
    let served: BTreeMap<String, String> = server.files(BOARD);
    assert_eq!(served.len(), 2);
}
