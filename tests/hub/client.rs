//! The client beside a server that fails in every way a Hub does.

use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicI64, Ordering},
};

use flava_model::hub::{Destination, Hub, HubError, Job, Listing, RepoId, RepoKind};
use tempfile::{TempDir, tempdir};

use crate::support::hub_server::{FaultKind, HubServer, ServedRepo, TOKEN};

const NAME: &str = "owner/data";

fn repo() -> ServedRepo {
    let noise = |seed: usize, size: usize| {
        (0..size)
            .map(|i| ((i * 2_654_435_761 + seed) >> 7) as u8)
            .collect::<Vec<u8>>()
    };
    let files = [
        ("README.md", b"# data\n".to_vec()),
        ("data/train-00000-of-00002.parquet", noise(1, 3_000_000)),
        ("data/train-00001-of-00002.parquet", noise(2, 500_000)),
        ("test/0.tar", noise(3, 1_200_000)),
        ("test/nshards.txt", b"1\n".to_vec()),
        ("a file.txt", noise(4, 300_000)),
        ("empty", Vec::new()),
    ];
    ServedRepo {
        files: files
            .into_iter()
            .map(|(path, bytes)| (path.to_owned(), bytes))
            .collect(),
        ..ServedRepo::default()
    }
}

/// A server of one repository, and the folder of a cache.
fn setup(repo: ServedRepo) -> (HubServer, TempDir) {
    (
        HubServer::start([("datasets/owner/data", repo)]),
        tempdir().unwrap(),
    )
}

fn hub(server: &HubServer, cache: &Path, token: Option<&str>) -> Hub {
    Hub::at(&server.endpoint(), token, cache.to_owned())
}

fn id(revision: &str) -> RepoId {
    RepoId::new(RepoKind::Dataset, NAME, revision).unwrap()
}

fn jobs(listing: &Listing, destination: &Destination) -> Vec<Job> {
    listing
        .files
        .iter()
        .map(|file| Job {
            repo: listing.repo.clone(),
            file: file.clone(),
            destination: destination.clone(),
        })
        .collect()
}

fn fetch_all(hub: &Hub, destination: &Destination) -> Result<(), HubError> {
    let listing = hub.list(&id("main"))?;
    let total = AtomicI64::new(0);
    let jobs = jobs(&listing, destination);
    hub.fetch(&jobs, &|bytes| {
        total.fetch_add(bytes, Ordering::Relaxed);
    })?;
    assert_eq!(
        total.into_inner(),
        jobs.iter().map(|job| job.file.size as i64).sum::<i64>(),
        "the meter counts every byte once"
    );
    Ok(())
}

fn assert_same(folder: &Path, repo: &ServedRepo) {
    for (path, bytes) in &repo.files {
        assert!(fs::read(folder.join(path)).unwrap() == *bytes, "{path}");
    }
}

#[test]
fn files_land_in_the_cache_as_python_lays_it_out() {
    let (server, cache) = setup(repo());
    let hub = hub(&server, cache.path(), Some(TOKEN));
    fetch_all(&hub, &Destination::Cache).unwrap();
    let commit = repo().commit();
    let folder = cache.path().join("datasets--owner--data");
    assert_eq!(
        fs::read_to_string(folder.join("refs/main")).unwrap(),
        commit
    );
    let snapshot = hub.snapshot(&id("main")).unwrap();
    assert_eq!(
        (snapshot.commit.as_str(), &snapshot.folder),
        (commit.as_str(), &folder.join("snapshots").join(&commit))
    );
    assert_same(&snapshot.folder, &repo());
    let link = fs::read_link(snapshot.folder.join("data/train-00000-of-00002.parquet")).unwrap();
    assert!(
        link.to_str().unwrap().starts_with("../../../blobs/")
            && link.file_name().unwrap().len() == 64,
        "{}",
        link.display()
    );
    assert_eq!(
        fs::read_link(snapshot.folder.join("README.md"))
            .unwrap()
            .file_name()
            .unwrap()
            .len(),
        40
    );
    let seen = server.take_seen();
    assert!(
        seen.iter().filter(|s| s.host == "hub").all(|s| s.token),
        "the endpoint gets the token"
    );
    assert!(
        seen.iter().any(|s| s.host == "cdn")
            && seen.iter().filter(|s| s.host == "cdn").all(|s| !s.token),
        "no other host does"
    );
    assert_eq!(
        seen.iter().filter(|s| s.path.contains("/tree/")).count(),
        3,
        "one listing, in three pages"
    );
    // Again, by another program: nothing but the question which commit main is, and what it holds.
    fetch_all(&self::hub(&server, cache.path(), None), &Destination::Cache).unwrap();
    let seen = server.take_seen();
    assert!(
        seen.len() == 4 && seen.iter().all(|s| s.path.contains("/api/")),
        "{seen:?}"
    );
    // Without a network the same, and not a socket.
    let offline = Hub::new(None, cache.path().to_owned());
    assert_eq!(offline.snapshot(&id("main")).unwrap(), snapshot);
    assert_eq!(
        offline.snapshot(&id(&commit[..8])).unwrap().commit,
        commit,
        "a shortened commit is found"
    );
    assert!(matches!(
        offline.list(&id("main")),
        Err(HubError::Offline { .. })
    ));
    assert!(server.take_seen().is_empty());
}

#[test]
fn a_folder_gets_plain_files_and_takes_them_from_the_cache() {
    let (server, cache) = setup(repo());
    let to = tempdir().unwrap();
    let hub = hub(&server, cache.path(), None);
    fetch_all(&hub, &Destination::Folder(to.path().join("a"))).unwrap();
    assert_same(&to.path().join("a"), &repo());
    assert!(
        fs::symlink_metadata(to.path().join("a/README.md"))
            .unwrap()
            .is_file()
    );
    fetch_all(&hub, &Destination::Cache).unwrap();
    server.take_seen();
    fetch_all(&hub, &Destination::Folder(to.path().join("b"))).unwrap();
    assert_same(&to.path().join("b"), &repo());
    assert!(
        server
            .take_seen()
            .iter()
            .all(|s| !s.path.contains("resolve")),
        "what the cache has is not fetched again"
    );
}

#[test]
fn cut_downloads_go_on_where_they_ended() {
    let (server, cache) = setup(repo());
    let hub = hub(&server, cache.path(), None);
    server.fault("data_train-00000", 2, FaultKind::Cut(1_000_000));
    fetch_all(&hub, &Destination::Cache).unwrap();
    assert_same(&hub.snapshot(&id("main")).unwrap().folder, &repo());
    let starts: Vec<String> = server
        .take_seen()
        .into_iter()
        .filter(|s| s.host == "cdn" && s.path.contains("train-00000"))
        .map(|s| s.range.unwrap_or_default())
        .collect();
    assert_eq!(starts.len(), 3);
    assert!(
        starts[1].starts_with("bytes=")
            && starts[2].starts_with("bytes=")
            && starts[1] != starts[2],
        "{starts:?}"
    );
    // A server without ranges: from the start, and right all the same.
    let (server, cache) = setup(repo());
    server.fault("data_train-00000", 1, FaultKind::Cut(1_000_000));
    server.fault("data_train-00000", 9, FaultKind::NoRanges);
    let hub = self::hub(&server, cache.path(), None);
    fetch_all(&hub, &Destination::Cache).unwrap();
    assert_same(&hub.snapshot(&id("main")).unwrap().folder, &repo());
}

#[test]
fn a_killed_download_leaves_what_python_and_we_go_on_with() {
    let (server, cache) = setup(repo());
    let hub = hub(&server, cache.path(), None);
    let listing = hub.list(&id("main")).unwrap();
    let file = listing
        .files
        .iter()
        .find(|f| f.path.contains("train-00000"))
        .unwrap();
    let blob = cache
        .path()
        .join("datasets--owner--data/blobs")
        .join(file.checksum.blob());
    fs::create_dir_all(blob.parent().unwrap()).unwrap();
    let bytes = &repo().files[&file.path];
    fs::write(blob.with_extension("incomplete"), &bytes[..2_000_000]).unwrap();
    fetch_all(&hub, &Destination::Cache).unwrap();
    assert!(
        server
            .take_seen()
            .iter()
            .any(|s| s.range.as_deref() == Some("bytes=2000000-"))
    );
    assert_same(&hub.snapshot(&id("main")).unwrap().folder, &repo());
    // Half a file of something else: noticed by its checksum, fetched anew.
    fs::remove_file(&blob).unwrap();
    fs::write(blob.with_extension("incomplete"), vec![7; 1_000_000]).unwrap();
    fetch_all(&hub, &Destination::Cache).unwrap();
    assert!(fs::read(&blob).unwrap() == *bytes);
}

#[test]
fn wrong_bytes_and_error_pages_never_become_files() {
    for kind in [
        FaultKind::WrongByte,
        FaultKind::Status(403, None),
        FaultKind::Status(418, None),
    ] {
        let (server, cache) = setup(repo());
        server.fault("train-00001", 99, kind.clone());
        let hub = hub(&server, cache.path(), None);
        let error = fetch_all(&hub, &Destination::Cache)
            .unwrap_err()
            .to_string();
        if matches!(kind, FaultKind::WrongByte) {
            assert!(
                error.contains("data/train-00001-of-00002.parquet") && error.contains("checksum"),
                "{error}"
            );
        }
        let blobs = cache.path().join("datasets--owner--data/blobs");
        let sizes: Vec<u64> = repo()
            .files
            .values()
            .map(|bytes| bytes.len() as u64)
            .collect();
        for blob in fs::read_dir(blobs).unwrap() {
            let blob = blob.unwrap();
            let whole = !blob.path().to_str().unwrap().ends_with(".incomplete");
            assert!(
                !whole || sizes.contains(&blob.metadata().unwrap().len()),
                "{kind:?}: {blob:?}"
            );
        }
        assert!(
            !hub.snapshot(&id("main"))
                .is_some_and(|s| s.folder.join("data/train-00001-of-00002.parquet").exists()),
            "{kind:?}"
        );
    }
}

#[test]
fn a_busy_hub_is_asked_again_after_the_time_it_names() {
    let (server, cache) = setup(repo());
    server.fault("/revision/", 1, FaultKind::Status(429, Some(1)));
    server.fault("train-00001", 2, FaultKind::Status(503, Some(0)));
    let hub = hub(&server, cache.path(), None);
    let start = std::time::Instant::now();
    fetch_all(&hub, &Destination::Cache).unwrap();
    assert!(start.elapsed().as_secs_f64() >= 1.0);
    assert_same(&hub.snapshot(&id("main")).unwrap().folder, &repo());
    server.fault("/revision/", 99, FaultKind::Status(429, Some(0)));
    let another = self::hub(&server, cache.path(), None);
    assert!(
        matches!(
            another.list(&id("main")),
            Err(HubError::Busy { status: 429, .. })
        ),
        "it does not ask for ever"
    );
}

#[test]
fn refusals_say_what_to_do() {
    let error = |repo: ServedRepo, token: Option<&str>, revision: &str| {
        let (server, cache) = setup(repo);
        let hub = hub(&server, cache.path(), token);
        let error = hub
            .list(&id(revision))
            .and_then(|listing| hub.fetch(&jobs(&listing, &Destination::Cache), &|_| ()))
            .unwrap_err();
        let text = error.to_string();
        assert!(!text.contains("hf_"), "no token in {text}");
        text
    };
    let gated = error(
        ServedRepo {
            gated: true,
            ..repo()
        },
        None,
        "main",
    );
    assert!(
        gated.contains("is gated")
            && gated.contains("/datasets/owner/data")
            && gated.contains("HF_TOKEN"),
        "{gated}"
    );
    let private = error(
        ServedRepo {
            private: true,
            ..repo()
        },
        None,
        "main",
    );
    assert!(
        private.contains("is private") && private.contains("HF_TOKEN"),
        "{private}"
    );
    let wrong = error(repo(), Some("hf_another"), "main");
    assert!(wrong.contains("refuses the token"), "{wrong}");
    let revision = error(repo(), None, "v9");
    assert!(revision.contains("no revision \"v9\""), "{revision}");
    let missing = {
        let (server, cache) = setup(repo());
        let other = RepoId::new(RepoKind::Dataset, "owner/dtaa", "").unwrap();
        hub(&server, cache.path(), Some(TOKEN))
            .list(&other)
            .unwrap_err()
            .to_string()
    };
    assert!(missing.contains("there is no owner/dtaa"), "{missing}");
    let all = [gated, private, wrong, revision, missing];
    assert!(
        all.iter()
            .enumerate()
            .all(|(i, a)| all[..i].iter().all(|b| a != b))
    );
}

#[test]
fn a_renamed_repository_is_followed_and_named() {
    let server = HubServer::start([
        (
            "datasets/owner/old",
            ServedRepo {
                renamed: Some("owner/new".into()),
                ..repo()
            },
        ),
        ("datasets/owner/new", repo()),
    ]);
    let cache = tempdir().unwrap();
    let hub = hub(&server, cache.path(), None);
    let listing = hub
        .list(&RepoId::new(RepoKind::Dataset, "owner/old", "").unwrap())
        .unwrap();
    assert_eq!(listing.renamed.as_deref(), Some("owner/new"));
    hub.fetch(&jobs(&listing, &Destination::Cache), &|_| ())
        .unwrap();
}

#[test]
fn listed_names_cannot_leave_the_folder() {
    for evil in ["../../../evil", "/tmp/evil", "data/../../evil", "..\\evil"] {
        let (server, cache) = setup(ServedRepo {
            listed_as: Some(("README.md".into(), evil.into())),
            ..repo()
        });
        let error = hub(&server, cache.path(), None)
            .list(&id("main"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("leads out of its folder"), "{error}");
    }
}

#[test]
fn shortened_commits_are_found_among_the_commits() {
    let (server, cache) = setup(repo());
    let hub = hub(&server, cache.path(), None);
    let commit = repo().commit();
    assert_eq!(hub.list(&id(&commit[..7])).unwrap().repo.revision, commit);
    assert!(matches!(
        hub.list(&id("abcdef0")),
        Err(HubError::Revision { .. })
    ));
}

#[test]
fn two_programs_share_one_download() {
    let (server, cache) = setup(repo());
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                fetch_all(&hub(&server, cache.path(), None), &Destination::Cache).unwrap();
            });
        }
    });
    let fetched: Vec<_> = server
        .take_seen()
        .into_iter()
        .filter(|s| s.host == "cdn")
        .collect();
    assert_eq!(
        fetched.len(),
        3,
        "each of the three large files once: {fetched:?}"
    );
}
