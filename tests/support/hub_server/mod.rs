//! A server that speaks the Hub's protocol: revisions, trees in pages, files with ranges, large
//! ones by way of a second host; commits, pull requests and large-file storage.

mod http;
mod reading;
mod repos;
mod writing;

use std::{
    collections::BTreeMap,
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use http::{Answer, Request, send};
use repos::Prepared;
pub use repos::ServedRepo;

/// Entries of a page of a tree.
const PAGE: usize = 3;

/// What a server does wrong, with the requests whose path contains `needle`.
#[derive(Clone, Debug)]
pub struct Fault {
    pub needle: &'static str,
    /// How many requests are served so.
    pub times: usize,
    pub kind: FaultKind,
}

#[derive(Clone, Debug)]
pub enum FaultKind {
    /// A status, and how many seconds to wait; nothing is done.
    Status(u16, Option<u32>),
    /// A status, though what was asked for is done.
    StatusAfter(u16),
    /// The connection ends after so many bytes of the body; what was asked for is done.
    Cut(usize),
    /// The connection ends without an answer; nothing is done.
    Dropped,
    /// This request and all that follow are dropped.
    Down,
    /// Somebody else's commit comes first, which appends a line to a file.
    Overtaken {
        repo: &'static str,
        file: &'static str,
        line: &'static str,
    },
    /// The first byte is another.
    WrongByte,
    /// The server answers ranges with the whole file.
    NoRanges,
    /// So many bytes a second.
    Slow(usize),
}

/// One request: host (hub or cdn), method, path with query, whether a token came with it, and what
/// it carried.
#[derive(Clone, Debug)]
pub struct Seen {
    pub host: &'static str,
    pub method: String,
    pub path: String,
    pub token: bool,
    pub range: Option<String>,
    pub body: Arc<Vec<u8>>,
}

#[derive(Default)]
struct State {
    repos: BTreeMap<String, Prepared>,
    faults: Vec<Fault>,
    seen: Vec<Seen>,
    hub: String,
    cdn: String,
    /// Large-file storage, by SHA-256.
    objects: BTreeMap<String, Vec<u8>>,
    /// Parts of objects that are not whole yet.
    parts: BTreeMap<String, Vec<u8>>,
    /// Bytes of a part; None for objects that are sent whole.
    part: Option<u64>,
    down: bool,
}

/// The token that opens gated and private repositories, and may write to those of its owner.
pub const TOKEN: &str = "hf_test_token_7f3a";
/// A token of the same account that may only read.
#[allow(dead_code, reason = "the program around this server has no need of it")]
pub const READ_TOKEN: &str = "hf_test_token_11ab";
const TOKENS: [&str; 2] = [TOKEN, READ_TOKEN];

/// The server; its threads end with the process.
pub struct HubServer {
    state: Arc<Mutex<State>>,
}

impl HubServer {
    /// Starts one. Names of repositories begin with `models/` or `datasets/`.
    pub fn start(repos: impl IntoIterator<Item = (&'static str, ServedRepo)>) -> Self {
        let repos = repos
            .into_iter()
            .map(|(name, repo)| (name.to_owned(), Prepared::new(repo)))
            .collect();
        let state = Arc::new(Mutex::new(State::default()));
        let (hub, cdn) = (listen("hub", &state), listen("cdn", &state));
        {
            let mut state = state.lock().unwrap();
            state.repos = repos;
            (state.hub, state.cdn) = (hub, cdn);
        }
        Self { state }
    }

    pub fn endpoint(&self) -> String {
        self.state.lock().unwrap().hub.clone()
    }

    pub fn fault(&self, needle: &'static str, times: usize, kind: FaultKind) {
        self.state.lock().unwrap().faults.push(Fault {
            needle,
            times,
            kind,
        });
    }

    /// Has large files sent in parts of so many bytes.
    pub fn part(&self, bytes: u64) {
        self.state.lock().unwrap().part = Some(bytes);
    }

    /// The requests since the last call.
    pub fn take_seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.state.lock().unwrap().seen)
    }

    /// The titles of a repository's commits, the oldest first.
    pub fn log(&self, repo: &str) -> Vec<String> {
        self.of(repo, |it| {
            it.log.iter().map(|commit| commit.title.clone()).collect()
        })
    }

    /// The files of a repository's last commit, as text.
    pub fn files(&self, repo: &str) -> BTreeMap<String, String> {
        self.of(repo, |it| texts(it.head()))
    }

    /// The files of each pull request.
    pub fn proposed(&self, repo: &str) -> Vec<BTreeMap<String, String>> {
        self.of(repo, |it| it.proposed.iter().map(texts).collect())
    }

    pub fn is_private(&self, repo: &str) -> bool {
        self.of(repo, |it| it.repo.private)
    }

    pub fn exists(&self, repo: &str) -> bool {
        self.state.lock().unwrap().repos.contains_key(repo)
    }

    fn of<T>(&self, repo: &str, read: impl FnOnce(&Prepared) -> T) -> T {
        read(&self.state.lock().unwrap().repos[repo])
    }
}

fn texts(commit: &repos::ServedCommit) -> BTreeMap<String, String> {
    let files = commit.files.iter();
    files
        .map(|(path, file)| {
            (
                path.clone(),
                String::from_utf8_lossy(&file.bytes).into_owned(),
            )
        })
        .collect()
}

fn listen(host: &'static str, state: &Arc<Mutex<State>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let state = Arc::clone(state);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let state = Arc::clone(&state);
            // A client that goes away in the middle is part of the tests.
            thread::spawn(move || answer(host, stream, &state).ok());
        }
    });
    address
}

fn answer(host: &'static str, stream: TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let request = Request::read(&stream)?;
    let served = state.lock().unwrap().serve(host, &request);
    match served {
        Some((reply, fault)) => send(stream, &request, reply, fault),
        None => Ok(()),
    }
}

impl State {
    /// The answer and what is done wrong with it; None where the connection ends without one.
    fn serve(
        &mut self,
        host: &'static str,
        request: &Request,
    ) -> Option<(Answer, Option<FaultKind>)> {
        self.seen.push(Seen {
            host,
            method: request.method.clone(),
            path: request.path.clone(),
            token: request.token.is_some(),
            range: request.range.clone(),
            body: Arc::clone(&request.body),
        });
        let mut faults = self.faults.iter_mut();
        let fault = faults.find(|fault| fault.times > 0 && request.path.contains(fault.needle));
        let fault = fault.map(|fault| {
            fault.times -= 1;
            fault.kind.clone()
        });
        match &fault {
            Some(FaultKind::Down) => self.down = true,
            Some(FaultKind::Overtaken { repo, file, line }) => {
                self.repos.get_mut(*repo).unwrap().overtake(file, line);
            }
            _ => {}
        }
        match fault {
            _ if self.down => None,
            Some(FaultKind::Dropped) => None,
            Some(FaultKind::Status(..)) => Some((Answer::new(500, ""), fault)),
            _ => Some((self.reply(request), fault)),
        }
    }
}
