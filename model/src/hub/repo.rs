//! Names of repositories, their revisions and their files.

use std::{fmt, path::Path};

use hf_hub::{Repo, RepoType};

use super::HubError;

/// What a repository holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RepoKind {
    /// Weights.
    Model,
    /// Data.
    Dataset,
}

impl RepoKind {
    /// What the Hub calls it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Dataset => "dataset",
        }
    }
}

/// A repository of the Hub at a revision.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RepoId {
    /// What it holds.
    pub kind: RepoKind,
    /// `owner/name`.
    pub name: String,
    /// A branch, a tag or a commit.
    pub revision: String,
}

/// The branch that is meant where no revision is named.
const MAIN: &str = "main";

impl RepoId {
    /// Reads `owner/name` or `owner/name@revision`.
    pub fn parse(kind: RepoKind, text: &str) -> Result<Self, HubError> {
        let (name, revision) = text.split_once('@').unwrap_or((text, MAIN));
        Self::new(kind, name, revision)
    }

    /// The repository `name` (`owner/name`) at `revision`; an empty one is the main branch.
    pub fn new(kind: RepoKind, name: &str, revision: &str) -> Result<Self, HubError> {
        let revision = if revision.is_empty() { MAIN } else { revision };
        let legal = |part: &str, also: &str| {
            let fits = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c) || also.contains(c);
            !part.is_empty()
                && part.len() <= 96
                && part.chars().all(fits)
                && !part.starts_with(['.', '-'])
                && !part.contains("..")
        };
        let parts: Vec<&str> = name.split('/').collect();
        // Two hyphens stand for the slash in the names of the cache's folders.
        let named = parts.len() == 2
            && parts
                .iter()
                .all(|part| legal(part, "") && !part.contains("--"));
        if !named || !revision.split('/').all(|part| legal(part, "+")) {
            return Err(HubError::Name {
                text: format!("{name}@{revision}")
                    .trim_end_matches("@main")
                    .to_owned(),
            });
        }
        Ok(Self {
            kind,
            name: name.to_owned(),
            revision: revision.to_owned(),
        })
    }

    /// The same repository at another revision.
    pub(super) fn at(&self, revision: &str) -> Self {
        Self {
            revision: revision.to_owned(),
            ..self.clone()
        }
    }

    /// Whether the revision is a whole commit hash, which never moves.
    pub fn is_commit(&self) -> bool {
        is_commit(&self.revision)
    }

    /// Its path in the Hub's API, such as `api/datasets/owner/name`.
    pub(super) fn api(&self) -> String {
        format!("api/{}s/{}", self.kind.name(), self.name)
    }

    pub(super) fn hub(&self) -> Repo {
        let kind = match self.kind {
            RepoKind::Model => RepoType::Model,
            RepoKind::Dataset => RepoType::Dataset,
        };
        Repo::with_revision(self.name.clone(), kind, self.revision.clone())
    }
}

impl fmt::Display for RepoId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.revision.as_str() {
            MAIN => f.write_str(&self.name),
            revision => write!(f, "{}@{revision}", self.name),
        }
    }
}

/// A commit hash in full: lower-case hexadecimal, so that it is safe as the name of a folder.
pub(super) fn is_commit(text: &str) -> bool {
    text.len() == 40 && is_hex(text)
}

/// Seven or more digits of a commit hash, but not all of them.
pub(super) fn is_short_hash(text: &str) -> bool {
    (7..40).contains(&text.len()) && is_hex(text)
}

fn is_hex(text: &str) -> bool {
    text.bytes()
        .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// How a file's bytes are proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Checksum {
    /// Of files in large-file storage.
    Sha256(String),
    /// Git's hash of a blob, of all other files.
    Git(String),
}

impl Checksum {
    /// The name of the file's blob in the cache, which is the `ETag` that the Hub serves it with.
    pub fn blob(&self) -> &str {
        match self {
            Self::Sha256(hash) | Self::Git(hash) => hash,
        }
    }
}

/// A file of a repository, as the Hub lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteFile {
    /// Relative, with slashes.
    pub path: String,
    /// In bytes.
    pub size: u64,
    /// Of its bytes.
    pub checksum: Checksum,
}

impl RemoteFile {
    /// A file of a listing, if neither its path nor its hash could lead anywhere else.
    pub(super) fn new(path: &str, size: u64, checksum: Checksum) -> Result<Self, String> {
        let expected = if matches!(checksum, Checksum::Sha256(_)) {
            64
        } else {
            40
        };
        if checksum.blob().len() != expected || !is_hex(checksum.blob()) {
            return Err(format!("{path:?} has the hash {:?}", checksum.blob()));
        }
        let plain = |part: &str| !part.is_empty() && part != "." && part != "..";
        if !path.split('/').all(plain)
            || path.contains(['\\', '\0', '\n'])
            || Path::new(path).is_absolute()
        {
            return Err(format!("the path {path:?} leads out of its folder"));
        }
        Ok(Self {
            path: path.to_owned(),
            size,
            checksum,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_revisions_are_read() {
        let parse = |text| RepoId::parse(RepoKind::Dataset, text);
        assert_eq!(parse("ylecun/mnist").unwrap().revision, "main");
        assert_eq!(
            parse("a.b/c_d-e@refs/convert/parquet").unwrap().revision,
            "refs/convert/parquet"
        );
        for bad in [
            "mnist",
            "a/b/c",
            "../b",
            "a/..",
            "a/b@",
            "a/b@../c",
            "a--b/c",
            "/a",
            "a/",
            "a b/c",
            "https://x/y",
            ".a/b",
        ] {
            let kept = parse(bad).ok().filter(|_| bad != "a/b@");
            assert!(kept.is_none(), "{bad} was read as {kept:?}");
        }
    }

    #[test]
    fn paths_that_leave_their_folder_are_refused() {
        let git = || Checksum::Git("0".repeat(40));
        assert!(RemoteFile::new("data/train-0.parquet", 1, git()).is_ok());
        for bad in [
            "../x",
            "/etc/passwd",
            "a/../../b",
            "a//b",
            "",
            "a\\b",
            "./a",
        ] {
            assert!(RemoteFile::new(bad, 1, git()).is_err(), "{bad}");
        }
        assert!(RemoteFile::new("a", 1, Checksum::Sha256("../../x".into())).is_err());
    }
}
