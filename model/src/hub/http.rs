//! The Hub's protocol over HTTP: revisions, trees in pages, files from an offset.

use std::{collections::HashSet, io::Read, time::Duration};

use serde::{Deserialize, de::DeserializeOwned};
use ureq::{Agent, Body, http::Response};

use super::{
    Checksum, HubError, RemoteFile, RepoId,
    addresses::{escaped, next_page, origin, retry_after},
    remote::{Commit, FileBody, Remote},
};

/// Longest time without a connection or a byte.
const CONNECT: Duration = Duration::from_secs(10);
const SILENCE: Duration = Duration::from_secs(30);
/// Redirections that are followed.
const MAX_REDIRECTS: usize = 8;
/// Longest time for the head of an answer, and for all of an answer in JSON, however it trickles
/// in.
const HEAD: Duration = Duration::from_secs(30);
const WHOLE_JSON: Duration = Duration::from_secs(30);
/// Largest page of a listing, and most pages: the Hub lists a thousand files on each.
const MAX_PAGE: u64 = 64 << 20;
const MAX_PAGES: usize = 4000;
/// A page of the Hub has a thousand entries, or a hundred; a few may have fewer.
const LEAST_OF_A_PAGE: usize = 50;
const FEW_PAGES: usize = 50;
/// Most files that a repository may list.
const MAX_FILES: usize = 2_000_000;
/// Pages of commits that are searched for a shortened hash.
const MAX_COMMIT_PAGES: usize = 50;

/// A Hub at an address.
pub(super) struct HttpRemote {
    agent: Agent,
    endpoint: String,
    token: Option<String>,
}

#[derive(Deserialize)]
struct RevisionInfo {
    id: String,
    sha: String,
}

#[derive(Deserialize)]
struct CommitInfo {
    id: String,
}

#[derive(Deserialize)]
struct TreeEntry {
    #[serde(rename = "type")]
    kind: String,
    path: String,
    oid: String,
    #[serde(default)]
    size: u64,
    lfs: Option<LargeFile>,
}

#[derive(Deserialize)]
struct LargeFile {
    oid: String,
    size: u64,
}

impl TreeEntry {
    fn file(self) -> Result<RemoteFile, String> {
        let (size, checksum) = match self.lfs {
            Some(lfs) => (lfs.size, Checksum::Sha256(lfs.oid)),
            None => (self.size, Checksum::Git(self.oid)),
        };
        RemoteFile::new(&self.path, size, checksum)
    }
}

/// Connections that end where the other side falls silent; redirections and refusals are answers.
pub(super) fn agent() -> Agent {
    Agent::config_builder()
        .max_redirects(0)
        .max_redirects_will_error(false)
        .http_status_as_error(false)
        .timeout_connect(Some(CONNECT))
        .timeout_per_read(Some(SILENCE))
        .timeout_recv_response(Some(HEAD))
        .user_agent(concat!("flava/", env!("CARGO_PKG_VERSION")))
        .build()
        .into()
}

impl HttpRemote {
    pub(super) fn new(endpoint: &str, token: Option<&str>) -> Self {
        Self {
            agent: agent(),
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            token: token.map(str::to_owned),
        }
    }

    fn api(&self, repo: &RepoId, what: &str) -> String {
        format!("{}/{}/{what}", self.endpoint, repo.api())
    }

    /// Asks, following redirections by hand: the token goes to the endpoint alone.
    fn get(
        &self,
        repo: &RepoId,
        url: &str,
        start: u64,
        whole: Option<Duration>,
    ) -> Result<Response<Body>, HubError> {
        let what = format!("{repo} ({})", origin(&self.endpoint));
        let mut url = url.to_owned();
        for _ in 0..=MAX_REDIRECTS {
            let response = self.request(&url, start, whole);
            let response = response.map_err(|e| HubError::Network {
                what: what.clone(),
                reason: e.to_string(),
            })?;
            if !response.status().is_redirection() {
                return self.checked(repo, &url, response);
            }
            let location = header(&response, "location").unwrap_or_default();
            url = match location {
                absolute if absolute.contains("://") => absolute.to_owned(),
                path if path.starts_with('/') => format!("{}{path}", origin(&url)),
                other => {
                    let reason = format!("a redirection to {other:?}");
                    return Err(HubError::Protocol { what, reason });
                }
            };
        }
        Err(HubError::Protocol {
            what,
            reason: "redirected without end".into(),
        })
    }

    /// One request, with the token if it goes to the endpoint.
    fn request(
        &self,
        url: &str,
        start: u64,
        whole: Option<Duration>,
    ) -> Result<Response<Body>, ureq::Error> {
        let request = self.agent.get(url).config().timeout_global(whole);
        let mut request = request.build().header("Accept-Encoding", "identity");
        let at_home = origin(url) == origin(&self.endpoint);
        if let Some(token) = self.token.as_ref().filter(|_| at_home) {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        if start > 0 {
            request = request.header("Range", format!("bytes={start}-"));
        }
        request.call()
    }

    fn checked(
        &self,
        repo: &RepoId,
        url: &str,
        response: Response<Body>,
    ) -> Result<Response<Body>, HubError> {
        let status = response.status().as_u16();
        if (200..300).contains(&status) {
            return Ok(response);
        }
        // Whatever a storage host refuses, its signed address may have expired: asking the Hub
        // again gives a fresh one.
        if origin(url) != origin(&self.endpoint) {
            return Err(HubError::Busy {
                status,
                what: format!("a file of {}", repo.name),
                wait: None,
            });
        }
        Err(self.refusal(repo, status, &response))
    }

    /// What an answer of the Hub's that is none says.
    fn refusal(&self, repo: &RepoId, status: u16, response: &Response<Body>) -> HubError {
        let name = repo.name.clone();
        let says = |what: &str| header(response, what).unwrap_or_default();
        let invalid = || self.token.is_some() && says("x-error-message").contains("nvalid");
        match (status, says("x-error-code")) {
            (_, "GatedRepo") => HubError::Gated {
                page: format!("{}/{}", origin(&self.endpoint), repo.hub().url()),
                repo: name,
            },
            (_, "RevisionNotFound") => HubError::Revision {
                repo: name,
                revision: repo.revision.clone(),
            },
            (404, "EntryNotFound") => HubError::File {
                repo: name,
                path: String::from("that was asked for"),
            },
            (404, _) => HubError::Missing { repo: name },
            (401, _) if invalid() => HubError::Token { repo: name },
            (401 | 403, _) => HubError::Private { repo: name },
            (429 | 500..=599, _) => HubError::Busy {
                status,
                what: name,
                wait: header(response, "retry-after").and_then(retry_after),
            },
            _ => HubError::Protocol {
                what: name,
                reason: format!("status {status}"),
            },
        }
    }

    /// The JSON at `url`, and the address of the next page.
    fn json<T: DeserializeOwned>(
        &self,
        repo: &RepoId,
        url: &str,
    ) -> Result<(T, Option<String>), HubError> {
        let response = self.get(repo, url, 0, Some(WHOLE_JSON))?;
        let next = header(&response, "link").and_then(next_page);
        let broken = |reason: String| HubError::Protocol {
            what: repo.to_string(),
            reason,
        };
        let elsewhere = |next: &&String| origin(next) != origin(&self.endpoint);
        if let Some(elsewhere) = next.as_ref().filter(elsewhere) {
            let origin = origin(elsewhere);
            return Err(broken(format!("the next page is said to be at {origin}")));
        }
        let bytes = page(response).map_err(|e| HubError::Network {
            what: repo.to_string(),
            reason: e.to_string(),
        })?;
        if bytes.len() as u64 > MAX_PAGE {
            let most = MAX_PAGE >> 20;
            return Err(broken(format!("a page of more than {most} MiB")));
        }
        let text = String::from_utf8(bytes).map_err(|e| broken(e.to_string()))?;
        Ok((
            serde_json::from_str(&text).map_err(|e| broken(e.to_string()))?,
            next,
        ))
    }

    /// The whole hash of a shortened one, looked for among the commits of the main branch.
    fn expand(&self, repo: &RepoId) -> Result<String, HubError> {
        let mut page = Some(self.api(repo, "commits/main"));
        for _ in 0..MAX_COMMIT_PAGES {
            let Some(url) = page else { break };
            let (commits, next): (Vec<CommitInfo>, _) = self.json(repo, &url)?;
            if let Some(commit) = commits
                .into_iter()
                .find(|commit| commit.id.starts_with(&repo.revision))
            {
                return Ok(commit.id);
            }
            page = next;
        }
        Err(HubError::Revision {
            repo: repo.name.clone(),
            revision: repo.revision.clone(),
        })
    }
}

impl Remote for HttpRemote {
    fn commit(&self, repo: &RepoId) -> Result<Commit, HubError> {
        let url = self.api(repo, &format!("revision/{}", repo.hub().url_revision()));
        match self.json::<RevisionInfo>(repo, &url) {
            Ok((info, _)) if super::repo::is_commit(&info.sha) => {
                let renamed = Some(info.id).filter(|id| *id != repo.name);
                Ok(Commit {
                    hash: info.sha,
                    renamed,
                })
            }
            Ok((info, _)) => Err(HubError::Protocol {
                what: repo.to_string(),
                reason: format!("{:?} is no commit", info.sha),
            }),
            Err(HubError::Revision { .. }) if super::repo::is_short_hash(&repo.revision) => {
                Ok(Commit {
                    hash: self.expand(repo)?,
                    renamed: None,
                })
            }
            Err(error) => Err(error),
        }
    }

    fn tree(&self, repo: &RepoId) -> Result<Vec<RemoteFile>, HubError> {
        let broken = |reason: String| HubError::Protocol {
            what: repo.to_string(),
            reason,
        };
        let (mut files, mut seen, mut pages) = (Vec::new(), HashSet::new(), 0);
        let revision = repo.hub().url_revision();
        let first = format!("tree/{revision}?recursive=true&expand=false");
        let mut page = Some(self.api(repo, &first));
        while let Some(url) = page {
            let (entries, next): (Vec<TreeEntry>, _) = self.json(repo, &url)?;
            pages += 1;
            let before = seen.len();
            seen.extend(entries.iter().map(|entry| entry.path.clone()));
            let thin = pages > FEW_PAGES + seen.len() / LEAST_OF_A_PAGE;
            if next.is_some() && (seen.len() == before || thin || pages == MAX_PAGES) {
                let reason = format!(
                    "its listing does not end: there are {} entries on {pages} pages, and more pages",
                    seen.len()
                );
                return Err(broken(reason));
            }
            for entry in entries.into_iter().filter(|entry| entry.kind == "file") {
                files.push(entry.file().map_err(broken)?);
            }
            if files.len() > MAX_FILES {
                return Err(broken(format!("more than {MAX_FILES} files")));
            }
            page = next;
        }
        Ok(files)
    }

    fn open(&self, repo: &RepoId, path: &str, start: u64) -> Result<FileBody, HubError> {
        let hub = repo.hub();
        let (name, revision) = (hub.url(), hub.url_revision());
        let (endpoint, file) = (&self.endpoint, escaped(path));
        let url = format!("{endpoint}/{name}/resolve/{revision}/{file}");
        let response = self.get(repo, &url, start, None);
        let response = response.map_err(|error| match error {
            HubError::File { repo, .. } => HubError::File {
                repo,
                path: path.to_owned(),
            },
            other => other,
        })?;
        let start = if response.status() == 206 { start } else { 0 };
        let body = response.into_body().into_with_config();
        Ok(FileBody {
            start,
            reader: Box::new(body.limit(u64::MAX).reader()),
        })
    }
}

/// The bytes of a page, and one more where it is too long.
fn page(response: Response<Body>) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let body = response.into_body().into_with_config();
    let reader = body.limit(u64::MAX).reader();
    reader.take(MAX_PAGE + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

pub(super) fn header<'a>(response: &'a Response<Body>, name: &str) -> Option<&'a str> {
    response
        .headers()
        .get(name)
        .and_then(|value| value.to_str().ok())
}
