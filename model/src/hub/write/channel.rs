//! Requests that write, and their answers.

use std::{io::Read, time::Duration};

use serde::de::DeserializeOwned;
use serde_json::Value;
use ureq::{
    Agent, Body, SendBody,
    http::{Request, Response},
};

use super::{
    content::Content,
    error::{Refused, WriteError},
};
use crate::hub::{
    RepoId,
    addresses::{origin, retry_after},
    http::{agent, header},
    patience::with_patience,
};

/// Media types of bodies.
pub(super) const JSON: &str = "application/json";
pub(super) const LINES: &str = "application/x-ndjson";
pub(super) const LFS: &str = "application/vnd.git-lfs+json";

/// Longest time for one stretch of bytes to leave.
const STALLED: Duration = Duration::from_mins(1);
/// Longest time for the head of an answer: a commit of many files takes the Hub a while.
const HEAD: Duration = Duration::from_mins(2);
/// Largest answer that is read.
const MAX_ANSWER: u64 = 16 << 20;
/// Longest message of a refusal that is shown.
const MAX_MESSAGE: usize = 500;

/// What a request carries.
#[derive(Clone, Copy)]
pub(super) enum Load<'a> {
    Nothing,
    /// Bytes of a media type.
    Bytes {
        bytes: &'a [u8],
        media: &'static str,
    },
    /// A part of a file.
    Part {
        content: &'a Content,
        start: u64,
        length: u64,
    },
}

impl<'a> Load<'a> {
    pub(super) fn json(bytes: &'a [u8]) -> Self {
        Self::Bytes { bytes, media: JSON }
    }
}

/// A request.
#[derive(Clone, Copy)]
pub(super) struct Call<'a> {
    /// What it is for, as errors tell it.
    pub(super) what: &'a str,
    pub(super) method: &'static str,
    pub(super) url: &'a str,
    pub(super) load: Load<'a>,
}

/// An answer, read whole.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) etag: String,
    location: String,
    pub(super) refused: Box<Refused>,
    body: Vec<u8>,
}

/// A Hub at an address, and the right to write there.
pub(super) struct Channel {
    agent: Agent,
    pub(super) endpoint: String,
    token: String,
}

impl Channel {
    pub(super) fn new(endpoint: &str, token: &str) -> Self {
        Self {
            agent: agent(),
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            token: token.to_owned(),
        }
    }

    /// An address in the API below a repository.
    pub(super) fn api(&self, repo: &RepoId, what: &str) -> String {
        format!("{}/{}/{what}", self.endpoint, repo.api())
    }

    /// Asks until there is an answer, and gives it if it is none that refuses.
    pub(super) fn ask(&self, call: Call) -> Result<Answer, WriteError> {
        with_patience(|| self.send(call)?.accepted())
    }

    /// Asks once; whatever comes is an answer.
    pub(super) fn send(&self, call: Call) -> Result<Answer, WriteError> {
        let network = |reason: String| WriteError::Network {
            what: format!("{} ({})", call.what, origin(call.url)),
            reason,
        };
        let response = self.sent(call)?.map_err(|e| network(e.to_string()))?;
        let mut answer = Answer::of(call.what, &response);
        let body = response.into_body().into_with_config().limit(u64::MAX);
        let mut reader = body.reader().take(MAX_ANSWER + 1);
        let read = reader.read_to_end(&mut answer.body);
        read.map_err(|e| network(e.to_string()))?;
        if answer.body.len() as u64 > MAX_ANSWER {
            return Err(broken(call.what, "it is too long"));
        }
        answer.refused.message = answer.message();
        Ok(answer)
    }

    fn sent(&self, call: Call) -> Result<Result<Response<Body>, ureq::Error>, WriteError> {
        let mut request = Request::builder().method(call.method).uri(call.url);
        // Addresses of storage carry their own right; the token is for the Hub alone.
        if origin(call.url) == origin(&self.endpoint) {
            request = request.header("Authorization", format!("Bearer {}", self.token));
        }
        let run = |request: ureq::http::request::Builder, body: SendBody| {
            let request = request.body(body).map_err(ureq::Error::from)?;
            let config = self.agent.configure_request(request);
            let config = config.timeout_per_write(Some(STALLED));
            self.agent
                .run(config.timeout_recv_response(Some(HEAD)).build())
        };
        Ok(match call.load {
            Load::Nothing => run(request, SendBody::none()),
            Load::Bytes { mut bytes, media } => {
                let request = request.header("Content-Length", bytes.len());
                let request = request
                    .header("Content-Type", media)
                    .header("Accept", media);
                run(request, SendBody::from_reader(&mut bytes))
            }
            Load::Part {
                content,
                start,
                length,
            } => {
                let mut part = content.part(start, length)?;
                let request = request.header("Content-Length", length);
                run(request, SendBody::from_reader(&mut part))
            }
        })
    }
}

impl Answer {
    fn of(what: &str, response: &Response<Body>) -> Self {
        let says = |name| header(response, name).unwrap_or_default().to_owned();
        Self {
            status: response.status().as_u16(),
            etag: says("etag"),
            location: says("location"),
            refused: Box::new(Refused {
                what: what.to_owned(),
                status: response.status().as_u16(),
                code: says("x-error-code"),
                message: says("x-error-message"),
                request_id: says("x-request-id"),
                wait: header(response, "retry-after").and_then(retry_after),
            }),
            body: Vec::new(),
        }
    }

    /// What the head of the answer says, or else its body; cut where it is long.
    fn message(&self) -> String {
        let told = if self.refused.message.is_empty() {
            let body: Value = serde_json::from_slice(&self.body).unwrap_or_default();
            let text = |value: &Value| value.as_str().map(str::to_owned);
            let each = |value: &Value| text(&value["message"]).or_else(|| text(value));
            let errors = body["errors"].as_array().map(|errors| {
                let errors: Vec<String> = errors.iter().filter_map(each).collect();
                errors.join("; ")
            });
            text(&body["error"]).or(errors).unwrap_or_default()
        } else {
            self.refused.message.clone()
        };
        told.chars().take(MAX_MESSAGE).collect()
    }

    pub(super) fn is_good(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The answer, if it is none that refuses.
    pub(super) fn accepted(self) -> Result<Self, WriteError> {
        if self.is_good() {
            Ok(self)
        } else {
            Err(self.refusal())
        }
    }

    /// What it refuses.
    pub(super) fn refusal(self) -> WriteError {
        if (300..400).contains(&self.status) {
            // .../api/datasets/OWNER/NAME/what
            let mut parts = self
                .location
                .rsplit("/api/")
                .next()
                .unwrap_or("")
                .split('/');
            let name = (parts.nth(1), parts.next());
            return WriteError::Moved {
                repo: self.refused.what,
                to: match name {
                    (Some(owner), Some(name)) => {
                        flava_base::escaped(&format!("{owner}/{name}")).into()
                    }
                    _ => String::new(),
                },
            };
        }
        WriteError::Refused(self.refused)
    }

    /// What it holds.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, WriteError> {
        serde_json::from_slice(&self.body).map_err(|e| broken(&self.refused.what, &e.to_string()))
    }
}

/// An answer that is not the Hub's.
pub(super) fn broken(what: &str, reason: &str) -> WriteError {
    WriteError::Protocol {
        what: what.to_owned(),
        reason: reason.to_owned(),
    }
}
