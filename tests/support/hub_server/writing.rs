//! How the server is written to: repositories, large-file storage, commits and pull requests.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{
    READ_TOKEN, State,
    http::{Answer, Request},
    reading::Asked,
    repos::{Prepared, ServedCommit, ServedFile, ServedRepo, hex, is_large},
};
use sha2::{Digest, Sha256};

/// The account of the tokens, and its organization.
const ACCOUNT: &str = "owner";
const ORGANIZATION: &str = "lab";

impl State {
    pub fn whoami(token: Option<&str>) -> Answer {
        let Some(token) = token else {
            return Answer::error(401, "Invalid username or password.");
        };
        let role = if token == READ_TOKEN { "read" } else { "write" };
        Answer::json(json!({
            "type": "user", "name": ACCOUNT, "orgs": [{ "name": ORGANIZATION }],
            "auth": { "type": "access_token", "accessToken": { "displayName": "of the tests", "role": role } },
        }))
    }

    pub fn may(prepared: &Prepared, token: Option<&str>, write: bool) -> Answer {
        match (write, token) {
            (true, None | Some(READ_TOKEN)) => Answer::error(403, "This token may not write."),
            (true, _) if prepared.repo.foreign => Answer::error(403, "You don't have the rights."),
            _ => Answer::new(200, "{}"),
        }
    }

    pub fn written(&mut self, request: &Request, path: &str, query: &str) -> Answer {
        if let Some(rest) = path.strip_prefix("/upload/") {
            return self.stored(rest, &request.body);
        }
        match request.token.as_deref() {
            None => return Answer::error(401, "Invalid username or password."),
            Some(READ_TOKEN) => return Answer::error(403, "This token may not write."),
            Some(_) => {}
        }
        if let Some(oid) = path.strip_prefix("/api/verify/") {
            let size = self.objects.get(oid).map(|bytes| bytes.len() as u64);
            let right = size.is_some() && size == request.json()["size"].as_u64();
            return if right {
                Answer::json(json!({}))
            } else {
                Answer::error(404, "no such object")
            };
        }
        match path {
            "/api/repos/create" => return self.create(&request.json()),
            "/api/validate-yaml" => return validate(&request.json()),
            _ => {}
        }
        let batch = path.strip_suffix(".git/info/lfs/objects/batch");
        let asked = batch.map_or_else(|| path.to_owned(), |path| format!("{path}/batch"));
        let Some(asked) = Asked::read(&asked) else {
            return Answer::refused(404, "RepoNotFound");
        };
        if asked.what == "batch" {
            return self.batch(&request.json());
        }
        let Some(prepared) = self.repos.get_mut(&asked.key()) else {
            return Answer::refused(404, "RepoNotFound");
        };
        let as_pr = query.contains("create_pr=1");
        if prepared.repo.foreign && !as_pr {
            return Answer::error(403, "You don't have the rights.");
        }
        match asked.what {
            "preupload" => preupload(prepared, &request.json()),
            "commit" => self.commit(&asked, &request.body, as_pr),
            _ => Answer::new(404, ""),
        }
    }

    fn create(&mut self, body: &Value) -> Answer {
        let owner = body["organization"].as_str().unwrap_or(ACCOUNT);
        let name = format!("{owner}/{}", body["name"].as_str().unwrap_or_default());
        let key = format!("{}s/{name}", body["type"].as_str().unwrap_or("model"));
        let url = format!("{}/{}", self.hub, key.trim_start_matches("models/"));
        if ![ACCOUNT, ORGANIZATION].contains(&owner) {
            return Answer::error(403, "You don't have the rights to make it there.");
        }
        if self.repos.contains_key(&key) {
            let mut answer = Answer::error(409, "You already created this repo");
            answer.body = json!({ "url": url }).to_string().into_bytes().into();
            return answer;
        }
        let repo = ServedRepo {
            private: body["visibility"] == "private",
            files: [(
                ".gitattributes".to_owned(),
                b"*.parquet filter=lfs\n".to_vec(),
            )]
            .into(),
            ..ServedRepo::default()
        };
        self.repos.insert(key, Prepared::new(repo));
        Answer::json(json!({ "url": url, "name": name }))
    }

    /// A file of large-file storage, or a part of one: `OID` or `OID/NUMBER`.
    fn stored(&mut self, place: &str, body: &[u8]) -> Answer {
        let Some((oid, number)) = place.split_once('/') else {
            return self.keep(place, body.to_vec());
        };
        if number == "complete" {
            let body: Value = serde_json::from_slice(body).unwrap_or_default();
            let parts = body["parts"].as_array().cloned().unwrap_or_default();
            let mut whole = Vec::new();
            for part in parts {
                let etag = part["etag"].as_str().unwrap_or_default().to_owned();
                match self.parts.get(&format!("{oid}/{}", part["partNumber"])) {
                    Some(bytes) if etag == tag(bytes) => whole.extend_from_slice(bytes),
                    _ => return Answer::error(400, "no such part"),
                }
            }
            return self.keep(oid, whole);
        }
        let etag = tag(body);
        self.parts.insert(place.to_owned(), body.to_vec());
        Answer::new(200, "").with("ETag", etag)
    }

    fn keep(&mut self, oid: &str, bytes: Vec<u8>) -> Answer {
        if hex(&Sha256::digest(&bytes)) != oid {
            return Answer::error(400, "these bytes have another digest");
        }
        self.objects.insert(oid.to_owned(), bytes);
        Answer::new(200, "")
    }

    fn batch(&self, body: &Value) -> Answer {
        let objects = body["objects"].as_array().cloned().unwrap_or_default();
        let object = |asked: &Value| {
            let (oid, size) = (
                asked["oid"].as_str().unwrap(),
                asked["size"].as_u64().unwrap(),
            );
            if self.objects.contains_key(oid) {
                return json!({ "oid": oid, "size": size });
            }
            let verify = json!({ "href": format!("{}/api/verify/{oid}", self.hub), "header": {} });
            let upload = format!("{}/upload/{oid}", self.cdn);
            let upload = match self.part.filter(|part| *part < size) {
                None => json!({ "href": upload, "header": {} }),
                Some(part) => {
                    let mut header = json!({ "chunk_size": part.to_string() });
                    for number in 1..=size.div_ceil(part) {
                        header[format!("{number:05}")] = format!("{upload}/{number}").into();
                    }
                    json!({ "href": format!("{upload}/complete"), "header": header })
                }
            };
            json!({ "oid": oid, "size": size, "actions": { "upload": upload, "verify": verify } })
        };
        let objects: Vec<Value> = objects.iter().map(object).collect();
        Answer::json(json!({ "transfer": "basic", "objects": objects }))
    }

    fn commit(&mut self, asked: &Asked, body: &[u8], as_pr: bool) -> Answer {
        let State {
            repos,
            objects,
            hub,
            ..
        } = self;
        let prepared = repos.get_mut(&asked.key()).unwrap();
        let lines = String::from_utf8_lossy(body);
        let lines: Vec<Value> = lines
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_default())
            .collect();
        let header = &lines[0]["value"];
        let head = prepared.head();
        if header["parentCommit"]
            .as_str()
            .is_some_and(|parent| parent != head.id)
        {
            let message = "A commit has happened since. Please refresh and try again.";
            return Answer::error(412, message);
        }
        let mut files = head.files.clone();
        for line in &lines[1..] {
            let value = &line["value"];
            let path = value["path"].as_str().unwrap_or_default().to_owned();
            if path.is_empty()
                || path
                    .split('/')
                    .any(|part| ["", "..", ".git"].contains(&part))
            {
                return Answer::error(400, "a path that no repository takes");
            }
            match line["key"].as_str() {
                Some("file") => {
                    let content = value["content"].as_str().unwrap_or_default();
                    files.insert(path, ServedFile::new(STANDARD.decode(content).unwrap()));
                }
                Some("lfsFile") => match objects.get(value["oid"].as_str().unwrap()) {
                    Some(bytes) => drop(files.insert(path, ServedFile::new(bytes.clone()))),
                    None => return Answer::error(400, "an object that was not uploaded"),
                },
                Some("deletedFile") => drop(files.remove(&path)),
                _ => return Answer::error(400, "an unknown line"),
            }
        }
        let commit = head.next(header["summary"].as_str().unwrap_or_default(), files);
        let page = format!("{hub}/{}", asked.key().trim_start_matches("models/"));
        let mut told = json!({ "success": true, "commitOid": commit.id, "commitUrl": format!("{page}/commit/{}", commit.id) });
        if as_pr {
            prepared.proposed.push(commit);
            let number = prepared.proposed.len();
            told["pullRequestUrl"] = format!("{page}/discussions/{number}").into();
        } else {
            prepared.log.push(commit);
        }
        Answer::json(told)
    }
}

fn tag(bytes: &[u8]) -> String {
    format!("\"{}\"", hex(&Sha256::digest(bytes)[..8]))
}

/// The Hub's rules for cards, as far as a test breaks them.
fn validate(body: &Value) -> Answer {
    let content = body["content"].as_str().unwrap_or_default();
    if content.contains("\nlicense: none-such\n") {
        let errors = json!({ "errors": [{ "message": "\"license\" must be one of [mit]" }], "warnings": [] });
        return Answer::new(400, errors.to_string());
    }
    Answer::json(json!({ "errors": [], "warnings": [] }))
}

fn preupload(prepared: &Prepared, body: &Value) -> Answer {
    let files = body["files"].as_array().cloned().unwrap_or_default();
    if files.len() > 256 {
        return Answer::error(400, "too many files in one call");
    }
    let head: &ServedCommit = prepared.head();
    let mode = |file: &Value| {
        let path = file["path"].as_str().unwrap_or_default();
        let large = is_large(path, file["size"].as_u64().unwrap_or(0));
        let there = head.files.get(path);
        let oid = there.map(|file| if large { &file.sha256 } else { &file.git });
        json!({
            "path": path, "uploadMode": if large { "lfs" } else { "regular" },
            "shouldIgnore": path.starts_with("ignored/"), "oid": oid,
        })
    };
    Answer::json(json!({ "files": files.iter().map(mode).collect::<Vec<_>>() }))
}
