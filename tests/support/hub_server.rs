//! A server that speaks the Hub's protocol: revisions, trees in pages, files with ranges, large
//! ones by way of a second host.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use sha1::{Digest, Sha1};
use sha2::Sha256;

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
    /// A status, and how many seconds to wait.
    Status(u16, Option<u32>),
    /// The connection ends after so many bytes of the body.
    Cut(usize),
    /// The first byte is another.
    WrongByte,
    /// The server answers ranges with the whole file.
    NoRanges,
    /// So many bytes a second.
    Slow(usize),
}

#[derive(Clone, Debug, Default)]
pub struct ServedRepo {
    pub files: BTreeMap<String, Vec<u8>>,
    pub gated: bool,
    pub private: bool,
    /// What it is called now.
    pub renamed: Option<String>,
    /// The hash of its commit, where it is not that of its files.
    pub pinned: Option<String>,
    /// Put in the place of a path in the listing.
    pub listed_as: Option<(String, String)>,
}

impl ServedRepo {
    /// With all files below a folder.
    pub fn of(folder: &Path) -> Self {
        let paths = flava_model::hub::files_below(folder).unwrap();
        Self {
            files: paths
                .into_iter()
                .map(|path| (path.clone(), fs::read(folder.join(&path)).unwrap()))
                .collect(),
            ..Self::default()
        }
    }

    pub fn commit(&self) -> String {
        if let Some(pinned) = &self.pinned {
            return pinned.clone();
        }
        let mut digest = Sha1::new();
        self.files.iter().for_each(|(path, bytes)| {
            digest.update(format!("{path} {}\n", hex(&Sha256::digest(bytes))));
        });
        hex(&digest.finalize())
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// One request: host (hub or cdn), method, path with query, and whether a token came with it.
#[derive(Clone, Debug)]
pub struct Seen {
    pub host: &'static str,
    #[allow(dead_code, reason = "the program around this server prints it")]
    pub method: String,
    pub path: String,
    pub token: bool,
    pub range: Option<String>,
}

/// A file and its hashes.
struct ServedFile {
    bytes: Arc<Vec<u8>>,
    sha256: String,
    git: String,
}

/// A repository with what is asked for again and again computed.
struct Prepared {
    repo: ServedRepo,
    commit: String,
    files: BTreeMap<String, ServedFile>,
}

impl Prepared {
    fn new(mut repo: ServedRepo) -> Self {
        let commit = repo.commit();
        let file = |(path, bytes): (String, Vec<u8>)| {
            let (sha256, git) = (hex(&Sha256::digest(&bytes)), git_hash(&bytes));
            (
                path,
                ServedFile {
                    bytes: Arc::new(bytes),
                    sha256,
                    git,
                },
            )
        };
        let files = std::mem::take(&mut repo.files)
            .into_iter()
            .map(file)
            .collect();
        Self {
            repo,
            commit,
            files,
        }
    }
}

#[derive(Default)]
struct State {
    repos: BTreeMap<String, Prepared>,
    faults: Vec<Fault>,
    seen: Vec<Seen>,
    hub: String,
    cdn: String,
}

/// The token that opens gated and private repositories.
pub const TOKEN: &str = "hf_test_token_7f3a";

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

    /// The requests since the last call.
    pub fn take_seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.state.lock().unwrap().seen)
    }
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

struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Arc<Vec<u8>>,
}

impl Answer {
    fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Arc::new(body.into()),
        }
    }

    fn of(file: &ServedFile) -> Self {
        Self {
            status: 200,
            headers: Vec::new(),
            body: Arc::clone(&file.bytes),
        }
    }

    fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.headers.push((name, value.to_string()));
        self
    }

    fn refused(status: u16, code: &str) -> Self {
        Self::new(status, format!("{{\"error\": \"{code}\"}}")).with("X-Error-Code", code)
    }
}

fn answer(host: &'static str, stream: TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace();
    let (method, path) = (
        words.next().unwrap_or_default().to_owned(),
        words.next().unwrap_or_default().to_owned(),
    );
    let (mut token, mut range) = (None, None);
    loop {
        let mut header = String::new();
        if reader.read_line(&mut header)? == 0 || header.trim().is_empty() {
            break;
        }
        let Some((name, value)) = header.trim().split_once(": ") else {
            continue;
        };
        match name.to_lowercase().as_str() {
            "authorization" => token = value.strip_prefix("Bearer ").map(str::to_owned),
            "range" => range = Some(value.to_owned()),
            _ => {}
        }
    }
    let (reply, fault) = {
        let mut state = state.lock().unwrap();
        state.seen.push(Seen {
            host,
            method: method.clone(),
            path: path.clone(),
            token: token.is_some(),
            range: range.clone(),
        });
        let fault = state
            .faults
            .iter_mut()
            .find(|fault| fault.times > 0 && path.contains(fault.needle));
        let fault = fault.map(|fault| {
            fault.times -= 1;
            fault.kind.clone()
        });
        (state.reply(&path, token.as_deref()), fault)
    };
    send(
        stream,
        &method,
        reply,
        range.filter(|_| !matches!(fault, Some(FaultKind::NoRanges))),
        fault,
    )
}

fn send(
    mut stream: TcpStream,
    method: &str,
    mut reply: Answer,
    range: Option<String>,
    fault: Option<FaultKind>,
) -> std::io::Result<()> {
    if let Some(FaultKind::Status(status, wait)) = fault {
        reply = Answer::new(status, "<html>try later</html>");
        reply
            .headers
            .extend(wait.map(|seconds| ("Retry-After", seconds.to_string())));
    }
    let total = reply.body.len();
    let mut served = 0..total;
    if let (200, Some(range)) = (reply.status, range) {
        let (start, end) = range.trim_start_matches("bytes=").split_once('-').unwrap();
        let (start, end) = (
            start.parse::<usize>().unwrap(),
            end.parse::<usize>()
                .map_or(total, |end| (end + 1).min(total)),
        );
        reply.status = if start < total { 206 } else { 416 };
        served = start.min(total)..end;
        reply = reply.with(
            "Content-Range",
            format!("bytes {start}-{}/{total}", end.saturating_sub(1)),
        );
    }
    if matches!(fault, Some(FaultKind::WrongByte))
        && let Some(first) = Arc::make_mut(&mut reply.body).get_mut(served.start)
    {
        *first ^= 1;
    }
    let body = &reply.body[served];
    let mut head = format!(
        "HTTP/1.1 {} x\r\nContent-Length: {}\r\nConnection: close\r\n",
        reply.status,
        body.len()
    );
    for (name, value) in &reply.headers {
        head.push_str(&[name, ": ", value, "\r\n"].concat());
    }
    stream.write_all(format!("{head}\r\n").as_bytes())?;
    if method == "HEAD" {
        return Ok(());
    }
    match fault {
        Some(FaultKind::Cut(after)) => stream.write_all(&body[..after.min(body.len())]),
        Some(FaultKind::Slow(rate)) => body.chunks((rate / 20).max(1)).try_for_each(|chunk| {
            thread::sleep(Duration::from_millis(50));
            stream.write_all(chunk)
        }),
        _ => stream.write_all(body),
    }
}

impl State {
    fn reply(&self, path: &str, token: Option<&str>) -> Answer {
        let path = path.replace("%2F", "/");
        let (path, query) = path.split_once('?').unwrap_or((&path, ""));
        if let Some(hash) = path.strip_prefix("/cdn/") {
            let mut files = self.repos.values().flat_map(|repo| repo.files.values());
            return files
                .find(|file| file.sha256 == hash)
                .map_or_else(|| Answer::new(404, "gone"), Answer::of);
        }
        let (kind, rest, api) = match path.strip_prefix("/api/") {
            Some(rest) => (
                rest.split('/').next().unwrap_or_default(),
                rest.split_once('/').map_or("", |(_, rest)| rest),
                true,
            ),
            None => match path.strip_prefix("/datasets/") {
                Some(rest) => ("datasets", rest, false),
                None => ("models", path.trim_start_matches('/'), false),
            },
        };
        let parts: Vec<&str> = rest.splitn(4, '/').collect();
        let [owner, name, what, rest] = parts[..] else {
            return Answer::refused(404, "RepoNotFound");
        };
        let id = format!("{owner}/{name}");
        let Some(prepared) = self.repos.get(&format!("{kind}/{id}")) else {
            return Answer::refused(if token.is_some() { 404 } else { 401 }, "RepoNotFound");
        };
        let (repo, commit) = (&prepared.repo, &prepared.commit);
        if let Some(renamed) = &repo.renamed {
            return Answer::new(307, "").with("Location", path.replacen(&id, renamed, 1));
        }
        if token.is_some_and(|token| token != TOKEN) {
            return Answer::new(401, "").with(
                "X-Error-Message",
                "Invalid credentials in Authorization header",
            );
        }
        if repo.private && token.is_none() {
            return Answer::refused(401, "RepoNotFound");
        }
        let known = |revision: &str| {
            revision == commit || ["main", "refs/convert/parquet"].contains(&revision)
        };
        match (api, what) {
            (true, "revision") if known(rest) => {
                let siblings: Vec<_> = prepared
                    .files
                    .keys()
                    .map(|path| serde_json::json!({ "rfilename": path }))
                    .collect();
                let info = serde_json::json!({ "id": id, "sha": commit, "siblings": siblings, "gated": repo.gated, "private": repo.private, "tags": [], "downloads": 0, "likes": 0 });
                Answer::new(200, info.to_string())
            }
            (true, "commits") => Answer::new(
                200,
                serde_json::json!([{ "id": "0".repeat(40) }, { "id": commit }]).to_string(),
            ),
            (true, "tree") if known(rest) => self.tree(prepared, path, query),
            (true, _) => Answer::refused(404, "RevisionNotFound"),
            (false, "resolve") => self.file(prepared, rest, token),
            _ => Answer::new(404, ""),
        }
    }

    fn tree(&self, prepared: &Prepared, path: &str, query: &str) -> Answer {
        let start: usize = query
            .split('&')
            .find_map(|part| part.strip_prefix("cursor=")?.parse().ok())
            .unwrap_or(0);
        let entry = |(path, file): (&String, &ServedFile)| {
            let listed = prepared
                .repo
                .listed_as
                .as_ref()
                .filter(|(from, _)| from == path)
                .map_or(path, |(_, to)| to);
            let mut entry = serde_json::json!({ "type": "file", "path": listed, "oid": file.git, "size": file.bytes.len() });
            if is_large(path) {
                entry["lfs"] = serde_json::json!({ "oid": file.sha256, "size": file.bytes.len(), "pointerSize": 130 });
            }
            entry
        };
        let page: Vec<_> = prepared
            .files
            .iter()
            .skip(start)
            .take(PAGE)
            .map(entry)
            .collect();
        let answer = Answer::new(200, serde_json::Value::Array(page).to_string());
        if start + PAGE >= prepared.files.len() {
            return answer;
        }
        let next = format!(
            "<{}{path}?recursive=true&expand=false&cursor={}>; rel=\"next\"",
            self.hub,
            start + PAGE
        );
        answer.with("Link", next)
    }

    fn file(&self, prepared: &Prepared, rest: &str, token: Option<&str>) -> Answer {
        if prepared.repo.gated && token.is_none() {
            return Answer::refused(401, "GatedRepo");
        }
        // The revision may have slashes: the path is what follows a known one.
        let path = [&prepared.commit, "main", "refs/convert/parquet"]
            .iter()
            .find_map(|r| rest.strip_prefix(*r)?.strip_prefix('/'));
        let decoded = path.map(|path| path.replace("%20", " "));
        let Some((path, file)) = decoded.and_then(|path| prepared.files.get_key_value(&path))
        else {
            return Answer::refused(404, "EntryNotFound");
        };
        let answer = if is_large(path) {
            let address = format!(
                "{}/cdn/{}?file={}",
                self.cdn,
                file.sha256,
                path.replace(['/', ' '], "_")
            );
            let answer = Answer::new(302, "").with("Location", address);
            answer
                .with("X-Linked-Etag", format!("\"{}\"", file.sha256))
                .with("X-Linked-Size", file.bytes.len())
        } else {
            Answer::of(file)
        };
        answer
            .with("X-Repo-Commit", &prepared.commit)
            .with("ETag", format!("\"{}\"", file.git))
    }
}

fn git_hash(bytes: &[u8]) -> String {
    let mut digest = Sha1::new_with_prefix(format!("blob {}\0", bytes.len()));
    digest.update(bytes);
    hex(&digest.finalize())
}

/// Whether the Hub would keep the file in large-file storage.
fn is_large(path: &str) -> bool {
    [".parquet", ".tar", ".safetensors", ".bin"]
        .iter()
        .any(|ending| path.ends_with(ending))
}
