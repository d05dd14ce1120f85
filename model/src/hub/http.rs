//! The Hub's protocol over HTTP: revisions, trees in pages, files from an offset.

use std::{
    collections::HashSet,
    io::Read,
    time::{Duration, SystemTime},
};

use serde::{Deserialize, de::DeserializeOwned};
use ureq::{Agent, Body, http::Response};

use super::{Checksum, HubError, RemoteFile, RepoId};

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

/// A revision, resolved.
#[derive(Clone, Debug)]
pub struct Commit {
    /// Its hash.
    pub hash: String,
    /// What the repository is called today, if that is not what was asked for.
    pub renamed: Option<String>,
}

/// The bytes of a file from an offset on.
pub struct FileBody {
    /// Where they begin: what was asked for, or 0 if the server does not serve parts.
    pub start: u64,
    /// The bytes.
    pub reader: Box<dyn Read + Send>,
}

/// What is asked of a Hub.
pub trait Remote: Send + Sync {
    /// The commit that a revision stands for.
    fn commit(&self, repo: &RepoId) -> Result<Commit, HubError>;
    /// All files of a repository whose revision is a commit.
    fn tree(&self, repo: &RepoId) -> Result<Vec<RemoteFile>, HubError>;
    /// A file from byte `start` on.
    fn open(&self, repo: &RepoId, path: &str, start: u64) -> Result<FileBody, HubError>;
}

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

impl HttpRemote {
    pub(super) fn new(endpoint: &str, token: Option<&str>) -> Self {
        let agent = Agent::config_builder()
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .timeout_connect(Some(CONNECT))
            .timeout_per_read(Some(SILENCE))
            .timeout_recv_response(Some(HEAD))
            .user_agent(concat!("flava/", env!("CARGO_PKG_VERSION")))
            .build()
            .into();
        Self {
            agent,
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            token: token.map(str::to_owned),
        }
    }

    fn api(&self, repo: &RepoId, what: &str) -> String {
        let kind = if repo.hub().url().starts_with("datasets/") {
            "datasets"
        } else {
            "models"
        };
        format!("{}/api/{kind}/{}/{what}", self.endpoint, repo.name)
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
            let mut request = self
                .agent
                .get(&url)
                .config()
                .timeout_global(whole)
                .build()
                .header("Accept-Encoding", "identity");
            if let Some(token) = self
                .token
                .as_ref()
                .filter(|_| origin(&url) == origin(&self.endpoint))
            {
                request = request.header("Authorization", format!("Bearer {token}"));
            }
            if start > 0 {
                request = request.header("Range", format!("bytes={start}-"));
            }
            let response = request.call().map_err(|e| HubError::Network {
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
                    return Err(HubError::Protocol {
                        what,
                        reason: format!("a redirection to {other:?}"),
                    });
                }
            };
        }
        Err(HubError::Protocol {
            what,
            reason: "redirected without end".into(),
        })
    }

    fn checked(
        &self,
        repo: &RepoId,
        url: &str,
        response: Response<Body>,
    ) -> Result<Response<Body>, HubError> {
        let status = response.status().as_u16();
        let name = repo.name.clone();
        // Whatever a storage host refuses, its signed address may have expired: asking the Hub
        // again gives a fresh one.
        if !(200..300).contains(&status) && origin(url) != origin(&self.endpoint) {
            return Err(HubError::Busy {
                status,
                what: format!("a file of {name}"),
                wait: None,
            });
        }
        let error = match (
            status,
            header(&response, "x-error-code").unwrap_or_default(),
        ) {
            (200..=299, _) => return Ok(response),
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
            (401, _)
                if self.token.is_some()
                    && header(&response, "x-error-message")
                        .is_some_and(|m| m.contains("nvalid")) =>
            {
                HubError::Token { repo: name }
            }
            (401 | 403, _) => HubError::Private { repo: name },
            (429 | 500..=599, _) => HubError::Busy {
                status,
                what: name,
                wait: header(&response, "retry-after").and_then(retry_after),
            },
            _ => HubError::Protocol {
                what: name,
                reason: format!("status {status}"),
            },
        };
        Err(error)
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
        if let Some(elsewhere) = next
            .as_ref()
            .filter(|next| origin(next) != origin(&self.endpoint))
        {
            return Err(broken(format!(
                "the next page is said to be at {}",
                origin(elsewhere)
            )));
        }
        let cut = |e: std::io::Error| HubError::Network {
            what: repo.to_string(),
            reason: e.to_string(),
        };
        let mut bytes = Vec::new();
        let body = response
            .into_body()
            .into_with_config()
            .limit(u64::MAX)
            .reader();
        body.take(MAX_PAGE + 1)
            .read_to_end(&mut bytes)
            .map_err(cut)?;
        if bytes.len() as u64 > MAX_PAGE {
            return Err(broken(format!(
                "a page of more than {} MiB",
                MAX_PAGE >> 20
            )));
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
        let mut page = Some(self.api(
            repo,
            &format!(
                "tree/{}?recursive=true&expand=false",
                repo.hub().url_revision()
            ),
        ));
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
                let (size, checksum) = match entry.lfs {
                    Some(lfs) => (lfs.size, Checksum::Sha256(lfs.oid)),
                    None => (entry.size, Checksum::Git(entry.oid)),
                };
                files.push(RemoteFile::new(&entry.path, size, checksum).map_err(broken)?);
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
        let url = format!(
            "{}/{}/resolve/{}/{}",
            self.endpoint,
            hub.url(),
            hub.url_revision(),
            escaped(path)
        );
        let response = self
            .get(repo, &url, start, None)
            .map_err(|error| match error {
                HubError::File { repo, .. } => HubError::File {
                    repo,
                    path: path.to_owned(),
                },
                other => other,
            })?;
        let start = if response.status() == 206 { start } else { 0 };
        Ok(FileBody {
            start,
            reader: Box::new(
                response
                    .into_body()
                    .into_with_config()
                    .limit(u64::MAX)
                    .reader(),
            ),
        })
    }
}

fn header<'a>(response: &'a Response<Body>, name: &str) -> Option<&'a str> {
    response
        .headers()
        .get(name)
        .and_then(|value| value.to_str().ok())
}

/// Scheme, host and port, without a name or password.
fn origin(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("https", url));
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    format!("{scheme}://{}", host.rsplit('@').next().unwrap_or_default())
}

/// The address that a `Link` header gives for `rel="next"`.
fn next_page(link: &str) -> Option<String> {
    let next = link.split(',').find(|part| part.contains("rel=\"next\""))?;
    Some(next.split_once('<')?.1.split_once('>')?.0.to_owned())
}

/// Seconds, or a date.
fn retry_after(value: &str) -> Option<Duration> {
    let until = |date: &str| {
        Some(
            httpdate::parse_http_date(date)
                .ok()?
                .duration_since(SystemTime::now())
                .unwrap_or_default(),
        )
    };
    value
        .trim()
        .parse()
        .map(Duration::from_secs)
        .ok()
        .or_else(|| until(value.trim()))
}

/// A path with every byte escaped that has a meaning in addresses.
fn escaped(path: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~/".contains(&b);
    path.bytes()
        .map(|b| {
            if plain(b) {
                char::from(b).to_string()
            } else {
                format!("%{b:02X}")
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_and_addresses_are_read() {
        assert_eq!(retry_after("7"), Some(Duration::from_secs(7)));
        assert_eq!(
            retry_after("Wed, 21 Oct 2015 07:28:00 GMT"),
            Some(Duration::ZERO)
        );
        assert!(
            retry_after("Fri, 01 Jan 2100 00:00:00 GMT").unwrap() > Duration::from_secs(1_000_000)
        );
        assert_eq!(retry_after("soon"), None);
        assert_eq!(
            next_page("<https://x/a?cursor=b>; rel=\"next\"").as_deref(),
            Some("https://x/a?cursor=b")
        );
        assert_eq!(origin("http://user:word@host:81/a?b"), "http://host:81");
        assert_eq!(escaped("a b/ü#.txt"), "a%20b/%C3%BC%23.txt");
    }
}
