//! What the server shows of its repositories.

use super::{
    PAGE, State, TOKENS,
    http::{Answer, Request},
    repos::{Prepared, ServedCommit, ServedFile},
};

/// A path of the Hub, taken apart: `kind/owner/name/what/rest`.
pub struct Asked<'a> {
    pub kind: &'a str,
    pub id: String,
    pub what: &'a str,
    pub rest: &'a str,
    pub api: bool,
}

impl<'a> Asked<'a> {
    pub fn read(path: &'a str) -> Option<Self> {
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
        let (owner, name, what, rest) = match parts[..] {
            [owner, name, what, rest] => (owner, name, what, rest),
            [owner, name, what] => (owner, name, what, ""),
            [owner, name] if api => (owner, name, "revision", "main"),
            _ => return None,
        };
        let id = format!("{owner}/{name}");
        Some(Self {
            kind,
            id,
            what,
            rest,
            api,
        })
    }

    pub fn key(&self) -> String {
        format!("{}/{}", self.kind, self.id)
    }
}

impl State {
    pub fn reply(&mut self, request: &Request) -> Answer {
        let token = request.token.as_deref();
        if token.is_some_and(|token| !TOKENS.contains(&token)) {
            return Answer::new(401, "").with(
                "X-Error-Message",
                "Invalid credentials in Authorization header",
            );
        }
        let path = request.path.replace("%2F", "/");
        let (path, query) = path.split_once('?').unwrap_or((&path, ""));
        if request.method == "POST" || request.method == "PUT" {
            return self.written(request, path, query);
        }
        if path == "/api/whoami-v2" {
            return State::whoami(token);
        }
        if let Some(hash) = path.strip_prefix("/cdn/") {
            return self.object(hash);
        }
        let Some(asked) = Asked::read(path) else {
            return Answer::refused(404, "RepoNotFound");
        };
        let Some(prepared) = self.repos.get(&asked.key()) else {
            return Answer::refused(if token.is_some() { 404 } else { 401 }, "RepoNotFound");
        };
        if let Some(renamed) = &prepared.repo.renamed {
            let place = request.path.replacen(&asked.id, renamed, 1);
            return Answer::new(307, "").with("Location", place);
        }
        if prepared.repo.private && token.is_none() {
            return Answer::refused(401, "RepoNotFound");
        }
        match (asked.api, asked.what) {
            (true, "auth-check") => State::may(prepared, token, asked.rest == "write"),
            (true, "commits") => log(prepared),
            (true, "discussions") => discussions(prepared),
            (true, "revision") => match prepared.at(asked.rest) {
                Some(commit) => info(prepared, &asked.id, commit),
                None => Answer::refused(404, "RevisionNotFound"),
            },
            (true, "tree") => match prepared.split(asked.rest) {
                Some((commit, below)) => {
                    let listed = Listed {
                        prepared,
                        commit,
                        below: decoded(below),
                    };
                    self.tree(&listed, path, query)
                }
                None => Answer::refused(404, "RevisionNotFound"),
            },
            (true, _) => Answer::refused(404, "RevisionNotFound"),
            (false, "resolve") => self.file(prepared, asked.rest, token),
            _ => Answer::new(404, ""),
        }
    }

    /// A large file, by its hash.
    fn object(&self, hash: &str) -> Answer {
        let commits = self
            .repos
            .values()
            .flat_map(|repo| repo.log.iter().chain(&repo.proposed));
        let mut files = commits.flat_map(|commit| commit.files.values());
        files
            .find(|file| file.sha256 == hash)
            .map_or_else(|| Answer::new(404, "gone"), of)
    }

    fn tree(&self, listed: &Listed, path: &str, query: &str) -> Answer {
        let start: usize = query
            .split('&')
            .find_map(|part| part.strip_prefix("cursor=")?.parse().ok())
            .unwrap_or(0);
        let recursive = !query.contains("recursive=false");
        let entries = listed.entries(recursive);
        let page: Vec<_> = entries.iter().skip(start).take(PAGE).cloned().collect();
        let answer = Answer::json(serde_json::Value::Array(page));
        if start + PAGE >= entries.len() {
            return answer;
        }
        let next = format!(
            "<{}{path}?recursive={recursive}&expand=false&cursor={}>; rel=\"next\"",
            self.hub,
            start + PAGE
        );
        answer.with("Link", next)
    }

    fn file(&self, prepared: &Prepared, rest: &str, token: Option<&str>) -> Answer {
        if prepared.repo.gated && token.is_none() {
            return Answer::refused(401, "GatedRepo");
        }
        let found = prepared.split(rest).and_then(|(commit, path)| {
            let (path, file) = commit.files.get_key_value(&decoded(path))?;
            Some((commit, path, file))
        });
        let Some((commit, path, file)) = found else {
            return Answer::refused(404, "EntryNotFound");
        };
        let answer = if file.is_large(path) {
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
            of(file)
        };
        answer
            .with("X-Repo-Commit", &commit.id)
            .with("ETag", format!("\"{}\"", file.git))
    }
}

/// What is listed of a commit: all files below a folder, or what lies in it.
struct Listed<'a> {
    prepared: &'a Prepared,
    commit: &'a ServedCommit,
    below: String,
}

impl Listed<'_> {
    fn entries(&self, recursive: bool) -> Vec<serde_json::Value> {
        let folder = match self.below.as_str() {
            "" => String::new(),
            below => format!("{below}/"),
        };
        let mut entries = Vec::new();
        for (path, file) in &self.commit.files {
            let Some(rest) = path.strip_prefix(&folder) else {
                continue;
            };
            match rest.split_once('/').filter(|_| !recursive) {
                Some((inner, _)) => {
                    let path = format!("{folder}{inner}");
                    let entry = serde_json::json!({ "type": "directory", "path": path, "oid": "0".repeat(40), "size": 0 });
                    if entries.last() != Some(&entry) {
                        entries.push(entry);
                    }
                }
                None => entries.push(self.entry(path, file)),
            }
        }
        entries
    }

    fn entry(&self, path: &str, file: &ServedFile) -> serde_json::Value {
        let other = self.prepared.repo.listed_as.as_ref();
        let other = other.filter(|(from, _)| from == path);
        let listed = other.map_or(path, |(_, to)| to);
        let size = file.bytes.len();
        let mut entry =
            serde_json::json!({ "type": "file", "path": listed, "oid": file.git, "size": size });
        if file.is_large(path) {
            entry["lfs"] =
                serde_json::json!({ "oid": file.sha256, "size": size, "pointerSize": 130 });
        }
        entry
    }
}

fn of(file: &ServedFile) -> Answer {
    Answer {
        status: 200,
        headers: Vec::new(),
        body: std::sync::Arc::clone(&file.bytes),
    }
}

fn info(prepared: &Prepared, id: &str, commit: &ServedCommit) -> Answer {
    let siblings: Vec<_> = commit
        .files
        .keys()
        .map(|path| serde_json::json!({ "rfilename": path }))
        .collect();
    let repo = &prepared.repo;
    Answer::json(
        serde_json::json!({ "id": id, "sha": commit.id, "siblings": siblings, "gated": repo.gated, "private": repo.private, "tags": [], "downloads": 0, "likes": 0 }),
    )
}

fn log(prepared: &Prepared) -> Answer {
    let entry = |commit: &ServedCommit| serde_json::json!({ "id": commit.id, "title": commit.title, "message": "", "authors": [], "date": "2026-01-31T12:00:00.000Z" });
    Answer::json(prepared.log.iter().rev().map(entry).collect())
}

fn discussions(prepared: &Prepared) -> Answer {
    let proposals = prepared.proposed.iter().enumerate();
    let entry = |(index, commit): (usize, &ServedCommit)| serde_json::json!({ "num": index + 1, "title": commit.title, "isPullRequest": true, "status": "open" });
    let all: Vec<_> = proposals.rev().map(entry).collect();
    Answer::json(
        serde_json::json!({ "discussions": all, "count": prepared.proposed.len(), "start": 0 }),
    )
}

/// A path as it was before it was escaped.
fn decoded(path: &str) -> String {
    let mut parts = path.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(&part[..2], 16).unwrap());
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    String::from_utf8(bytes).unwrap()
}
