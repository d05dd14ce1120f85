//! Whose token it is, what it may do, and repositories that are not there yet.

use serde::Deserialize;
use serde_json::json;

use super::{
    channel::{Call, Channel, Load, broken},
    error::{Refused, WriteError},
};
use crate::hub::{RepoId, patience::with_patience, repo::is_commit};

/// What the Hub says while it makes another repository of the same account.
const BUSY: &str = "another conflicting operation";

/// Who may see a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visibility {
    /// Its owner.
    Private,
    /// Everybody.
    Public,
}

/// What a token may do with a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Write to it.
    Write,
    /// See it, and propose changes to it.
    Propose,
    /// Make it: it is not there yet, and its owner is the account or one of its organizations.
    Create,
}

/// Who writes, and what they may.
#[derive(Clone, Debug)]
pub struct Writable {
    /// The account of the token.
    pub account: String,
    /// What it may.
    pub access: Access,
}

/// How making a repository ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Created {
    /// It is there now.
    New,
    /// It was there already.
    Existed,
}

#[derive(Deserialize)]
struct Account {
    name: String,
    #[serde(default)]
    orgs: Vec<Organization>,
    #[serde(default)]
    auth: Auth,
}

#[derive(Deserialize)]
struct Organization {
    name: String,
}

#[derive(Default, Deserialize)]
struct Auth {
    #[serde(rename = "accessToken")]
    token: Option<TokenInfo>,
}

#[derive(Deserialize)]
struct TokenInfo {
    #[serde(rename = "displayName", default)]
    name: String,
    #[serde(default)]
    role: String,
}

/// Finds out what the token may do with a repository.
pub(super) fn writable(channel: &Channel, repo: &RepoId) -> Result<Writable, WriteError> {
    let account = whoami(channel)?;
    if let Some(token) = account.auth.token.as_ref().filter(|t| t.role == "read") {
        return Err(WriteError::ReadOnly {
            repo: repo.name.clone(),
            account: account.name.clone(),
            token: token.name.clone(),
        });
    }
    let access = access(channel, repo, &account)?;
    let account = account.name;
    Ok(Writable { account, access })
}

/// Asked once a run: the Hub allows few such questions.
fn whoami(channel: &Channel) -> Result<Account, WriteError> {
    let url = format!("{}/api/whoami-v2", channel.endpoint);
    let answer = channel.ask(get("whose token it is", &url));
    let refused = |error| match error {
        WriteError::Refused(refused) if refused.status == 401 => WriteError::Token { refused },
        other => other,
    };
    answer.map_err(refused)?.json()
}

fn access(channel: &Channel, repo: &RepoId, account: &Account) -> Result<Access, WriteError> {
    let Some(refused) = may(channel, repo, "auth-check/write")? else {
        return Ok(Access::Write);
    };
    if may(channel, repo, "auth-check")?.is_none() {
        return Ok(Access::Propose);
    }
    let owner = repo.name.split('/').next().unwrap_or_default();
    let owns = account.name == owner || account.orgs.iter().any(|org| org.name == owner);
    if owns && refused.status == 404 {
        return Ok(Access::Create);
    }
    let reason = if owns {
        "the token may not: give it the right to write there, or take another".to_owned()
    } else {
        format!("it is private or not there, and only {owner} could make it; check the name")
    };
    Err(WriteError::NotYours {
        repo: repo.name.clone(),
        account: account.name.clone(),
        reason: format!("{reason} ({refused})"),
    })
}

/// The Hub's refusal, or none.
fn may(channel: &Channel, repo: &RepoId, what: &str) -> Result<Option<Box<Refused>>, WriteError> {
    match channel.ask(get(&repo.name, &channel.api(repo, what))) {
        Ok(_) => Ok(None),
        Err(WriteError::Refused(refused)) if matches!(refused.status, 401 | 403 | 404) => {
            Ok(Some(refused))
        }
        Err(other) => Err(other),
    }
}

/// Makes a repository; one that is there already is left as it is.
pub(super) fn create(
    channel: &Channel,
    repo: &RepoId,
    visibility: Visibility,
) -> Result<Created, WriteError> {
    let (owner, name) = repo.name.split_once('/').unwrap_or(("", &repo.name));
    let body = json!({
        "name": name,
        "organization": owner,
        "type": repo.kind.name(),
        "visibility": match visibility {
            Visibility::Private => "private",
            Visibility::Public => "public",
        },
    })
    .to_string();
    let url = format!("{}/api/repos/create", channel.endpoint);
    let what = format!("making {}", repo.name);
    let call = post(&what, &url, &body);
    let answer = with_patience(|| {
        let answer = channel.send(call)?;
        if answer.status == 409 && !answer.refused.message.contains(BUSY) {
            Ok(Created::Existed)
        } else {
            answer.accepted().map(|_| Created::New)
        }
    });
    match answer {
        Err(WriteError::Refused(refused)) if matches!(refused.status, 401 | 403) => {
            match may(channel, repo, "auth-check")? {
                None => Ok(Created::Existed),
                Some(_) => Err(WriteError::Refused(refused)),
            }
        }
        other => other,
    }
}

/// Asks the Hub whether it takes a card.
pub(super) fn validate_card(
    channel: &Channel,
    repo: &RepoId,
    content: &str,
) -> Result<(), WriteError> {
    let body = json!({ "content": content, "repoType": repo.kind.name() }).to_string();
    let url = format!("{}/api/validate-yaml", channel.endpoint);
    match channel.ask(post("checking README.md", &url, &body)) {
        Ok(_) => Ok(()),
        Err(WriteError::Refused(refused)) if refused.status == 400 => Err(WriteError::Card {
            errors: flava_base::escaped(&refused.message).into_owned(),
        }),
        Err(other) => Err(other),
    }
}

fn post<'a>(what: &'a str, url: &'a str, body: &'a str) -> Call<'a> {
    Call {
        what,
        method: "POST",
        url,
        load: Load::json(body.as_bytes()),
    }
}

pub(super) fn get<'a>(what: &'a str, url: &'a str) -> Call<'a> {
    Call {
        what,
        method: "GET",
        url,
        load: Load::Nothing,
    }
}

#[derive(Deserialize)]
struct BranchInfo {
    id: String,
    sha: String,
    #[serde(default)]
    private: bool,
}

/// A branch's last commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its hash.
    pub oid: String,
    /// Whether the repository is private.
    pub private: bool,
}

/// Reads a branch's last commit, which no cache has a say in.
pub(super) fn head(channel: &Channel, repo: &RepoId) -> Result<Head, WriteError> {
    let what = format!("revision/{}", repo.hub().url_revision());
    let answer = channel.ask(get(&repo.name, &channel.api(repo, &what)))?;
    let info: BranchInfo = answer.json()?;
    if info.id != repo.name {
        return Err(WriteError::Moved {
            repo: repo.name.clone(),
            to: flava_base::escaped(&info.id).into_owned(),
        });
    }
    if !is_commit(&info.sha) {
        return Err(broken(&repo.name, &format!("{:?} is no commit", info.sha)));
    }
    Ok(Head {
        oid: info.sha,
        private: info.private,
    })
}
