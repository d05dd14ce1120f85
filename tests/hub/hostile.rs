//! The client beside a server that answers for ever, or points elsewhere. Each is refused; none is
//! followed or waited for without end.

use std::{
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc::channel,
    },
    thread,
    time::Duration,
};

use flava_model::hub::{Destination, Hub, Job, RepoId, RepoKind};
use tempfile::tempdir;

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// A server that answers the nth request for a page of the listing with `page(n, endpoint)`: a
/// `Link` header, if any, and a body.
fn listing(
    page: impl Fn(usize, &str) -> (Option<String>, String) + Send + 'static,
) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let (told, pages) = (endpoint.clone(), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&pages);
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            answer(&stream, &told, &count, &page);
        }
    });
    (endpoint, pages)
}

fn answer(
    mut stream: &TcpStream,
    endpoint: &str,
    pages: &AtomicUsize,
    page: &impl Fn(usize, &str) -> (Option<String>, String),
) {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    loop {
        let Some(request) = lines.next() else { return };
        lines
            .by_ref()
            .take_while(|line| !line.is_empty())
            .for_each(drop);
        let (link, body) = if request.contains("/tree/") {
            page(pages.fetch_add(1, Ordering::SeqCst), endpoint)
        } else {
            (
                None,
                format!("{{\"id\": \"owner/data\", \"sha\": \"{COMMIT}\", \"siblings\": []}}"),
            )
        };
        let link = link.map_or_else(String::new, |link| format!("Link: {link}\r\n"));
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{link}Content-Length: {}\r\n\r\n",
            body.len()
        );
        if stream.write_all((head + &body).as_bytes()).is_err() {
            return;
        }
    }
}

fn refusal(endpoint: &str) -> String {
    let cache = tempdir().unwrap();
    let repo = RepoId::new(RepoKind::Dataset, "owner/data", "main").unwrap();
    Hub::at(endpoint, None, cache.path().to_owned())
        .list(&repo)
        .unwrap_err()
        .to_string()
}

fn file(number: usize) -> String {
    format!(
        "[{{\"type\": \"file\", \"path\": \"f{number}\", \"size\": 1, \"oid\": \"{number:040x}\"}}]"
    )
}

fn next(endpoint: &str, cursor: usize) -> String {
    format!("<{endpoint}/api/datasets/owner/data/tree/{COMMIT}?cursor={cursor}>; rel=\"next\"")
}

#[test]
fn pages_without_end_are_not_turned_for_ever() {
    // Pages that bring nothing, the same file again, and ever new ones.
    type Page = fn(usize, &str) -> (Option<String>, String);
    let kinds: [(Page, usize); 3] = [
        (
            |page, endpoint| (Some(next(endpoint, page)), "[]".into()),
            2,
        ),
        (|page, endpoint| (Some(next(endpoint, page)), file(0)), 3),
        (
            |page, endpoint| (Some(next(endpoint, page)), file(page)),
            60,
        ),
    ];
    for (page, most) in kinds {
        let (endpoint, pages) = listing(page);
        let told = refusal(&endpoint);
        assert!(told.contains("page"), "{told}");
        assert!(
            pages.load(Ordering::SeqCst) <= most,
            "{} pages of at most {most}: {told}",
            pages.load(Ordering::SeqCst)
        );
    }
}

/// What a server gives so slowly that nobody would wait.
#[derive(Clone, Copy, PartialEq)]
enum Slow {
    /// The head of the answer that resolves a revision, and its body.
    Head,
    Json,
    /// The same of a file.
    FileHead,
    File,
}

/// A server that answers as it should, but for one thing that trickles.
fn slow(what: Slow) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || answer_slowly(&stream, what));
        }
    });
    endpoint
}

fn answer_slowly(mut stream: &TcpStream, what: Slow) {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    while let Some(request) = lines.next() {
        lines
            .by_ref()
            .take_while(|line| !line.is_empty())
            .for_each(drop);
        let (body, slow_head, slow_body) = if request.contains("/tree/") {
            (
                file(0).replace("\"size\": 1", "\"size\": 5000"),
                false,
                false,
            )
        } else if request.contains("/resolve/") {
            ("x".repeat(5000), what == Slow::FileHead, what == Slow::File)
        } else {
            (
                format!("{{\"id\": \"owner/data\", \"sha\": \"{COMMIT}\", \"siblings\": []}}"),
                what == Slow::Head,
                what == Slow::Json,
            )
        };
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        for (text, every) in [
            (head, slow_head.then_some(5)),
            (body, slow_body.then_some(2)),
        ] {
            let pieces: Vec<&[u8]> = if every.is_some() {
                text.as_bytes().chunks(1).collect()
            } else {
                vec![text.as_bytes()]
            };
            for piece in pieces {
                if stream.write_all(piece).is_err() {
                    return;
                }
                thread::sleep(Duration::from_secs(every.unwrap_or(0)));
            }
        }
    }
}

#[test]
fn answers_that_trickle_are_given_up_within_two_minutes() {
    let (ended, end) = channel();
    for what in [Slow::Head, Slow::Json, Slow::FileHead, Slow::File] {
        let ended = ended.clone();
        thread::spawn(move || {
            let cache = tempdir().unwrap();
            let repo = RepoId::new(RepoKind::Dataset, "owner/data", "main").unwrap();
            let hub = Hub::at(&slow(what), None, cache.path().to_owned());
            let fetched = hub.list(&repo).and_then(|listing| {
                let job = |file| Job {
                    repo: listing.repo.clone(),
                    file,
                    destination: Destination::Cache,
                };
                hub.fetch(
                    &listing.files.iter().cloned().map(job).collect::<Vec<_>>(),
                    &|_| (),
                )
            });
            ended
                .send(fetched.map_err(|error| error.to_string()))
                .unwrap();
        });
    }
    for _ in 0..4 {
        let told = end
            .recv_timeout(Duration::from_mins(2))
            .expect("it is waited for without end")
            .unwrap_err();
        assert!(told.contains("owner/data"), "{told}");
    }
}

#[test]
fn a_page_elsewhere_is_not_turned_to() {
    let (other, asked) = listing(|page, _| (None, file(page)));
    let (endpoint, _) = listing(move |_, _| (Some(next(&other, 1)), file(0)));
    let told = refusal(&endpoint);
    assert!(
        told.contains("the next page is said to be at") && asked.load(Ordering::SeqCst) == 0,
        "{told}"
    );
}
